//! `streamkeeper savepoint`, `stop` and `checkpoint`: asked of a running job, and waited for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Client;
use super::inspect::{InspectArgs, inspect};
use super::{Target, configuration};
use crate::Failure;
use crate::run::print;

/// How often it is asked what has become of an operation.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What `streamkeeper savepoint` is asked to do.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
The savepoint is a directory of its own, DIR/savepoint-<job>-<random>: it can be copied, moved, and given to
`streamkeeper run --from-savepoint`. The job runs on, and what it has written since its last checkpoint is not committed by it."
)]
pub(crate) struct SavepointArgs {
    #[command(subcommand)]
    what: Option<SavepointCommand>,
    #[command(flatten)]
    take: TakeArgs,
}

#[derive(Subcommand, Debug)]
enum SavepointCommand {
    /// Show what a savepoint or checkpoint consists of.
    Inspect(InspectArgs),
    /// Delete a savepoint.
    Dispose(DisposeArgs),
}

#[derive(Args, Debug)]
struct TakeArgs {
    /// The job's id: 32 hexadecimal digits.
    #[arg(value_name = "JOB", required = true)]
    job: Option<String>,
    /// Directory for the savepoint; otherwise execution.checkpointing.savepoint-dir of the job.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

#[derive(Args, Debug)]
struct DisposeArgs {
    /// The savepoint's directory.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    #[command(flatten)]
    target: Target,
}

/// What `streamkeeper stop` is asked to do.
#[derive(Args, Debug)]
#[command(after_help = "\
Sources read nothing more, all that was written is committed, and the job has FINISHED. `streamkeeper run --from-savepoint` goes on
exactly there. With --drain event time comes to its end first: windows emit what they hold, and a job that goes on takes what comes
later for late; so drain only what is not to go on.")]
pub(crate) struct StopArgs {
    /// The job's id: 32 hexadecimal digits.
    #[arg(value_name = "JOB")]
    job: String,
    /// Directory for the savepoint; otherwise execution.checkpointing.savepoint-dir of the job.
    #[arg(short = 'p', long, value_name = "DIR")]
    savepoint_path: Option<PathBuf>,
    /// Let event time come to its end first.
    #[arg(short, long)]
    drain: bool,
    #[command(flatten)]
    target: Target,
}

/// What `streamkeeper checkpoint` is asked to do.
#[derive(Args, Debug)]
pub(crate) struct CheckpointArgs {
    /// The job's id: 32 hexadecimal digits.
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    target: Target,
}

/// Takes a savepoint, or does something with one.
pub(crate) fn savepoint(args: &SavepointArgs) -> Result<(), Failure> {
    match &args.what {
        Some(SavepointCommand::Inspect(inspected)) => inspect(inspected),
        Some(SavepointCommand::Dispose(disposed)) => dispose(disposed),
        None => {
            let take = &args.take;
            let client = Client::new(&take.target, &configuration(&take.target.set)?)?;
            let path = format!("/jobs/{}/savepoints", take.job.as_deref().unwrap_or_default());
            let body = json!({ "target-directory": absolute(take.directory.as_deref())? });
            let done = operation(&client, &path, &path, &body)?;
            show(&take.target, &done, || format!("Savepoint completed. Path: {}\n", location(&done)))
        }
    }
}

/// Ends a job with a savepoint.
pub(crate) fn stop(args: &StopArgs) -> Result<(), Failure> {
    let client = Client::new(&args.target, &configuration(&args.target.set)?)?;
    let of_job = |what: &str| format!("/jobs/{}/{what}", args.job);
    let body = json!({ "targetDirectory": absolute(args.savepoint_path.as_deref())?, "drain": args.drain });
    let done = operation(&client, &of_job("stop"), &of_job("savepoints"), &body)?;
    show(&args.target, &done, || format!("Job {} has finished. Savepoint: {}\n", args.job, location(&done)))
}

/// Takes a checkpoint.
pub(crate) fn checkpoint(args: &CheckpointArgs) -> Result<(), Failure> {
    let client = Client::new(&args.target, &configuration(&args.target.set)?)?;
    let path = format!("/jobs/{}/checkpoints", args.job);
    let done = operation(&client, &path, &path, &json!({}))?;
    let id = done.get("checkpointId").and_then(Value::as_u64).unwrap_or_default();
    show(&args.target, &done, || format!("Checkpoint {id} of job {} completed.\n", args.job))
}

fn dispose(args: &DisposeArgs) -> Result<(), Failure> {
    let client = Client::new(&args.target, &configuration(&args.target.set)?)?;
    let path = "/savepoint-disposal";
    let done = operation(&client, path, path, &json!({ "savepoint-path": absolute(Some(&args.path))? }))?;
    show(&args.target, &done, || format!("Savepoint {} is deleted.\n", args.path.display()))
}

fn show(target: &Target, done: &Value, text: impl FnOnce() -> String) -> Result<(), Failure> {
    print(&if target.json { format!("{done}\n") } else { text() })
}

/// Without Flink's `file:`.
fn location(done: &Value) -> &str {
    let location = done.get("location").and_then(Value::as_str).unwrap_or_default();
    location.strip_prefix("file:").unwrap_or(location)
}

/// The cluster's processes have another working directory.
fn absolute(path: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    let absolute = |path: &Path| {
        // One with a scheme is the server's to judge.
        if path.to_string_lossy().contains(":/") {
            return Ok(path.to_path_buf());
        }
        std::path::absolute(path).map_err(|e| Failure::usage(format!("{}: {e}", path.display())))
    };
    path.map(absolute).transpose()
}

/// Begins something, and waits for its end.
fn operation(client: &Client, path: &str, looked_at: &str, body: &Value) -> Result<Value, Failure> {
    let begun = client.post(path, body)?;
    let id = begun.get("request-id").and_then(Value::as_str).unwrap_or_default();
    let path = format!("{looked_at}/{id}");
    loop {
        let shown = client.get(&path)?;
        if shown.pointer("/status/id").and_then(Value::as_str) == Some("COMPLETED") {
            let done = shown.get("operation").cloned().unwrap_or_default();
            return match done.pointer("/failure-cause/stack-trace").and_then(Value::as_str) {
                Some(reason) => Err(Failure::job(reason)),
                None => Ok(done),
            };
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}
