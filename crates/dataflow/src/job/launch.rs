//! From a graph and a configuration to a running job: where its checkpoints are, and which one it goes on from.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{JobConfig, JobHandle, new_lineage, start};
use crate::checkpoint::coordinator::CoordinatorConfig;
use crate::checkpoint::location::{Found, find};
use crate::checkpoint::savepoint;
use crate::checkpoint::storage::CheckpointStorage;
use crate::config::JobSettings;
use crate::error::Error;
use crate::graph::JobGraph;
use crate::live_config::ConfigSnapshot;

/// Bytes that wait between two subtasks.
const CHANNEL_CAPACITY_BYTES: usize = 1 << 20;

/// Starts a job: from the checkpoint that `from` names (see [`find`]), under that one's lineage, with a savepoint, or afresh. Checkpoints are
/// kept in `settings.checkpoint_directory`, or in memory. `config` is what its rows are computed under, [`JobHandle::reconfigure`]
/// changes it.
///
/// # Errors
/// When the graph is invalid, or there is no such checkpoint, or it does not fit; nothing was started then.
pub fn launch(
    graph: JobGraph,
    name: &str,
    settings: &JobSettings,
    from: Option<&Path>,
    config: Arc<ConfigSnapshot>,
) -> Result<JobHandle, Error> {
    let (storage, lineage, restore) = match from {
        Some(path) => match find(path)? {
            Found::Checkpoint(location) => {
                let storage = CheckpointStorage::directory(&location.directory, &location.lineage)?;
                let restored = storage.read(location.checkpoint)?;
                tracing::info!(
                    checkpoint = location.checkpoint,
                    lineage = location.lineage,
                    "resuming from a checkpoint"
                );
                (storage, location.lineage, Some(restored))
            }
            Found::Savepoint(path) => {
                let (storage, lineage) = fresh(settings)?;
                let checkpoint = savepoint::import(&storage, &lineage, &path, settings.claim)?;
                let restored = storage.read(checkpoint)?;
                tracing::info!(savepoint = %path.display(), lineage, "beginning with a savepoint");
                (storage, lineage, Some(restored))
            }
        },
        None => {
            let (storage, lineage) = fresh(settings)?;
            (storage, lineage, None)
        }
    };
    start(graph, job_config(name, lineage, settings, config), storage, restore)
}

/// A lineage of its own, and where its checkpoints are.
fn fresh(settings: &JobSettings) -> Result<(CheckpointStorage, String), Error> {
    let lineage = new_lineage();
    let storage = match &settings.checkpoint_directory {
        Some(directory) => CheckpointStorage::directory(directory, &lineage)?,
        None => CheckpointStorage::in_memory(&lineage)?,
    };
    Ok((storage, lineage))
}

/// How a job with these settings is run.
pub fn job_config(
    name: &str,
    lineage: String,
    settings: &JobSettings,
    config: Arc<ConfigSnapshot>,
) -> JobConfig {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    JobConfig {
        name: name.to_owned(),
        lineage,
        checkpointing: CoordinatorConfig {
            interval_ms: settings.checkpoint_interval.map(ms),
            timeout_ms: ms(settings.checkpoint_timeout),
            min_pause_ms: ms(settings.min_pause),
            tolerable_failures: settings.tolerable_failures,
        },
        num_retained: settings.num_retained,
        restart: settings.restart.clone(),
        channel_capacity_bytes: CHANNEL_CAPACITY_BYTES,
        buffer_timeout: settings.buffer_timeout,
        config,
        allow_non_restored_state: settings.allow_non_restored_state,
    }
}
