//! What can be wrong with a table's definition, found while a job is planned.

/// Why a table cannot be read from or written to as it is defined.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The definition asks for something that is not there, or is not supported.
    #[error("{0}")]
    InvalidTable(String),
    /// A file or directory is not there or cannot be read.
    #[error("{action} {path}: {reason}")]
    Io {
        /// What was being done, as in `cannot list`.
        action: &'static str,
        /// To what.
        path: String,
        /// What the operating system said.
        reason: std::io::Error,
    },
}

impl ConnectorError {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidTable(message.into())
    }
}
