//! What can go wrong in a cluster.

use std::io;
use std::path::PathBuf;

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
        reason: io::Error,
    },
    /// A thread cannot be started.
    #[error("the system gives no thread: {0}")]
    Thread(io::Error),
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
    /// A table or view that must not be written to the catalog.
    #[error("{object} is not valid: {reason}")]
    InvalidObject {
        /// Database and name.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// ZooKeeper has not told what is in the catalog.
    #[error("the catalog is not known yet: ZooKeeper has not answered; try again")]
    CatalogUnknown,
    /// A checkpoint directory cannot be looked through.
    #[error("checkpoint directory {}: {reason}", directory.display())]
    Gc {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The port for other processes cannot be had.
    #[error(
        "cannot listen for other TaskManagers at {address}: {source}; set taskmanager.data.port to a free port"
    )]
    Listen {
        /// Host and port.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// A file for TLS cannot be read, or does not hold what it should.
    #[error("TLS between the cluster's processes: {what} {}: {problem}", path.display())]
    Tls {
        /// What the file is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// TLS's library refuses keys and certificates.
    #[error("TLS between the cluster's processes cannot be set up: {0}")]
    TlsSetup(#[from] rustls::Error),
    /// The REST API cannot be served.
    #[error("the REST API cannot be served: {0}")]
    Rest(io::Error),
    /// The configuration names no ZooKeeper.
    #[error(
        "no ZooKeeper is given: set high-availability.zookeeper.quorum to host:port,host:port, in streamkeeper.yaml or by --set"
    )]
    NoZooKeeper,
    /// A key is needed because of another one.
    #[error("security.ssl.internal.enabled is true: set {0} to a PEM file as well")]
    MissingKey(&'static str),
    /// The process is being stopped.
    #[error("{0} has been stopped")]
    Stopped(&'static str),
}

impl From<streamkeeper_zookeeper::Error> for Error {
    fn from(error: streamkeeper_zookeeper::Error) -> Self {
        Self::Coordination(error.into())
    }
}
