//! The parallelism of a running job, as Flink's adaptive scheduler has it changed.
//!
//! A job has one parallelism here: all vertices that run at it change together, those that always have fewer subtasks stay.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Api, Call, Reply, RestError};
use crate::jobmanager::view::JobView;

#[derive(Deserialize)]
struct Requirement {
    parallelism: Bounds,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounds {
    #[serde(default)]
    lower_bound: Option<i64>,
    upper_bound: i64,
}

/// `GET /jobs/:jobid/resource-requirements`.
pub(super) fn requirements(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    let highest = highest(&job);
    let of_vertex = |shape: &crate::jobmanager::view::VertexShape| {
        let scales = shape.parallelism == highest && job.wanted_parallelism > 0;
        let upper = if scales { job.wanted_parallelism as usize } else { shape.parallelism };
        (shape.id.clone(), json!({ "parallelism": { "lowerBound": 1, "upperBound": upper } }))
    };
    Ok(Value::Object(job.vertices.iter().map(|vertex| of_vertex(&vertex.shape)).collect()).into())
}

/// `PUT /jobs/:jobid/resource-requirements`.
pub(super) fn change(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    let wanted: BTreeMap<String, Requirement> = serde_json::from_slice(&call.body)
        .map_err(|e| RestError::bad_request(format!("Request did not match expected format: {e}")))?;
    let parallelism = parallelism(&job, &wanted).map_err(RestError::bad_request)?;
    api.handle.rescale(call.job()?, parallelism)?;
    Ok(json!({}).into())
}

fn highest(job: &JobView) -> usize {
    job.vertices.iter().map(|vertex| vertex.shape.parallelism).max().unwrap_or(0)
}

/// The one parallelism that is wanted.
fn parallelism(job: &JobView, wanted: &BTreeMap<String, Requirement>) -> Result<u32, String> {
    let highest = highest(job);
    if let Some(unknown) = wanted.keys().find(|id| job.vertices.iter().all(|v| v.shape.id != **id)) {
        return Err(format!("the job has no vertex {unknown}"));
    }
    let mut found = None;
    for shape in job.vertices.iter().map(|vertex| &vertex.shape) {
        let Some(Requirement { parallelism }) = wanted.get(&shape.id) else {
            return Err(format!("the requirements of vertex {} ({}) are missing", shape.id, shape.name));
        };
        let Bounds { lower_bound, upper_bound } = *parallelism;
        let most = i64::from(job.max_parallelism.max(1));
        if upper_bound < 1
            || upper_bound > most
            || lower_bound.is_some_and(|low| low < 1 || low > upper_bound)
        {
            return Err(format!(
                "vertex {} ({}): bounds must be 1 or more, lower before upper, and at most {most} (pipeline.max-parallelism)",
                shape.id, shape.name
            ));
        }
        if shape.parallelism != highest {
            continue;
        }
        let upper = u32::try_from(upper_bound).unwrap_or(u32::MAX);
        if *found.get_or_insert(upper) != upper {
            return Err("a job has one parallelism: give all its vertices the same upperBound".into());
        }
    }
    found.ok_or_else(|| "the job is being started; try again".into())
}
