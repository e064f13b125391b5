//! A whole cluster in one process, and `run` and `list` against it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `streamkeeper standalone`, killed when this is dropped.
pub(crate) struct Standalone {
    process: Child,
    directory: PathBuf,
    rest: String,
    /// Where its ZooKeeper is.
    pub(crate) zookeeper: String,
}

fn streamkeeper(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamkeeper"));
    command.current_dir(directory).env_remove("STREAMKEEPER_CONF").env_remove("STREAMKEEPER_LOG");
    command
}

impl Standalone {
    /// Starts it in a directory, in which its data is as well; on free ports.
    pub(crate) fn start(directory: &Path) -> Self {
        let mut command = streamkeeper(directory);
        command.args(["standalone", "--data-dir", "data", "--zookeeper-port", "0"]);
        for key in ["rest.port=0", "jobmanager.rpc.port=0", "taskmanager.numberOfTaskSlots=4"] {
            command.args(["--set", key]);
        }
        let mut process =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it is");
        let behind = |mark: &str| {
            let rest = line.split(mark).nth(1).unwrap_or_else(|| panic!("{mark} is in {line:?}"));
            rest.split([';', '\n']).next().unwrap_or_default().to_owned()
        };
        let (rest, zookeeper) = (behind("http://"), behind("ZooKeeper on "));
        let cluster = Self { process, directory: directory.to_path_buf(), rest, zookeeper };
        // There is a leader.
        cluster.until(|| cluster.client(&["list"]).status.success());
        cluster
    }

    /// A command of the cluster's clients.
    pub(crate) fn client(&self, arguments: &[&str]) -> Output {
        self.command(&[arguments, &["-m", &self.rest]].concat())
    }

    /// Any command, in the same directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        streamkeeper(&self.directory).args(arguments).output().expect("the binary starts")
    }

    /// Standard output and standard error of a script.
    pub(crate) fn run(&self, script: &str) -> (String, String) {
        let output = self.client(&["run", "-e", script]);
        (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    /// Runs a script, which must succeed; gives standard output.
    pub(crate) fn succeed(&self, script: &str) -> String {
        self.succeed_with(script, &[])
    }

    /// As [`Self::succeed`], with further arguments.
    pub(crate) fn succeed_with(&self, script: &str, arguments: &[&str]) -> String {
        let output = self.client(&[&["run", "-e", script], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs a script that is wrong; gives standard error.
    pub(crate) fn fail(&self, script: &str) -> String {
        let output = self.client(&["run", "-e", script]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    }

    /// The jobs, as `list --json` shows them.
    pub(crate) fn jobs(&self) -> Vec<Value> {
        let output = self.client(&["list", "--json"]);
        let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        shown["jobs"].as_array().expect("jobs").clone()
    }

    /// Waits until something is so.
    pub(crate) fn until(&self, mut is_so: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < end, "it never became so");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        // It may have ended of itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
