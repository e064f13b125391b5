//! `streamkeeper sql`: runs the statements of a script one after the other, and each job to its end.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use streamkeeper::live_config::LiveConfig;
use streamkeeper_dataflow::Error;
use streamkeeper_dataflow::config::file;
use streamkeeper_dataflow::job::{JobHandle, JobStatus, launch};
use streamkeeper_sql::config::{self, Config};
use streamkeeper_sql::error::SqlError;
use streamkeeper_sql::parser::parse_script;
use streamkeeper_sql::session::{PlannedJob, Session, StatementResult};

use crate::progress::{self, Totals};
use crate::usage::{Usage, process_start_ms};
use crate::{Failure, SqlArgs};

/// Larger scripts are refused.
const MAX_SCRIPT_BYTES: u64 = 4 << 20;

/// How a checkpoint or savepoint is begun with.
#[derive(Args, Debug)]
pub(crate) struct RecoveryArgs {
    /// Drop the state of operators that the job does not have (any more), instead of refusing.
    #[arg(long)]
    allow_non_restored_state: bool,
    /// Own the savepoint: delete it when the job does not need it any more.
    #[arg(long)]
    claim: bool,
}

impl RecoveryArgs {
    /// Sets the keys that these options stand for.
    pub(crate) fn apply(&self, config: &mut Config) -> Result<(), Failure> {
        if self.allow_non_restored_state {
            set(config, "execution.state-recovery.ignore-unclaimed-state", "true")?;
        }
        if self.claim {
            set(config, "execution.state-recovery.claim-mode", "CLAIM")?;
        }
        Ok(())
    }
}

/// Runs the command.
pub(crate) fn sql(args: &SqlArgs) -> Result<(), Failure> {
    let (text, name) = read_script(args.file.as_deref(), args.execute.as_deref())?;
    let shown = name.as_deref();
    let reject = |error: SqlError| Failure::usage(error.render(&text, shown));
    let statements = parse_script(&text).map_err(reject)?;
    let mut session = Session::new(configuration(args)?);
    let mut from_checkpoint = args.from_checkpoint.clone();
    let mut jobs = 0;
    for statement in &statements {
        let result = session.execute(&statement.node).map_err(reject)?;
        for warning in session.take_warnings() {
            tracing::warn!("{warning}");
        }
        match result {
            StatementResult::Ok(message) => note(args, &message),
            StatementResult::Text(text) => print(&format!("{text}\n"))?,
            StatementResult::Table { columns, rows } => print(&table(&columns, &rows))?,
            StatementResult::Job(job) => {
                jobs += 1;
                if jobs > 1 && args.from_checkpoint.is_some() {
                    return Err(Failure::usage(
                        "--from-checkpoint is for a script with one job; put its INSERTs into one EXECUTE STATEMENT SET",
                    ));
                }
                let from = from_checkpoint.take().or(session.config().job().recovery_path);
                run_job(args, *job, session.config(), from)?;
            }
        }
    }
    Ok(())
}

/// The text, and the name that errors give it.
pub(crate) fn read_script(
    file: Option<&Path>,
    execute: Option<&str>,
) -> Result<(String, Option<String>), Failure> {
    if let Some(text) = execute {
        return Ok((text.to_owned(), None));
    }
    let path = file.map_or_else(|| PathBuf::from("-"), Path::to_path_buf);
    let name = path.display().to_string();
    let mut text = String::new();
    let read =
        |reader: &mut dyn Read, text: &mut String| reader.take(MAX_SCRIPT_BYTES + 1).read_to_string(text);
    let result = if name == "-" {
        read(&mut std::io::stdin().lock(), &mut text)
    } else {
        std::fs::File::open(&path).and_then(|mut file| read(&mut file, &mut text))
    };
    result.map_err(|e| Failure::usage(format!("cannot read {name}: {e}")))?;
    if text.len() as u64 > MAX_SCRIPT_BYTES {
        return Err(Failure::usage(format!("{name} is larger than {} MiB", MAX_SCRIPT_BYTES >> 20)));
    }
    Ok((text, Some(if name == "-" { "<stdin>".into() } else { name })))
}

/// The file's keys, then those of the command line.
fn configuration(args: &SqlArgs) -> Result<Config, Failure> {
    let mut config = load_configuration(&args.set)?;
    if let Some(parallelism) = args.parallelism {
        set(&mut config, "parallelism.default", &parallelism.to_string())?;
    }
    args.recovery.apply(&mut config)?;
    Ok(config)
}

/// The file's keys, then those that `--set` gives, as KEY=VALUE.
pub(crate) fn load_configuration(pairs: &[String]) -> Result<Config, Failure> {
    load_configuration_into(config::new(), pairs)
}

/// As [`load_configuration`], with the keys that `config` knows.
pub(crate) fn load_configuration_into(mut config: Config, pairs: &[String]) -> Result<Config, Failure> {
    if let Some(path) = file::path() {
        for (key, value) in file::read(&path).map_err(Failure::usage)? {
            set(&mut config, &key, &value)?;
        }
    }
    for entry in pairs {
        let (key, value) = entry
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("--set {entry}: write it as --set key=value")))?;
        set(&mut config, key.trim(), value.trim())?;
    }
    Ok(config)
}

fn set(config: &mut Config, key: &str, value: &str) -> Result<(), Failure> {
    if let Some(warning) = config.set(key, value).map_err(Failure::usage)? {
        tracing::warn!("{warning}");
    }
    Ok(())
}

fn run_job(
    args: &SqlArgs,
    planned: PlannedJob,
    config: &Config,
    from: Option<PathBuf>,
) -> Result<(), Failure> {
    let started = Instant::now();
    let settings = &config.job();
    let name = settings.name.clone().unwrap_or(planned.name.clone());
    if let Some(path) = &from {
        note(args, &format!("Resuming from {}", path.display()));
    }
    let documents = Some(&planned.config_documents).filter(|documents| !documents.is_empty());
    let open = |documents| LiveConfig::open(config, &name, documents);
    let live = documents.map(open).transpose().map_err(Failure::live_config)?;
    let snapshot = live.as_ref().map(LiveConfig::snapshot).transpose().map_err(Failure::live_config)?;
    let snapshot = snapshot.unwrap_or_default();
    let job = launch(planned.graph, &name, settings, from.as_deref(), snapshot).map_err(Failure::job)?;
    let _following =
        live.map(|live| live.follow(job.reconfigurer())).transpose().map_err(Failure::live_config)?;
    if !args.quiet {
        progress::print_tasks(&name, &job.vertices());
    }
    progress::follow(&job, args.quiet);
    let elapsed = started.elapsed();
    let usage = Usage::now();
    if !args.quiet {
        progress::print_summary(&name, &job, elapsed, usage);
    }
    if let Some(path) = &args.report {
        report(path, &name, &job, elapsed, usage)
            .map_err(|e| Failure::job(format!("cannot write the report {}: {e}", path.display())))?;
    }
    match job.wait() {
        Ok(JobStatus::Finished) => Ok(()),
        Ok(status) => Err(Failure::job(format!("job {name} ended as {status:?}"))),
        Err(error) => Err(job_failure(&name, &error)),
    }
}

fn job_failure(name: &str, error: &Error) -> Failure {
    Failure::job(format!("job {name} failed in {error}"))
}

fn report(
    path: &std::path::Path,
    name: &str,
    job: &JobHandle,
    elapsed: Duration,
    usage: Usage,
) -> std::io::Result<()> {
    let vertices = job.vertices();
    let totals = Totals::of(&vertices);
    let first_rows =
        vertices.iter().flat_map(|v| &v.subtasks).map(|m| m.first_row_at.get()).filter(|at| *at > 0);
    let first_row = first_rows.min().zip(process_start_ms()).map(|(row, start)| row - start);
    let tasks: Vec<serde_json::Value> = vertices
        .iter()
        .map(|vertex| {
            let subtasks: Vec<serde_json::Value> = vertex
                .subtasks
                .iter()
                .map(|metrics| {
                    serde_json::Value::Object(
                        metrics.snapshot().map(|(k, v)| (k.into(), v.into())).into_iter().collect(),
                    )
                })
                .collect();
            serde_json::json!({ "name": vertex.name, "subtasks": subtasks })
        })
        .collect();
    let line = serde_json::json!({
        "job": name,
        "status": format!("{:?}", job.status()),
        "wall_s": elapsed.as_secs_f64(),
        "cpu_s": usage.cpu_s,
        "peak_bytes": usage.peak_bytes,
        "rows_in": totals.rows_in,
        "rows_out": totals.rows_out,
        "first_row_after_start_ms": first_row,
        "checkpoints": job.metrics().number_of_completed_checkpoints.get(),
        "tasks": tasks,
    });
    let mut file = std::fs::File::options().create(true).append(true).open(path)?;
    writeln!(file, "{line}")
}

fn note(args: &SqlArgs, message: &str) {
    if !args.quiet && !message.is_empty() && std::io::stderr().is_terminal() {
        eprintln!("{message}");
    }
}

/// A reader that has gone (`| head`) is not an error of ours.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::job(format!("cannot write to standard output: {e}")))
        }
        _ => Ok(()),
    }
}

/// Rows as Flink's SQL client shows them.
pub(crate) fn table(columns: &[String], rows: &[Vec<String>]) -> String {
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = columns.iter().map(|column| width(column)).collect();
    for row in rows {
        for (i, cell) in row.iter().enumerate() {
            widths[i] = widths[i].max(width(cell));
        }
    }
    let border: String =
        widths.iter().map(|w| format!("+{}", "-".repeat(w + 2))).chain(["+\n".into()]).collect();
    let line = |cells: &[String]| -> String {
        let cells =
            cells.iter().zip(&widths).map(|(cell, w)| format!("| {}{cell} ", " ".repeat(w - width(cell))));
        cells.chain(["|\n".into()]).collect()
    };
    if rows.is_empty() {
        return "Empty set\n".into();
    }
    let body: String = rows.iter().map(|row| line(row)).collect();
    let count = if rows.len() == 1 { "1 row in set".into() } else { format!("{} rows in set", rows.len()) };
    format!("{border}{}{border}{body}{border}{count}\n", line(columns))
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn tables_look_like_those_of_flinks_client() {
        let text = table(&["name".into(), "type".into()], &[vec!["a".into(), "INT".into()]]);
        let expected = "\
+------+------+
| name | type |
+------+------+
|    a |  INT |
+------+------+
1 row in set
";
        assert_eq!(text, expected);
        assert_eq!(table(&["name".into()], &[]), "Empty set\n");
    }
}
