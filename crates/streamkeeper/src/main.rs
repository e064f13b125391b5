//! The `streamkeeper` command.

mod bench;
mod bench_keeper;
mod cluster;
mod completion;
mod config;
mod keeper;
mod model;
mod nexmark;
mod probe;
mod progress;
mod run;
mod usage;
mod zk;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use streamkeeper::live_config;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A stream processor that speaks Flink SQL.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  streamkeeper sql -f examples/flights/delays.sql
  streamkeeper sql -e \"SELECT 1 + 1\"
  streamkeeper sql -f job.sql --set parallelism.default=2 --from-checkpoint checkpoints/

Exit codes: 0 success, 1 a job failed, 2 the statements or options are wrong."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run SQL statements; each INSERT or statement set is a job, and runs to its end.
    Sql(SqlArgs),
    /// Run a whole cluster in one process: keeper, JobManager, TaskManager and REST API.
    Standalone(cluster::StandaloneArgs),
    /// Run a JobManager of a cluster; of several, one leads.
    Jobmanager(cluster::RoleArgs),
    /// Run a TaskManager of a cluster.
    Taskmanager(cluster::RoleArgs),
    /// Submit the jobs of a script to a cluster.
    Run(cluster::RunArgs),
    /// List the jobs of a cluster.
    List(cluster::ListArgs),
    /// Show a job of a cluster: its tasks, where they run, what they have done.
    Info(cluster::JobArgs),
    /// Stop a job of a cluster, without a savepoint.
    Cancel(cluster::JobArgs),
    /// Take a savepoint of a job of a cluster, which runs on; or look at one, or delete it.
    Savepoint(cluster::SavepointArgs),
    /// End a job of a cluster with a savepoint.
    Stop(cluster::StopArgs),
    /// Take a checkpoint of a job of a cluster, now.
    Checkpoint(cluster::CheckpointArgs),
    /// Let a running job of a cluster go on at another parallelism.
    Rescale(cluster::RescaleArgs),
    /// Find, and delete, checkpoints that no job of a cluster needs.
    Gc(cluster::GcArgs),
    /// Measure the engine on the Nexmark queries, or the keeper beside another ZooKeeper server.
    Bench(BenchChoice),
    /// Print what models say of ZooKeeper's writes, elections and znodes, and measure beside them.
    Model(model::ModelArgs),
    /// Print a script that lets a shell complete this command's words.
    Completion(completion::CompletionArgs),
    /// A shell for ZooKeeper servers, with zkCli's commands.
    Zk(zk::ZkArgs),
    /// Read and change configuration documents, which jobs follow while they run.
    Config(config::ConfigArgs),
    /// Run a ZooKeeper-compatible server.
    Keeper(keeper::KeeperArgs),
}

/// What `streamkeeper sql` is asked to do.
#[derive(Args, Debug)]
#[command(after_help = "\
Keys are Flink's. Those most often needed:
  parallelism.default                     subtasks per task (1)
  execution.checkpointing.interval        time between checkpoints; files are committed with them (none)
  execution.checkpointing.dir             where checkpoints are kept, to resume after a crash (memory only)
  restart-strategy.type                   none, fixed-delay, failure-rate, exponential-delay
  table.local-time-zone                   zone of TIMESTAMP_LTZ (UTC)
  high-availability.zookeeper.quorum      where CONFIG('doc', 'key') finds its documents, as host:port,host:port
Keys are taken from streamkeeper.yaml (in this directory, or $STREAMKEEPER_CONF), then --set, then SET statements.

After a crash, run the same script with --from-checkpoint and the checkpoint directory: output goes on exactly
where it was committed.")]
pub struct SqlArgs {
    /// File with SQL statements; `-` reads standard input.
    #[arg(short, long, value_name = "FILE", conflicts_with = "execute", required_unless_present = "execute")]
    file: Option<PathBuf>,
    /// SQL statements.
    #[arg(short, long, value_name = "STATEMENT")]
    execute: Option<String>,
    /// Set a configuration key; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Subtasks per task: short for --set parallelism.default=N.
    #[arg(short, long, value_name = "N")]
    parallelism: Option<u16>,
    /// Resume from a checkpoint: its `chk-N` directory, or the checkpoint directory of the run (its latest); or from a savepoint.
    #[arg(long, value_name = "PATH", visible_alias = "from-savepoint")]
    from_checkpoint: Option<PathBuf>,
    #[command(flatten)]
    recovery: run::RecoveryArgs,
    /// Print nothing but results and errors.
    #[arg(short, long)]
    quiet: bool,
    /// Write what each job did to this file, as JSON lines.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What `streamkeeper bench` is asked to do: Nexmark, if nothing else.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
struct BenchChoice {
    #[command(subcommand)]
    what: Option<BenchCommand>,
    #[command(flatten)]
    nexmark: bench::BenchArgs,
}

#[derive(Subcommand, Debug)]
enum BenchCommand {
    /// Measure the engine on the Nexmark queries.
    Nexmark(bench::BenchArgs),
    /// Measure the keeper, and another ZooKeeper server beside it.
    Keeper(bench_keeper::KeeperBenchArgs),
}

fn main() -> ExitCode {
    explain_panics();
    let command = Cli::parse().command;
    let server = matches!(
        command,
        Command::Keeper(_) | Command::Standalone(_) | Command::Jobmanager(_) | Command::Taskmanager(_)
    );
    start_logging(server);
    let outcome = match command {
        Command::Sql(args) => run::sql(&args),
        Command::Standalone(args) => cluster::standalone(&args),
        Command::Jobmanager(args) => cluster::job_manager(&args),
        Command::Taskmanager(args) => cluster::task_manager(&args),
        Command::Run(args) => cluster::run(&args),
        Command::List(args) => cluster::list(&args),
        Command::Info(args) => cluster::info(&args),
        Command::Cancel(args) => cluster::cancel(&args),
        Command::Savepoint(args) => cluster::savepoint(&args),
        Command::Stop(args) => cluster::stop(&args),
        Command::Checkpoint(args) => cluster::checkpoint(&args),
        Command::Rescale(args) => cluster::rescale(&args),
        Command::Gc(args) => cluster::gc(&args),
        Command::Bench(args) => match args.what {
            None => bench::run(&args.nexmark),
            Some(BenchCommand::Nexmark(nexmark)) => bench::run(&nexmark),
            Some(BenchCommand::Keeper(keeper)) => bench_keeper::run(&keeper),
        },
        Command::Completion(args) => completion::run(&args, Cli::command()),
        Command::Model(args) => model::run(&args),
        Command::Zk(args) => return zk::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Keeper(args) => keeper::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing is left to tell it to when standard error is closed.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("{}\n", failure.message).as_bytes(),
            );
            ExitCode::from(failure.code)
        }
    }
}

/// Logs to standard error: of a server what happens and when, else only what goes wrong.
fn start_logging(server: bool) {
    let level = if server { "info" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("STREAMKEEPER_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    // Of a server the target tells whose line it is: those of the audit log have their own.
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(server);
    if server { log.with_ansi(false).init() } else { log.without_time().init() }
}

/// Rust's default panic message says where in our code; a user is told that it is ours to mend.
fn explain_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        default(panic);
        eprintln!("This is a bug in streamkeeper: please report it with the statements that led to it.");
    }));
}

/// Why the command did not do what it was asked.
pub struct Failure {
    /// For standard error.
    pub message: String,
    /// Exit code.
    pub code: u8,
}

impl Failure {
    /// A job failed: exit code 1.
    pub fn job(message: impl std::fmt::Display) -> Self {
        Self { message: format!("error: {message}"), code: 1 }
    }

    /// Documents of the configuration cannot be had.
    pub fn live_config(error: live_config::Error) -> Self {
        match error {
            live_config::Error::NoZooKeeper => Self::usage(error),
            live_config::Error::Coordination(error) => config::failure(error),
            live_config::Error::TooLarge(_) | live_config::Error::Thread(_) => Self::job(error),
        }
    }

    /// The user's text or options are wrong: exit code 2.
    pub fn usage(message: impl std::fmt::Display) -> Self {
        Self { message: format!("error: {message}"), code: 2 }
    }
}
