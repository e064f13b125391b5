//! `streamkeeper rescale`: a running job at another parallelism.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::{Target, configuration};
use crate::Failure;
use crate::run::print;

/// How often it is looked how far it is.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// After so long it is said what it waits for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `streamkeeper rescale` is asked to do.
#[derive(Args, Debug)]
#[command(after_help = "\
A checkpoint is taken while the job runs on; then its tasks begin again from it at the new parallelism: the same job, nothing lost and
nothing twice. A job that needs more slots than there are goes on as it is until there are.")]
pub(crate) struct RescaleArgs {
    /// The job's id: 32 hexadecimal digits.
    #[arg(value_name = "JOB")]
    job: String,
    /// Subtasks per task.
    #[arg(short, long, value_name = "N")]
    parallelism: u32,
    /// Leave without waiting until it is so.
    #[arg(short, long)]
    detached: bool,
    #[command(flatten)]
    target: Target,
}

/// Changes the parallelism of a job.
pub(crate) fn rescale(args: &RescaleArgs) -> Result<(), Failure> {
    let client = Client::new(&args.target, &configuration(&args.target.set)?)?;
    let requirements = format!("/jobs/{}/resource-requirements", args.job);
    let known = client.get(&requirements)?;
    let bounds = json!({ "parallelism": { "lowerBound": 1, "upperBound": args.parallelism } });
    let wanted: Map<String, Value> =
        known.as_object().into_iter().flatten().map(|(vertex, _)| (vertex.clone(), bounds.clone())).collect();
    let began = Instant::now();
    client.put(&requirements, &Value::Object(wanted))?;
    if !args.detached {
        wait(&client, args, began)?;
    }
    if args.target.json {
        return print(&format!("{}\n", json!({ "jobid": args.job, "parallelism": args.parallelism })));
    }
    let so = if args.detached { "is to run" } else { "runs" };
    print(&format!("Job {} {so} at parallelism {}.\n", args.job, args.parallelism))
}

/// Waits until the job runs at the parallelism that was asked for.
fn wait(client: &Client, args: &RescaleArgs, began: Instant) -> Result<(), Failure> {
    let mut told = false;
    loop {
        let job = client.get(&format!("/v1/streamkeeper/jobs/{}", args.job))?;
        match job.get("state").and_then(Value::as_str).unwrap_or_default() {
            state @ ("FINISHED" | "CANCELED" | "FAILED") => {
                return Err(Failure::job(format!("job {} has ended meanwhile: {state}", args.job)));
            }
            _ if runs_at(&job, args.parallelism) => return Ok(()),
            _ => {}
        }
        if !told && began.elapsed() > PATIENCE {
            told = true;
            // On standard error: it is no result.
            eprintln!("It waits for slots, or for the checkpoint; interrupting this changes nothing.");
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn runs_at(job: &Value, parallelism: u32) -> bool {
    let vertices = || job.get("vertices").and_then(Value::as_array).into_iter().flatten();
    let subtasks =
        || vertices().flat_map(|v| v.get("subtasks").and_then(Value::as_array).into_iter().flatten());
    let begun = |s: &Value| matches!(s.get("state").and_then(Value::as_str), Some("RUNNING" | "FINISHED"));
    job.get("parallelism").and_then(Value::as_u64) == Some(u64::from(parallelism))
        && subtasks().next().is_some()
        && subtasks().all(begun)
}
