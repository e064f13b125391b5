//! What can go wrong in a cluster.

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a process of a cluster could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port cannot be opened.
    #[error("{key}: {address} cannot be listened at: {reason}")]
    Bind {
        /// The configuration key that says where.
        key: &'static str,
        /// Where.
        address: String,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("the system gives no thread: {0}")]
    Thread(std::io::Error),
    /// What is kept in ZooKeeper.
    #[error(transparent)]
    Coordination(#[from] streamkeeper_coordination::Error),
    /// The job cannot be planned.
    #[error("job {job} cannot be run: {reason}")]
    InvalidJob {
        /// Its name.
        job: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The process is being stopped.
    #[error("{0} has been stopped")]
    Stopped(&'static str),
}

impl From<streamkeeper_zookeeper::Error> for Error {
    fn from(error: streamkeeper_zookeeper::Error) -> Self {
        Self::Coordination(error.into())
    }
}
