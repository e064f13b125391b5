//! What can go wrong between processes.

use std::io;
use std::path::PathBuf;

/// Why a part of the cluster could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
    #[error("TLS between TaskManagers: {what} {}: {problem}", path.display())]
    Tls {
        /// What the file is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// TLS's library refuses keys and certificates.
    #[error("TLS between TaskManagers cannot be set up: {0}")]
    TlsSetup(#[from] rustls::Error),
}
