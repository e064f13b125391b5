//! A compiled program as the processes of a cluster: the word count of the examples over two TaskManagers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use streamkeeper_coordination::Cluster;
use streamkeeper_coordination::jobs::{JobResult, JobState};
use streamkeeper_coordination::layout::Layout;
use streamkeeper_keeper::server::{Keeper, ServerOptions};
use streamkeeper_zookeeper::{Options, ZooKeeper, block_on};

use crate::support::root;

/// The processes of a cluster, killed when this is dropped.
struct Processes {
    program: PathBuf,
    directory: PathBuf,
    keeper: Keeper,
    running: Vec<Child>,
}

impl Processes {
    fn new(directory: &Path) -> Self {
        let binaries = Path::new(env!("CARGO_BIN_EXE_streamkeeper")).parent().expect("a directory");
        let program = binaries.join("examples/word_count");
        assert!(program.exists(), "{} is built by `cargo build --workspace --examples`", program.display());
        let keeper = Keeper::start(ServerOptions::default()).expect("a free port");
        Self { program, directory: directory.to_path_buf(), keeper, running: Vec::new() }
    }

    fn quorum(&self) -> String {
        self.keeper.client_address().expect("a port").to_string()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(root()).args(arguments).args(["--parallelism", "2"]);
        command.env_remove("STREAMKEEPER_CONF").env_remove("STREAMKEEPER_LOG");
        command
    }

    /// Starts a process whose standard output goes to a file of this name.
    fn start(&mut self, name: &str, role: &str, arguments: &[&str]) {
        let mut command = self.command(&[&[role], arguments].concat());
        let checkpoints = self.directory.join("checkpoints");
        for key in [
            format!("high-availability.zookeeper.quorum={}", self.quorum()),
            format!("execution.checkpointing.dir={}", checkpoints.display()),
            "execution.checkpointing.interval=100 ms".into(),
            "restart-strategy.type=none".into(),
            "taskmanager.numberOfTaskSlots=1".into(),
            "jobmanager.rpc.port=0".into(),
            "rest.port=0".into(),
        ] {
            command.args(["--set", &key]);
        }
        let output = std::fs::File::create(self.directory.join(name)).expect("a file");
        self.running.push(command.stdout(output).stderr(Stdio::null()).spawn().expect("it starts"));
    }

    /// Waits for the end of the one job.
    fn result(&self) -> JobResult {
        let zookeeper = block_on(ZooKeeper::connect(Options::new(self.quorum()))).expect("the keeper runs");
        block_on(async {
            let cluster = Cluster::open(zookeeper, Layout::default()).await.expect("a cluster");
            let mut jobs = cluster.watch_jobs().await.expect("jobs");
            let ended = jobs.wait_for(|jobs| jobs.jobs().any(|(_, job)| job.result.is_some()));
            let jobs = tokio::time::timeout(Duration::from_secs(60), ended).await;
            let jobs = jobs.expect("it ends").expect("it is followed");
            let mut results = jobs.jobs().filter_map(|(_, job)| job.result.as_ref());
            results.next().expect("a result").value.clone()
        })
    }

    fn printed(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.join(name)).expect("text")
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &mut self.running {
            // It may have ended of itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The highest count of each word.
fn counts(text: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let Some((_, pair)) = line.split_once("> (") else { continue };
        let (word, count) = pair.trim_end_matches(')').split_once(", ").expect("a word and its count");
        let count: u64 = count.parse().expect("a number");
        let known = counts.entry(word.to_owned()).or_default();
        *known = count.max(*known);
    }
    counts
}

#[test]
fn a_program_runs_on_the_processes_that_it_is_itself() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut processes = Processes::new(directory.path());
    // Two JobManagers submit the same job, once.
    for (name, role) in
        [("jm1", "jobmanager"), ("jm2", "jobmanager"), ("tm1", "taskmanager"), ("tm2", "taskmanager")]
    {
        processes.start(name, role, &["LICENSE"]);
    }
    let result = processes.result();
    assert_eq!((result.state, result.name.as_str()), (JobState::Finished, "word count"), "{result:?}");
    let (one, two) = (processes.printed("tm1"), processes.printed("tm2"));
    assert!(!counts(&one).is_empty() && !counts(&two).is_empty(), "both count");
    let alone = processes.command(&["LICENSE"]).output().expect("it runs");
    let alone = String::from_utf8(alone.stdout).expect("text");
    assert_eq!(counts(&format!("{one}{two}")), counts(&alone));
}

#[test]
fn a_process_with_other_arguments_is_not_taken() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut processes = Processes::new(directory.path());
    processes.start("jm", "jobmanager", &["LICENSE"]);
    processes.start("tm1", "taskmanager", &["LICENSE"]);
    processes.start("tm2", "taskmanager", &["README.md"]);
    let result = processes.result();
    assert_eq!(result.state, JobState::Failed);
    let error = result.error.unwrap_or_default();
    assert!(error.contains("start all processes with the same"), "{error}");
}
