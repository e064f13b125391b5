//! Where to connect, as whom, and how long to wait for what.

use std::time::Duration;

use zookeeper_client as zk;

use crate::error::Error;

/// Who may do what with the znodes that a handle creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Everybody everything (`world:anyone:cdrwa`).
    #[default]
    Open,
    /// Only those who have authenticated as the creator has; needs [`Options::digest`].
    Creator,
}

impl Access {
    pub(crate) fn acls(self) -> zk::Acls<'static> {
        match self {
            Self::Open => zk::Acls::anyone_all(),
            Self::Creator => zk::Acls::creator_all(),
        }
    }
}

/// How a [`crate::ZooKeeper`] behaves.
#[derive(Clone)]
pub struct Options {
    /// `host:port,host:port/chroot`. A port left out is 2181; paths are below the chroot, which must exist.
    pub quorum: String,
    /// How long the server keeps the session without hearing of this process. The server may make it longer or shorter.
    pub session_timeout: Duration,
    /// How long a connection may be silent before it counts as lost, and how long connecting to one server may take. At most 3/5
    /// of the session timeout is in force.
    pub connection_timeout: Duration,
    /// How long an operation waits for a connection, and then again for its answer.
    pub operation_timeout: Duration,
    /// User and password of the `digest` scheme.
    pub digest: Option<(String, String)>,
    /// The ACL of created znodes.
    pub access: Access,
    /// Whether a new session begins when the server has ended the old one.
    pub renew: bool,
    /// The longest pause between two attempts to connect. The first is a twentieth, each pause may be twice the one before.
    pub max_backoff: Duration,
    /// The longest request in bytes: what the servers' `jute.maxbuffer` says, 1 MiB less one byte unless it was changed.
    pub max_request_bytes: usize,
}

impl Options {
    /// Flink's timeouts: 60 s for the session, 15 s for a connection.
    pub fn new(quorum: impl Into<String>) -> Self {
        Self {
            quorum: quorum.into(),
            session_timeout: Duration::from_secs(60),
            connection_timeout: Duration::from_secs(15),
            operation_timeout: Duration::from_secs(15),
            digest: None,
            access: Access::Open,
            renew: true,
            max_backoff: Duration::from_secs(5),
            max_request_bytes: 0xf_ffff,
        }
    }

    pub(crate) fn connector(&self) -> zk::Connector {
        let connector = zk::Client::connector()
            .with_session_timeout(self.session_timeout)
            .with_connection_timeout(self.connection_timeout)
            .with_fail_eagerly();
        match &self.digest {
            Some((user, password)) => connector.with_auth("digest", format!("{user}:{password}").as_bytes()),
            None => connector,
        }
    }

    /// Refuses what can be seen to be wrong without connecting.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let quorum_error = |reason: String| Error::Quorum { quorum: self.quorum.clone(), reason };
        let (hosts, chroot) = match self.quorum.find('/') {
            Some(slash) => self.quorum.split_at(slash),
            None => (self.quorum.as_str(), ""),
        };
        for host in hosts.split(',') {
            let port = match host.rsplit_once(']') {
                Some((_, rest)) => rest.strip_prefix(':'),
                None => host.rsplit_once(':').map(|(_, port)| port),
            };
            let name = host.strip_suffix(port.unwrap_or("")).map(|name| name.trim_end_matches(':'));
            if name.is_none_or(|name| name.is_empty() || name.contains(char::is_whitespace)) {
                return Err(quorum_error(format!("{host:?} names no host")));
            }
            if port.is_some_and(|port| port.parse::<u16>().is_ok_and(|number| number > 0)) || port.is_none() {
                continue;
            }
            return Err(quorum_error(format!("{host:?} has no port between 1 and 65535")));
        }
        if chroot.len() > 1 && (chroot.ends_with('/') || chroot.contains("//")) {
            return Err(quorum_error(format!("{chroot:?} is no path")));
        }
        if self.session_timeout < Duration::from_millis(1)
            || self.session_timeout > Duration::from_millis(i32::MAX as u64)
        {
            let reason = format!("a session timeout of {:?} is out of range", self.session_timeout);
            return Err(Error::Refused { operation: "connect".to_owned(), reason });
        }
        Ok(())
    }
}

/// Without the password.
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("quorum", &self.quorum)
            .field("session_timeout", &self.session_timeout)
            .field("user", &self.digest.as_ref().map(|(user, _)| user))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_strings_are_judged_before_anything_is_sent() {
        for good in ["a", "a:2181", "a:1,b,c:65535", "[::1]:2181/x", "a/x/y", "127.0.0.1:2181/"] {
            assert_eq!(Options::new(good).validate(), Ok(()), "{good}");
        }
        for bad in ["", ":2181", "a:", "a:0", "a:70000", "a,", "a:21x", "a/x/", "a//x", "a b:1"] {
            assert!(Options::new(bad).validate().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let options = Options { digest: Some(("ann".into(), "secret".into())), ..Options::new("a") };
        let shown = format!("{options:?}");
        assert!(shown.contains("ann") && !shown.contains("secret"), "{shown}");
    }
}
