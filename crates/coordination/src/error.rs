//! What can go wrong between Streamkeeper and what it keeps in ZooKeeper.

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be read from ZooKeeper or written to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A scope, root or cluster id that cannot be part of a path.
    #[error("{what} `{name}`: {reason}")]
    InvalidName {
        /// What it names.
        what: String,
        /// The text.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A document that must not be written.
    #[error("{scope} is not written: {reason}")]
    InvalidDocument {
        /// The document.
        scope: String,
        /// What is wrong with it, one complaint a line.
        reason: String,
    },
    /// A schema that cannot be used.
    #[error("schema: {0}")]
    InvalidSchema(String),
    /// Somebody else wrote first.
    #[error(
        "{scope} was changed by somebody else: it is at revision {found}, not {expected}; look at it and try again"
    )]
    Conflict {
        /// The document.
        scope: String,
        /// The revision that was expected; 0 for none.
        expected: u64,
        /// The revision found; 0 for none.
        found: u64,
    },
    /// There is no such document or revision.
    #[error("{0}")]
    NotFound(String),
    /// Others wrote the same document all the time.
    #[error("{scope} is not written: others have written it between each of {attempts} looks and writes")]
    Contended {
        /// The document.
        scope: String,
        /// How often it was tried.
        attempts: usize,
    },
    /// ZooKeeper did not do what it was asked.
    #[error("ZooKeeper: {0}")]
    ZooKeeper(#[from] streamkeeper_zookeeper::Error),
    /// A secret that cannot be resolved, sealed or opened. Never contains it.
    #[error("secret: {0}")]
    Secret(String),
}
