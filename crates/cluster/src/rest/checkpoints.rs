//! Checkpoints of a job.
//!
//! What is not measured here is 0: how long a barrier waited, what an unaligned checkpoint would have held, the two parts of writing.

use serde_json::{Map, Value, json};
use streamkeeper_dataflow::element::BarrierKind;

use super::api::{Api, Call, Reply, RestError, unresolved};
use super::jobs::ms;
use super::statistics::summary;
use super::vertices::vertex_of;
use crate::jobmanager::view::{CheckpointView, JobView, Outcome, VertexView};

/// `GET /jobs/:jobid/checkpoints`.
pub(super) fn statistics(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    let history = &job.history;
    let in_progress = history.checkpoints.iter().filter(|c| c.outcome == Outcome::InProgress).count() as u64;
    let completed = || history.checkpoints.iter().filter(|c| matches!(c.outcome, Outcome::Completed(_)));
    let failed = history.checkpoints.iter().rev().find(|c| matches!(c.outcome, Outcome::Failed(..)));
    let size = || summary(completed().map(|c| ms(c.bytes())));
    let zero = || summary(completed().map(|_| 0));
    let restored = history.last_restored.as_ref().map(|restored| {
        json!({
            "id": restored.id,
            "restore_timestamp": restored.at_ms,
            "is_savepoint": false,
            "external_path": path(&job, restored.id),
        })
    });
    Ok(json!({
        "counts": {
            "restored": history.restored,
            "total": history.completed + history.failed + in_progress,
            "in_progress": in_progress,
            "completed": history.completed,
            "failed": history.failed,
        },
        "summary": {
            "checkpointed_size": size(),
            "state_size": size(),
            "end_to_end_duration": summary(completed().map(CheckpointView::duration_ms)),
            "alignment_buffered": zero(),
            "processed_data": zero(),
            "persisted_data": zero(),
        },
        "latest": {
            "completed": history.latest_completed().map(|c| checkpoint(&job, c, false)),
            "savepoint": history.latest_savepoint().map(|c| checkpoint(&job, c, false)),
            "failed": failed.map(|c| checkpoint(&job, c, false)),
            "restored": restored,
        },
        "history": history.checkpoints.iter().rev().map(|c| checkpoint(&job, c, false)).collect::<Vec<_>>(),
    })
    .into())
}

/// `GET /jobs/:jobid/checkpoints/config`.
pub(super) fn config(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    let unknown = || {
        RestError::not_found(format!("How job {} takes checkpoints is not known here (any more).", job.id))
    };
    let settings = job.settings.as_ref().ok_or_else(unknown)?;
    let millis = |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    Ok(json!({
        "mode": "exactly_once",
        // Flink's number for "never".
        "interval": settings.checkpoint_interval.map_or(i64::MAX, millis),
        "timeout": millis(settings.checkpoint_timeout),
        "min_pause": millis(settings.min_pause),
        "max_concurrent": 1,
        "externalization": { "enabled": true, "delete_on_cancellation": false },
        "state_backend": "HashMapStateBackend",
        "checkpoint_storage": "FileSystemCheckpointStorage",
        "unaligned_checkpoints": false,
        "tolerable_failed_checkpoints": settings.tolerable_failures,
        "aligned_checkpoint_timeout": 0,
        "checkpoints_after_tasks_finish": true,
        "state_changelog_enabled": false,
        "changelog_periodic_materialization_interval": 0,
        "changelog_storage": "memory",
    })
    .into())
}

/// `GET /jobs/:jobid/checkpoints/details/:checkpointid`.
pub(super) fn details(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    Ok(checkpoint(&job, find(&job, call)?, true).into())
}

/// `GET /jobs/:jobid/checkpoints/details/:checkpointid/subtasks/:vertexid`.
pub(super) fn subtasks(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    let found = find(&job, call)?;
    let (index, vertex) = vertex_of(&job, call)?;
    let mut details = of_vertex(found, index, vertex);
    let acknowledged = || (0..vertex.subtasks.len()).filter_map(|s| found.acknowledged.get(&(index, s)));
    let size = || summary(acknowledged().map(|task| ms(task.bytes)));
    let zero = || summary(acknowledged().map(|_| 0));
    details.insert(
        "summary".into(),
        json!({
            "checkpointed_size": size(),
            "state_size": size(),
            "end_to_end_duration": summary(acknowledged().map(|task| task.at_ms - found.triggered_ms)),
            "checkpoint_duration": { "sync": zero(), "async": zero() },
            "alignment": { "buffered": zero(), "processed": zero(), "persisted": zero(), "duration": zero() },
            "start_delay": zero(),
        }),
    );
    let subtask = |subtask| match found.acknowledged.get(&(index, subtask)) {
        Some(task) => json!({
            "className": "completed",
            "index": subtask,
            "ack_timestamp": task.at_ms,
            "end_to_end_duration": task.at_ms - found.triggered_ms,
            "checkpointed_size": task.bytes,
            "state_size": task.bytes,
            "checkpoint": { "sync": 0, "async": 0 },
            "alignment": { "buffered": 0, "processed": 0, "persisted": 0, "duration": 0 },
            "start_delay": 0,
            "unaligned_checkpoint": false,
            "aborted": matches!(found.outcome, Outcome::Failed(..)),
            "status": "completed",
        }),
        None => json!({ "className": "pending_or_failed", "index": subtask, "status": "pending_or_failed" }),
    };
    details.insert("subtasks".into(), (0..vertex.subtasks.len()).map(subtask).collect());
    Ok(Value::Object(details).into())
}

fn find<'a>(job: &'a JobView, call: &Call) -> Result<&'a CheckpointView, RestError> {
    let text = call.param("checkpointid");
    let id = text.parse().map_err(|_| unresolved("path", "checkpointid", text))?;
    let missing =
        || RestError::not_found(format!("Could not find checkpointing statistics for checkpoint {id}."));
    job.history.checkpoint(id).ok_or_else(missing)
}

/// Where a checkpoint is.
pub(super) fn path(job: &JobView, checkpoint: u64) -> String {
    format!("file:{}/chk-{checkpoint}", job.checkpoint_directory)
}

fn status(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::InProgress => "IN_PROGRESS",
        Outcome::Completed(_) => "COMPLETED",
        Outcome::Failed(..) => "FAILED",
    }
}

/// A checkpoint; with what its vertices have handed in only where it is asked for alone.
fn checkpoint(job: &JobView, checkpoint: &CheckpointView, with_tasks: bool) -> Value {
    let tasks = if with_tasks {
        let vertices = job.vertices.iter().enumerate();
        vertices
            .map(|(v, vertex)| (vertex.shape.id.clone(), of_vertex(checkpoint, v, vertex).into()))
            .collect()
    } else {
        Map::new()
    };
    let mut shown = json!({
        "className": status(&checkpoint.outcome).to_lowercase(),
        "id": checkpoint.id,
        "status": status(&checkpoint.outcome),
        "is_savepoint": checkpoint.savepoint.is_some(),
        "savepointFormat": checkpoint.savepoint.is_some().then_some("CANONICAL"),
        "trigger_timestamp": checkpoint.triggered_ms,
        "latest_ack_timestamp": checkpoint.latest_ack_ms(),
        "checkpointed_size": checkpoint.bytes(),
        "state_size": checkpoint.bytes(),
        "end_to_end_duration": checkpoint.duration_ms(),
        "alignment_buffered": 0,
        "processed_data": 0,
        "persisted_data": 0,
        "num_subtasks": job.vertices.iter().map(|v| v.subtasks.len()).sum::<usize>(),
        "num_acknowledged_subtasks": checkpoint.acknowledged.len(),
        "checkpoint_type": match checkpoint.kind {
            BarrierKind::Savepoint => "SAVEPOINT",
            BarrierKind::Stop { .. } => "SYNC_SAVEPOINT",
            BarrierKind::Checkpoint | BarrierKind::Reconfigure | BarrierKind::Final => "CHECKPOINT",
        },
        "tasks": tasks,
    });
    match &checkpoint.outcome {
        Outcome::InProgress => {}
        Outcome::Completed(_) => {
            let savepoint = checkpoint.savepoint.as_ref().map(|path| format!("file:{path}"));
            shown["external_path"] = savepoint.unwrap_or_else(|| path(job, checkpoint.id)).into();
            let kept = checkpoint.savepoint.is_some() || job.checkpoints.contains(&checkpoint.id);
            shown["discarded"] = (!kept).into();
        }
        Outcome::Failed(at, reason) => {
            shown["failure_timestamp"] = (*at).into();
            shown["failure_message"] = reason.as_str().into();
        }
    }
    shown
}

fn of_vertex(checkpoint: &CheckpointView, index: usize, vertex: &VertexView) -> Map<String, Value> {
    let acknowledged = || (0..vertex.subtasks.len()).filter_map(|s| checkpoint.acknowledged.get(&(index, s)));
    let bytes: u64 = acknowledged().map(|task| task.bytes).sum();
    let latest = acknowledged().map(|task| task.at_ms).max();
    let count = acknowledged().count();
    let status = match status(&checkpoint.outcome) {
        _ if count == vertex.subtasks.len() => "COMPLETED",
        other => other,
    };
    let fields = json!({
        "id": checkpoint.id,
        "status": status,
        "latest_ack_timestamp": latest.unwrap_or(-1),
        "checkpointed_size": bytes,
        "state_size": bytes,
        "end_to_end_duration": latest.map_or(-1, |at| at - checkpoint.triggered_ms),
        "alignment_buffered": 0,
        "processed_data": 0,
        "persisted_data": 0,
        "num_subtasks": vertex.subtasks.len(),
        "num_acknowledged_subtasks": count,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
