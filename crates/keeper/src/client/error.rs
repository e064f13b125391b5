//! What can go wrong between a client and a server.

use std::time::Duration;

use crate::jute::JuteError;
use crate::proto::{Code, op};

/// Why something could not be asked, or was not answered as wanted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A list of servers is not one.
    #[error("`{0}` is not a list of servers: write host:port[,host:port…][/chroot]")]
    Address(String),
    /// No server could be reached.
    #[error("cannot connect to {server}: {source}")]
    Connect {
        /// The last server tried.
        server: String,
        /// Why.
        source: std::io::Error,
    },
    /// The server does not know the session (any more).
    #[error("the session has expired")]
    SessionExpired,
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// No answer came in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// Sending or receiving failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// An answer is not what the protocol says.
    #[error("cannot read the server's answer: {0}")]
    Malformed(#[from] JuteError),
    /// An answer to another request than the next.
    #[error("the server answered request {got} where {wanted} was due")]
    OutOfOrder {
        /// The answer's number.
        got: i32,
        /// The number of the oldest request without an answer; `None` if there is none.
        wanted: Unanswered,
    },
    /// The server answered with an error code.
    #[error("{} {path}: {}", op::name(*.op), describe(*.err))]
    Refused {
        /// The request's type, one of [`op`].
        op: i32,
        /// Its path, if it has one.
        path: String,
        /// A [`Code`].
        err: i32,
    },
    /// The answer has no such content.
    #[error("the answer to {} has no {wanted}", op::name(*.op))]
    Unexpected {
        /// The request's type, one of [`op`].
        op: i32,
        /// What should be in it.
        wanted: &'static str,
    },
}

impl Error {
    /// The code that the server answered with.
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::Refused { err, .. } => Code::from_int(*err),
            Error::SessionExpired => Some(Code::SessionExpired),
            _ => None,
        }
    }

    /// Whether the connection is of no more use.
    pub fn is_connection_loss(&self) -> bool {
        matches!(
            self,
            Error::Closed
                | Error::Io(_)
                | Error::Malformed(_)
                | Error::OutOfOrder { .. }
                | Error::TimedOut(_)
        )
    }
}

/// The oldest request without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unanswered(pub Option<i32>);

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(xid) => write!(f, "{xid}"),
            None => f.write_str("none"),
        }
    }
}

fn describe(err: i32) -> String {
    Code::from_int(err).map_or_else(|| format!("error {err}"), |code| code.to_string())
}

/// Result of asking.
pub type Result<T> = std::result::Result<T, Error>;
