//! The shell's connection: what it was asked to restore when it has to connect again.

use std::time::{Duration, Instant};

use super::Problem;
use crate::client::{Client, Error, Notification, Options};
use crate::proto::{EventType, SetWatches};

/// A connection that comes back after a loss, with its session, identities and watches.
pub(super) struct Link {
    servers: String,
    options: Options,
    client: Option<Client>,
    lost: bool,
    identities: Vec<(String, Vec<u8>)>,
    /// The watches that are set.
    pub(super) watches: SetWatches<'static>,
}

impl Link {
    pub(super) fn new(servers: &str, options: Options) -> Self {
        Link {
            servers: servers.to_owned(),
            options,
            client: None,
            lost: false,
            identities: Vec::new(),
            watches: SetWatches::default(),
        }
    }

    /// Opens a session; `patient`: tries until the timeout is over.
    pub(super) fn connect(&mut self, servers: Option<&str>, patient: bool) -> Result<(), Problem> {
        self.close();
        if let Some(servers) = servers {
            self.servers = servers.to_owned();
        }
        let deadline = Instant::now() + self.options.timeout;
        loop {
            match Client::connect_with(&self.servers, self.options.clone()) {
                Ok(client) => {
                    self.client = Some(client);
                    self.lost = false;
                    return Ok(());
                }
                Err(error @ Error::Address(_)) => return Err(error.into()),
                Err(_) if patient && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Ends the session, if there is one.
    pub(super) fn close(&mut self) {
        if let Some(client) = self.client.take()
            && !self.lost
        {
            // The session expires if the server does not hear of it.
            let _ = client.close();
        }
        self.identities.clear();
        self.watches = SetWatches::default();
    }

    /// The connection; one that was lost is made again.
    pub(super) fn client(&mut self) -> Result<&mut Client, Problem> {
        if self.lost {
            self.restore()?;
        }
        self.client.as_mut().ok_or(Problem::NotConnected)
    }

    fn restore(&mut self) -> Result<(), Problem> {
        let Some(client) = &mut self.client else { return Ok(()) };
        if let Err(error) = client.reconnect() {
            if matches!(error, Error::SessionExpired) {
                self.client = None;
                self.lost = false;
            }
            return Err(error.into());
        }
        self.lost = false;
        for (scheme, auth) in &self.identities {
            client.auth(scheme, auth)?;
        }
        let watches = SetWatches { relative_zxid: client.last_zxid(), ..self.watches.clone() };
        if watches != (SetWatches { relative_zxid: watches.relative_zxid, ..SetWatches::default() }) {
            client.set_watches(watches)?;
        }
        Ok(())
    }

    /// Takes note of an identity, to be added again.
    pub(super) fn add_identity(&mut self, scheme: &str, auth: &[u8]) {
        self.identities.push((scheme.to_owned(), auth.to_vec()));
    }

    /// Takes note that the connection is lost, if the error says so.
    pub(super) fn note(&mut self, problem: &Problem) {
        if let Problem::Client(error) = problem {
            self.lost |= error.is_connection_loss();
        }
    }

    /// Notifications that come in time; none while there is no connection.
    pub(super) fn notifications(&mut self, within: Duration) -> Vec<Notification> {
        let Some(client) = self.client.as_mut().filter(|_| !self.lost) else {
            std::thread::sleep(within);
            return Vec::new();
        };
        let mut all = Vec::new();
        match client.notification(within) {
            Ok(first) => all.extend(first),
            Err(_) => self.lost = true,
        }
        all.extend(client.queued_notifications());
        for notification in &all {
            self.forget_fired(notification);
        }
        all
    }

    /// Watches but for the persistent ones are gone once they have told.
    fn forget_fired(&mut self, notification: &Notification) {
        let path = notification.path.as_str();
        let children = notification.event_type() == Some(EventType::NodeChildrenChanged);
        let deleted = notification.event_type() == Some(EventType::NodeDeleted);
        if !children {
            self.watches.data.retain(|watched| watched != path);
            self.watches.exist.retain(|watched| watched != path);
        }
        if children || deleted {
            self.watches.child.retain(|watched| watched != path);
        }
    }

    /// As zkCli's prompt says it.
    pub(super) fn state(&self) -> &'static str {
        match &self.client {
            None => "CLOSED",
            Some(_) if self.lost => "CONNECTING",
            Some(client) if client.is_read_only() => "CONNECTEDREADONLY",
            Some(_) => "CONNECTED",
        }
    }

    /// The servers asked for.
    pub(super) fn servers(&self) -> &str {
        &self.servers
    }
}
