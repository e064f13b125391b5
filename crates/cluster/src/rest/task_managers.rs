//! What is to be said of TaskManagers.
//!
//! Flink's sizes of memory pools are 0 where there is no such pool: memory here is one heap.

use serde_json::{Map, Value, json};

use super::api::{Api, Call, Reply, RestError};
use crate::jobmanager::view::{ClusterView, ProcessStatus, TaskManagerView};

/// `GET /taskmanagers`.
pub(super) fn list(api: &Api, _: &Call) -> Result<Reply, RestError> {
    let view = api.handle.view()?;
    let all: Vec<_> = view.task_managers.iter().map(|t| Value::Object(entry(t, &view))).collect();
    Ok(json!({ "taskmanagers": all }).into())
}

/// `GET /taskmanagers/:taskmanagerid`.
pub(super) fn details(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let view = api.handle.view()?;
    let task_manager = find(&view, call)?;
    let mut details = entry(task_manager, &view);
    let slots: Vec<_> = tasks(&view, &task_manager.id)
        .filter(|(_, tasks)| *tasks > 0)
        .map(|(job, tasks)| json!({ "jobId": job, "resource": resource(1), "assignedTasks": tasks }))
        .collect();
    details.insert("allocatedSlots".into(), slots.into());
    details.insert("metrics".into(), metrics(&task_manager.process));
    Ok(Value::Object(details).into())
}

/// The TaskManager that a request is about.
pub(super) fn find<'a>(view: &'a ClusterView, call: &Call) -> Result<&'a TaskManagerView, RestError> {
    let id = call.param("taskmanagerid");
    let not_found = || RestError::not_found(format!("TaskManager {id} not found"));
    view.task_managers.iter().find(|t| t.id == id).ok_or_else(not_found)
}

/// Jobs, and how many tasks of each a TaskManager has.
fn tasks<'a>(view: &'a ClusterView, worker: &'a str) -> impl Iterator<Item = (&'a str, usize)> {
    view.jobs.iter().map(move |job| {
        let subtasks = job.vertices.iter().flat_map(|vertex| &vertex.subtasks);
        let here = subtasks.filter(|s| s.worker == worker && matches!(s.state, "RUNNING" | "FINISHED"));
        (job.id.as_str(), here.count())
    })
}

fn entry(task_manager: &TaskManagerView, view: &ClusterView) -> Map<String, Value> {
    let port = task_manager.exchange_address.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let assigned: usize = tasks(view, &task_manager.id).map(|(_, tasks)| tasks).sum();
    let entry = json!({
        "id": task_manager.id,
        "path": format!("streamkeeper://{}/{}", task_manager.exchange_address, task_manager.id),
        "dataPort": port.unwrap_or(0),
        "jmxPort": -1,
        "timeSinceLastHeartbeat": task_manager.last_heartbeat_ms,
        "slotsNumber": task_manager.slots,
        "freeSlots": task_manager.free_slots,
        "assignedTasks": assigned,
        "totalResource": resource(task_manager.slots),
        "freeResource": resource(task_manager.free_slots),
        "hardware": {
            "cpuCores": task_manager.process.cores,
            "physicalMemory": task_manager.process.physical_bytes,
            "freeMemory": task_manager.process.free_bytes,
            "managedMemory": 0,
        },
        "memoryConfiguration": {
            "frameworkHeap": 0,
            "taskHeap": 0,
            "frameworkOffHeap": 0,
            "taskOffHeap": 0,
            "networkMemory": 0,
            "managedMemory": 0,
            "jvmMetaspace": 0,
            "jvmOverhead": 0,
            "totalFlinkMemory": 0,
            "totalProcessMemory": task_manager.process.resident_bytes,
        },
    });
    match entry {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Slots, as Flink counts what they may use: one core each.
fn resource(slots: usize) -> Value {
    json!({
        "cpuCores": slots as f64,
        "taskHeapMemory": 0,
        "taskOffHeapMemory": 0,
        "managedMemory": 0,
        "networkMemory": 0,
        "extendedResources": {},
    })
}

fn metrics(process: &ProcessStatus) -> Value {
    json!({
        "heapUsed": process.resident_bytes,
        "heapCommitted": process.resident_bytes,
        "heapMax": process.physical_bytes,
        "nonHeapUsed": 0,
        "nonHeapCommitted": 0,
        "nonHeapMax": 0,
        "directCount": 0,
        "directUsed": 0,
        "directMax": 0,
        "mappedCount": 0,
        "mappedUsed": 0,
        "mappedMax": 0,
        "nettyShuffleMemorySegmentsAvailable": 0,
        "nettyShuffleMemorySegmentsUsed": 0,
        "nettyShuffleMemorySegmentsTotal": 0,
        "nettyShuffleMemoryAvailable": 0,
        "nettyShuffleMemoryUsed": 0,
        "nettyShuffleMemoryTotal": 0,
        "garbageCollectors": [],
    })
}
