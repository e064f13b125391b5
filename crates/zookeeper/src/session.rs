//! The handle, and the task that keeps its session until the server says that it is gone.
//!
//! The task holds no handle: when the last one is dropped, so is the client, which closes the session at the server.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};
use zookeeper_client as zk;

use crate::error::Error;
use crate::options::{Access, Options};
use crate::runtime::runtime;
use crate::status::{Event, Machine, Next, State, Status};

/// How many operations of one handle may be on their way; more wait.
const MAX_OPERATIONS: usize = 1024;

/// A handle to one session. Clones share it; when the last is dropped, the session is closed in the background.
#[derive(Clone)]
pub struct ZooKeeper {
    pub(crate) inner: Arc<Inner>,
    pub(crate) access: Access,
}

pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) status: watch::Sender<Status>,
    client: Mutex<Option<zk::Client>>,
    closing: watch::Sender<bool>,
    operations: Semaphore,
}

impl ZooKeeper {
    /// A handle whose session is still to be established: it starts [`State::Suspended`], and tries until it is dropped.
    pub fn open(options: Options) -> Result<Self, Error> {
        options.validate()?;
        let machine = Machine::new(options.renew, options.max_backoff);
        let access = options.access;
        let inner = Arc::new(Inner {
            status: watch::Sender::new(machine.status()),
            client: Mutex::new(None),
            closing: watch::Sender::new(false),
            operations: Semaphore::new(MAX_OPERATIONS),
            options,
        });
        let keeper = Keeper { inner: Arc::downgrade(&inner), machine, session: None };
        runtime()?.spawn(keeper.run(inner.options.clone(), inner.closing.subscribe()));
        Ok(Self { inner, access })
    }

    /// A handle with a session, or an error when no server gives one within the operation timeout.
    pub async fn connect(options: Options) -> Result<Self, Error> {
        let waited = options.operation_timeout;
        let quorum = options.quorum.clone();
        let zookeeper = Self::open(options)?;
        match zookeeper.connected(waited).await {
            Err(Error::Suspended { .. }) => Err(Error::NoServer { quorum, waited }),
            Err(error) => Err(error),
            Ok(()) => Ok(zookeeper),
        }
    }

    /// Waits at most so long until there is a connection.
    pub async fn connected(&self, at_most: Duration) -> Result<(), Error> {
        let inner = self.inner.clone();
        on_runtime("connect", async move { inner.client(at_most, "connect").await.map(drop) }).await
    }

    /// The same session, but znodes created through this handle are for `access`.
    pub fn with_access(&self, access: Access) -> Self {
        Self { inner: self.inner.clone(), access }
    }

    /// Where the session stands at this moment.
    pub fn status(&self) -> Status {
        *self.inner.status.borrow()
    }

    /// Tells of each change of the status. Quick changes coalesce: compare generation and number of connections, too.
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.inner.status.subscribe()
    }

    /// How the handle was made.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Closes the session at the server, so that its ephemeral znodes go at once, and waits until it is done, at most for the
    /// operation timeout. All clones of the handle are of no use after that.
    pub async fn close(&self) {
        self.inner.closing.send_replace(true);
        drop(self.inner.take_client());
        let mut status = self.watch_status();
        let at_most = self.inner.options.operation_timeout;
        let ended = async move {
            let ended = status.wait_for(|status| status.state == State::Closed);
            timeout(at_most, ended).await.map(drop).map_err(|_| Error::Closed)
        };
        if on_runtime("close", ended).await.is_err() {
            warn!("the session was not closed in time; it will expire");
        }
    }

    /// Ends the session at the server as though it had expired, for tests of what comes then. Waits until the handle has noticed.
    pub async fn expire_session(&self) -> Result<(), Error> {
        let inner = self.inner.clone();
        on_runtime("expire", async move {
            let before = *inner.status.borrow();
            let at_most = inner.options.operation_timeout;
            let session = inner.client(at_most, "expire").await?.session().clone();
            let mut status = inner.status.subscribe();
            let quorum = inner.options.quorum.clone();
            let lost = |now: &Status| now.state == State::Lost || now.generation != before.generation;
            // Our own client may take its session back before it is closed: then once more.
            while !lost(&status.borrow()) {
                let connector = inner.options.connector().with_session(session.clone());
                if let Ok(client) = connector.connect(&quorum).await {
                    drop(client);
                }
                let _ = timeout(Duration::from_millis(500), status.wait_for(lost)).await;
            }
            Ok(())
        })
        .await
    }

    /// Runs one operation: waits for a connection, then for the answer.
    pub(crate) async fn perform<T, F, A>(
        &self,
        operation: &'static str,
        path: &str,
        run: F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(zk::Client) -> A + Send + 'static,
        A: Future<Output = Result<T, Error>> + Send,
    {
        let inner = self.inner.clone();
        let name = format!("{operation} {path}");
        on_runtime(operation, async move {
            let at_most = inner.options.operation_timeout;
            // Never closed.
            let _permit = inner.operations.acquire().await.map_err(|_| Error::Closed)?;
            let client = inner.client(at_most, &name).await?;
            match timeout(at_most, run(client)).await {
                Ok(result) => result,
                Err(_) => {
                    let reason = format!("no answer within {} ms", at_most.as_millis());
                    Err(Error::ConnectionLost { operation: name, reason })
                }
            }
        })
        .await
    }
}

/// Runs `future` on the thread for I/O; what was begun there is finished even if nobody waits for it any more.
async fn on_runtime<T: Send + 'static>(
    operation: &str,
    future: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match runtime()?.spawn(future).await {
        Ok(result) => result,
        Err(error) => {
            Err(Error::ConnectionLost { operation: operation.to_owned(), reason: error.to_string() })
        }
    }
}

impl Inner {
    /// The client, once it is connected.
    pub(crate) async fn client(&self, at_most: Duration, operation: &str) -> Result<zk::Client, Error> {
        let mut status = self.status.subscribe();
        let usable = timeout(
            at_most,
            status.wait_for(|status| match status.state {
                State::Connected | State::Closed => true,
                State::Lost => !self.options.renew,
                State::Suspended => false,
            }),
        );
        match usable.await {
            Ok(Ok(status)) => match status.state {
                State::Lost => Err(Error::SessionExpired),
                State::Connected => self.peek_client().ok_or(Error::Closed),
                State::Closed | State::Suspended => Err(self.end()),
            },
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => {
                let (operation, quorum) = (operation.to_owned(), self.options.quorum.clone());
                Err(Error::Suspended { operation, quorum, waited: at_most })
            }
        }
    }

    fn end(&self) -> Error {
        if *self.closing.borrow() { Error::Closed } else { Error::AuthFailed }
    }

    /// The client, connected or not.
    pub(crate) fn peek_client(&self) -> Option<zk::Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take_client(&self) -> Option<zk::Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put_client(&self, client: zk::Client) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
    }
}

/// The task that keeps the session.
struct Keeper {
    inner: Weak<Inner>,
    machine: Machine,
    /// What the server must deny before there is a new session.
    session: Option<zk::SessionInfo>,
}

impl Keeper {
    async fn run(mut self, options: Options, mut closing: watch::Receiver<bool>) {
        let mut next = Next::Begin;
        let mut states = None;
        loop {
            next = match next {
                Next::End => break,
                Next::Follow => match &mut states {
                    Some(states) => self.follow(states).await,
                    None => Next::Begin,
                },
                Next::Begin | Next::Attach(_) => {
                    if let Next::Attach(pause) = next {
                        // Half of it at random, so that those who lost the same server do not come back all at once.
                        let jittered = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
                        let _ = timeout(jittered, closing.wait_for(|closing| *closing)).await;
                    } else {
                        self.session = None;
                    }
                    if closing.has_changed().is_err() || *closing.borrow() {
                        self.publish(Event::Closing)
                    } else {
                        self.attach(&options, &mut states).await
                    }
                }
            };
        }
        if let Some(inner) = self.inner.upgrade() {
            drop(inner.take_client());
        }
    }

    /// Takes a step, and tells everybody; there is nobody to tell once the last handle is gone.
    fn publish(&mut self, event: Event) -> Next {
        let next = self.machine.step(event);
        debug!(?event, ?next, status = ?self.machine.status(), "session");
        match self.inner.upgrade() {
            Some(inner) => {
                inner.status.send_replace(self.machine.status());
                next
            }
            None => Next::End,
        }
    }

    /// One attempt to take up the session, or to begin one.
    async fn attach(&mut self, options: &Options, states: &mut Option<zk::StateWatcher>) -> Next {
        let mut connector = options.connector();
        if let Some(session) = &self.session {
            connector = connector.with_session(session.clone());
        }
        match connector.connect(&options.quorum).await {
            Ok(client) => {
                let session = client.session().clone();
                let id = session.id().0;
                self.session = Some(session);
                let watcher = client.state_watcher();
                let already = watcher.peek_state();
                *states = Some(watcher);
                let Some(inner) = self.inner.upgrade() else { return Next::End };
                inner.put_client(client);
                if *inner.closing.borrow() {
                    drop(inner.take_client());
                }
                info!(session = format_args!("{id:#x}"), "connected to {}", options.quorum);
                let next = self.publish(Event::Attached(id));
                // It may have been lost before anybody watched.
                if already == zk::SessionState::SyncConnected {
                    next
                } else {
                    self.publish(Event::Client(already))
                }
            }
            Err(zk::Error::SessionExpired) if self.session.is_some() => {
                warn!("the session at {} has expired", options.quorum);
                self.publish(Event::Expired)
            }
            Err(zk::Error::AuthFailed) => self.publish(Event::Refused),
            Err(error) => {
                let next = self.publish(Event::Unreachable);
                if self.machine.failures() == 1 {
                    warn!("no server of {} can be reached, trying on: {error}", options.quorum);
                }
                next
            }
        }
    }

    /// Waits for what the client says next.
    async fn follow(&mut self, states: &mut zk::StateWatcher) -> Next {
        let state = states.changed().await;
        let closing = self.inner.upgrade().is_none_or(|inner| *inner.closing.borrow());
        if closing && state.is_terminated() {
            return self.publish(Event::Closing);
        }
        self.publish(Event::Client(state))
    }
}

/// A pause that is bounded, for those who retry.
pub(crate) async fn pause(duration: Duration) {
    sleep(duration).await;
}
