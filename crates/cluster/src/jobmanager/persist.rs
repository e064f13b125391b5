//! Writes of a leader that have to be done, whatever becomes of ZooKeeper meanwhile.

use std::future::Future;
use std::time::Duration;

use streamkeeper_coordination::election::Leadership;
use streamkeeper_coordination::{Error, Result};
use streamkeeper_zookeeper::{Error as ZkError, block_on};

/// Pause before a write is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// Why a write was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// Somebody else leads, or this process is being stopped.
    Deposed,
    /// It cannot be done at all.
    Refused(Error),
}

/// Does a write, which may be done more than once, again and again until its outcome is known or this leads no more. Blocks.
pub(super) fn persist<T, F>(
    leadership: &Leadership,
    mut write: impl FnMut() -> F,
) -> std::result::Result<T, Failure>
where
    F: Future<Output = Result<T>>,
{
    loop {
        if leadership.is_revoked() {
            return Err(Failure::Deposed);
        }
        match block_on(write()) {
            Ok(written) => return Ok(written),
            Err(Error::Deposed { .. } | Error::ZooKeeper(ZkError::Closed)) => return Err(Failure::Deposed),
            Err(error) if may_pass(&error) => {
                tracing::debug!("it is tried again: {error}");
                std::thread::sleep(RETRY);
            }
            Err(error) => return Err(Failure::Refused(error)),
        }
    }
}

fn may_pass(error: &Error) -> bool {
    match error {
        Error::Unresolved { .. } | Error::Contended { .. } | Error::Changed { .. } => true,
        Error::ZooKeeper(error) => error.is_transient() || error.is_outcome_unknown(),
        _ => false,
    }
}
