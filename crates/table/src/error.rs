//! What can be wrong with a job of streams and SQL.

use streamkeeper_sql::error::SqlError;

/// Why a job is not what it should be, or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A statement means nothing, or its rows are not the records that are wanted.
    #[error("{message}")]
    Sql {
        /// What is wrong, and where in the text.
        message: String,
        /// The same, without the text.
        source: SqlError,
    },
    /// A stream or the job.
    #[error(transparent)]
    Stream(#[from] streamkeeper_datastream::Error),
}

impl Error {
    pub(crate) fn sql(source: SqlError) -> Self {
        Self::Sql { message: source.to_string(), source }
    }

    pub(crate) fn sql_in(text: &str, source: SqlError) -> Self {
        Self::Sql { message: source.render(text, None), source }
    }
}
