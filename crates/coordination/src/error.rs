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
    /// A document that this build cannot read.
    #[error("{path} cannot be read: {reason}")]
    UnreadableDocument {
        /// Its znode.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody else leads by now, so nothing was written.
    #[error("{operation}: epoch {epoch} has ended, another JobManager leads; nothing was written")]
    Deposed {
        /// What was to be written.
        operation: String,
        /// The epoch of the leader that is none any more.
        epoch: u64,
    },
    /// It was sent, and whether it happened could not be found out in time.
    #[error(
        "{operation}: whether it was written is unknown after {} ms without ZooKeeper; ask again, and until then neither commit, abort nor delete anything",
        .waited.as_millis()
    )]
    Unresolved {
        /// What was to be written.
        operation: String,
        /// How long was waited.
        waited: std::time::Duration,
    },
    /// The znode has another version than the writer has seen.
    #[error("{path} was changed by somebody else; read it again")]
    Changed {
        /// Its path.
        path: String,
    },
    /// A job with the same id, but another spec.
    #[error("job {job} is there with another spec; give the new one an id of its own")]
    JobExists {
        /// Its id.
        job: String,
    },
    /// The job has ended, and is not run again.
    #[error("job {job} has ended: {}", .result.state)]
    JobEnded {
        /// Its id.
        job: String,
        /// How it ended.
        result: Box<crate::jobs::JobResult>,
    },
    /// There is no such job.
    #[error("there is no job {job}")]
    NoJob {
        /// Its id.
        job: String,
    },
    /// A checkpoint that is older than the one that the pointer names.
    #[error("job {job}: checkpoint {new} is not newer than checkpoint {latest}, which is the latest")]
    CheckpointGoesBack {
        /// The job's id.
        job: String,
        /// The latest checkpoint.
        latest: u64,
        /// The one that was to follow.
        new: u64,
    },
    /// There is an object of that name.
    #[error("{database}.{object} exists; drop it first, or replace it")]
    ObjectExists {
        /// The database.
        database: String,
        /// The table or view.
        object: String,
    },
    /// There are as many as there may be.
    #[error("there are {limit} {what}, more are not kept; remove some")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// What was followed cannot be followed any more.
    #[error("{what} cannot be followed any more: {reason}")]
    WatchEnded {
        /// What.
        what: String,
        /// Why.
        reason: String,
    },
    /// A secret that cannot be resolved, sealed or opened. Never contains it.
    #[error("secret: {0}")]
    Secret(String),
}
