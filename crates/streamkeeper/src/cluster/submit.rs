//! `streamkeeper run`: submits the jobs of a script to a cluster.
//!
//! The statements are executed here first, so that what is wrong with them is said with its place in the script, and nothing is
//! submitted of a script that is wrong in a later place. What it changes of the cluster's tables and views is one transaction, before
//! the jobs are submitted. Each job carries the statements that it needs: what becomes of a table later does not change it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use streamkeeper_coordination::jobs::{JobKind, JobSpec};
use streamkeeper_sql::error::SqlError;
use streamkeeper_sql::parser::{Statement, parse_script};
use streamkeeper_sql::session::{Session, StatementResult};

use super::catalog;
use super::client::Client;
use super::planner::DIRECTORY;
use super::{Target, configuration};
use crate::Failure;
use crate::run::{RecoveryArgs, print, read_script};

/// How often the state of a job is asked for that is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// What `streamkeeper run` is asked to do.
#[derive(Args, Debug)]
#[command(after_help = "\
Each INSERT or statement set of the script is a job. Tables and views that are not TEMPORARY are kept by the cluster, for later
scripts as well. Without --detached the command ends when the jobs have ended, with exit
code 1 if one has not finished; interrupting it leaves them running. With --job-id, submitting again does no harm.")]
pub(crate) struct RunArgs {
    /// File with SQL statements; `-` reads standard input.
    #[arg(short, long, value_name = "FILE", conflicts_with = "execute", required_unless_present = "execute")]
    file: Option<PathBuf>,
    /// SQL statements.
    #[arg(short, long, value_name = "STATEMENT")]
    execute: Option<String>,
    /// Subtasks per task: short for --set parallelism.default=N.
    #[arg(short, long, value_name = "N")]
    parallelism: Option<u16>,
    /// Submit and leave.
    #[arg(short, long)]
    detached: bool,
    /// The id of the job, of a script with one: 32 hexadecimal digits.
    #[arg(long, value_name = "ID")]
    job_id: Option<String>,
    /// Begin with a savepoint (or a retained checkpoint, whose run then goes on): its directory. For a script with one job.
    #[arg(short = 's', long, value_name = "PATH")]
    from_savepoint: Option<PathBuf>,
    #[command(flatten)]
    recovery: RecoveryArgs,
    #[command(flatten)]
    target: Target,
}

/// Submits the jobs of a script, and changes the cluster's tables and views as it says.
pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
    let mut config = configuration(&args.target.set)?;
    let client = Client::new(&args.target, &config)?;
    if let Some(parallelism) = args.parallelism {
        config.set("parallelism.default", &parallelism.to_string()).map_err(Failure::usage)?;
    }
    args.recovery.apply(&mut config)?;
    if let Some(path) = &args.from_savepoint {
        let path =
            std::path::absolute(path).map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?;
        config.set("execution.state-recovery.path", &path.display().to_string()).map_err(Failure::usage)?;
    }
    let (text, name) = read_script(args.file.as_deref(), args.execute.as_deref())?;
    let mut session = Session::new(config);
    let loaded = catalog::load(&client, &mut session)?;
    let specs = specs(&text, name.as_deref(), &mut session)?;
    let alone = [("--job-id", args.job_id.is_some()), ("--from-savepoint", args.from_savepoint.is_some())];
    if let Some((option, _)) = alone.iter().find(|(_, given)| *given && specs.len() > 1) {
        return Err(Failure::usage(format!(
            "{option} is for a script with one job; put its INSERTs into one EXECUTE STATEMENT SET"
        )));
    }
    loaded.store(&client, &session)?;
    let mut jobs = Vec::new();
    for spec in specs {
        let name = spec.name.clone();
        let body = json!({ "id": args.job_id, "spec": spec });
        let answer = client.post("/v1/streamkeeper/jobs", &body)?;
        let id = answer.get("jobid").and_then(Value::as_str).unwrap_or_default().to_owned();
        if args.target.json {
            print(&format!("{answer}\n"))?;
        } else {
            print(&format!("Job has been submitted with JobID {id}: {name}\n"))?;
        }
        jobs.push(id);
    }
    if args.detached {
        return Ok(());
    }
    jobs.iter().try_for_each(|job| wait(&client, job))
}

/// What is to be submitted: each job with the statements that it needs.
fn specs(text: &str, name: Option<&str>, session: &mut Session) -> Result<Vec<JobSpec>, Failure> {
    let reject = |error: SqlError| Failure::usage(error.render(text, name));
    let directory = std::env::current_dir()
        .map_err(|e| Failure::job(format!("the current directory cannot be had: {e}")))?;
    session.set_base_directory(directory.clone());
    let (mut inserts, mut specs) = (Vec::new(), Vec::new());
    let statements = parse_script(text).map_err(reject)?;
    if statements.is_empty() {
        return Err(Failure::usage("the script has no statement: there is nothing to run"));
    }
    for statement in &statements {
        if let Statement::Query(_) = statement.node {
            return Err(Failure::usage(
                "`run` submits INSERTs; a SELECT shows its rows with `streamkeeper sql`",
            ));
        }
        let result = session.execute(&statement.node).map_err(reject)?;
        for warning in session.take_warnings() {
            tracing::warn!("{warning}");
        }
        let source = text.get(statement.span.clone()).unwrap_or_default().to_owned();
        match result {
            StatementResult::Job(job) => {
                let configuration: BTreeMap<String, String> = session.config().entries().clone();
                let inserts = std::mem::take(&mut inserts);
                specs.push(JobSpec {
                    name: job.name,
                    kind: JobKind::Sql,
                    statements: job.definitions.into_iter().chain(inserts).chain([source]).collect(),
                    configuration,
                    details: json!({ DIRECTORY: directory }),
                    ..JobSpec::default()
                });
            }
            StatementResult::Table { columns, rows } => print(&crate::run::table(&columns, &rows))?,
            StatementResult::Text(text) => print(&format!("{text}\n"))?,
            // What leads to the job when it ends.
            StatementResult::Ok(_)
                if matches!(statement.node, Statement::BeginStatementSet | Statement::Insert(_)) =>
            {
                inserts.push(source);
            }
            // Tables, views and the configuration are in the spec, as they stand.
            StatementResult::Ok(_) => {}
        }
    }
    Ok(specs)
}

/// Waits for the end of a job.
fn wait(client: &Client, job: &str) -> Result<(), Failure> {
    loop {
        let shown = client.get(&format!("/v1/streamkeeper/jobs/{job}"))?;
        let field = |key: &str| shown.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        match field("state").as_str() {
            "FINISHED" => return Ok(()),
            "CANCELED" => return Err(Failure::job(format!("job {job} was cancelled"))),
            "FAILED" => return Err(Failure::job(format!("job {job} failed: {}", field("error")))),
            _ => std::thread::sleep(POLL_INTERVAL),
        }
    }
}
