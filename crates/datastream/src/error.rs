//! What can go wrong in user code, and on the way to a running job.

use streamkeeper_dataflow::OperatorError;

/// What a function of a job returns. Any error will do: it fails the task, and the job's restart strategy decides what
/// follows. [`OperatorError::fatal`] fails the job at once.
pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The runtime's form of an error of user code.
pub(crate) fn operator_error(error: Box<dyn std::error::Error + Send + Sync>) -> OperatorError {
    match error.downcast::<OperatorError>() {
        Ok(error) => *error,
        Err(error) => {
            let mut message = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                message.push_str(": ");
                message.push_str(&error.to_string());
                cause = error.source();
            }
            OperatorError::recoverable(message)
        }
    }
}

/// Why a job was not started, or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument of the program, or a key of the configuration.
    #[error("{0}")]
    Configuration(String),
    /// The job has no operators, or asks for something impossible.
    #[error("{0}")]
    InvalidJob(String),
    /// An operator failed in a harness.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// It was started, or could not be.
    #[error("job {name}: {source}")]
    Job {
        /// The job's name.
        name: String,
        /// What the runtime said.
        source: streamkeeper_dataflow::Error,
    },
}
