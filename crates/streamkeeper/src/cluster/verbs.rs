//! `streamkeeper list`, `info` and `cancel`.

use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::{Target, configuration};
use crate::Failure;
use crate::run::print;

/// What `streamkeeper list` is asked to do.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    target: Target,
    /// Only jobs that have not ended.
    #[arg(short, long)]
    running: bool,
}

/// The job that is meant.
#[derive(Args, Debug)]
pub(crate) struct JobArgs {
    /// The job's id: 32 hexadecimal digits.
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    target: Target,
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> i64 {
    value.get(key).and_then(Value::as_i64).unwrap_or_default()
}

fn time(ms: i64) -> String {
    match chrono::DateTime::from_timestamp_millis(ms) {
        Some(time) if ms > 0 => time.format("%Y-%m-%d %H:%M:%S").to_string(),
        _ => "-".into(),
    }
}

fn ended(state: &str) -> bool {
    matches!(state, "FINISHED" | "FAILED" | "CANCELED")
}

/// Lists the jobs.
pub(crate) fn list(args: &ListArgs) -> Result<(), Failure> {
    let client = Client::new(&args.target, &configuration(&args.target.set)?)?;
    let mut overview = client.get("/jobs/overview")?;
    let jobs = overview.get_mut("jobs").and_then(Value::as_array_mut);
    let jobs = jobs.ok_or_else(|| Failure::job("the JobManager's answer has no jobs"))?;
    jobs.retain(|job| !args.running || !ended(text(job, "state")));
    jobs.sort_by_key(|job| (ended(text(job, "state")), number(job, "start-time")));
    if args.target.json {
        return print(&format!("{overview}\n"));
    }
    if jobs.is_empty() {
        return print("No jobs.\n");
    }
    let mut lines = format!("{:32}  {:12}  {:19}  {}\n", "JOB", "STATE", "STARTED (UTC)", "NAME");
    for job in jobs {
        let (id, state, name) = (text(job, "jid"), text(job, "state"), text(job, "name"));
        lines.push_str(&format!("{id:32}  {state:12}  {:19}  {name}\n", time(number(job, "start-time"))));
    }
    print(&lines)
}

/// Shows a job.
pub(crate) fn info(args: &JobArgs) -> Result<(), Failure> {
    let client = Client::new(&args.target, &configuration(&args.target.set)?)?;
    let job = client.get(&format!("/v1/streamkeeper/jobs/{}", args.job))?;
    if args.target.json {
        return print(&format!("{job}\n"));
    }
    let mut lines = format!(
        "{}  {}  {}\nsubmitted {}, started {}, ended {} (UTC), restarts {}\n",
        text(&job, "jobid"),
        text(&job, "state"),
        text(&job, "name"),
        time(number(&job, "submitted_ms")),
        time(number(&job, "started_ms")),
        time(number(&job, "ended_ms")),
        number(&job, "restarts"),
    );
    if let Some(error) = job.get("error").and_then(Value::as_str) {
        lines.push_str(&format!("error: {error}\n"));
    }
    if let Some(checkpoints) = job.get("checkpoints") {
        let retained: Vec<String> = array(checkpoints, "retained").map(ToString::to_string).collect();
        lines.push_str(&format!(
            "checkpoints: retained {}; {} completed and {} failed under this leader\n",
            if retained.is_empty() { "none".into() } else { retained.join(", ") },
            number(checkpoints, "completed"),
            number(checkpoints, "failed"),
        ));
    }
    for vertex in array(&job, "vertices") {
        lines.push_str(&format!("\n{}\n", text(vertex, "name")));
        for (index, subtask) in array(vertex, "subtasks").enumerate() {
            let metric = |name: &str| subtask.get("metrics").map_or(0, |metrics| number(metrics, name));
            lines.push_str(&format!(
                "  {index:3}  {:12}  attempt {}  {:30}  in {}  out {}\n",
                text(subtask, "state"),
                number(subtask, "attempt"),
                text(subtask, "taskmanager"),
                metric("numRecordsIn"),
                metric("numRecordsOut"),
            ));
        }
    }
    print(&lines)
}

fn array<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// Lets a job end.
pub(crate) fn cancel(args: &JobArgs) -> Result<(), Failure> {
    let client = Client::new(&args.target, &configuration(&args.target.set)?)?;
    let answer = client.patch(&format!("/jobs/{}?mode=cancel", args.job))?;
    if args.target.json {
        return print(&format!("{answer}\n"));
    }
    print(&format!("Cancelled job {}.\n", args.job))
}
