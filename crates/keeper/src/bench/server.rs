//! A server under test: started from a command, watched through `/proc`, stopped in the end.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Failure, Result};
use crate::acl::OPEN_ACL_UNSAFE;
use crate::client::{Client, Create, Options, Wire};

/// How long a server may take until it answers.
const START_WITHIN: Duration = Duration::from_secs(60);
/// `/proc` counts CPU time in these.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running server.
pub(super) struct Server {
    child: Child,
    /// `host:port`.
    pub(super) address: String,
    /// From exec to the answer to the first create.
    pub(super) first_create: Duration,
    /// What it says it is.
    pub(super) version: String,
}

impl Server {
    /// Starts `command`, with `{port}` and `{data}` replaced, on an empty directory.
    pub(super) fn start(command: &str, port: u16, data: &Path) -> Result<Server> {
        if data.exists() {
            std::fs::remove_dir_all(data)?;
        }
        std::fs::create_dir_all(data)?;
        let line = command
            .replace("{port}", &port.to_string())
            .replace("{data}", &shell_quoted(&data.to_string_lossy()));
        let log = std::fs::File::create(log_path(data))?;
        let start = Instant::now();
        let child = Command::new("sh")
            .arg("-c")
            .arg(format!("exec {line}"))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut server = Server {
            child,
            address: format!("127.0.0.1:{port}"),
            first_create: Duration::ZERO,
            version: String::new(),
        };
        server.wait_for_create(start).map_err(|error| Failure::Start {
            command: line,
            log: log_path(data),
            reason: error.to_string(),
        })?;
        server.version = server.ask_version().unwrap_or_else(|_| "of unknown version".to_owned());
        Ok(server)
    }

    fn wait_for_create(&mut self, start: Instant) -> Result<()> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(Failure::Ended(status));
            }
            let options = Options {
                keep_alive: false,
                // A server that is only half up may take a connection and never answer.
                connect_timeout: Duration::from_millis(250),
                request_timeout: Duration::from_secs(10),
                ..Options::default()
            };
            let created = Client::connect_with(&self.address, options).and_then(|mut client| {
                client.create("/first", None, OPEN_ACL_UNSAFE.clone(), Create::Persistent)?;
                Ok(client)
            });
            match created {
                Ok(client) => {
                    self.first_create = start.elapsed();
                    client.close()?;
                    return Ok(());
                }
                Err(error) if start.elapsed() > START_WITHIN => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn ask_version(&self) -> Result<String> {
        let mut wire = Wire::connect(&self.address, Duration::from_secs(2))?;
        wire.send_bytes(b"srvr")?;
        let answer = wire.read_to_end(Duration::from_secs(2))?;
        let answer = String::from_utf8_lossy(&answer);
        let version = answer.lines().find_map(|line| line.strip_prefix("Zookeeper version: "));
        Ok(version.ok_or(Failure::Closed)?.split(',').next().unwrap_or_default().to_owned())
    }

    /// User and system CPU time used so far, of all processes of the command.
    pub(super) fn cpu(&self) -> Duration {
        let group = self.child.id();
        let ticks: u64 = processes(group).filter_map(|fields| Some(fields.get(11)? + fields.get(12)?)).sum();
        Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND)
    }

    /// Resident memory in MiB, of all processes of the command.
    pub(super) fn rss_mib(&self) -> f64 {
        let pages: u64 = processes(self.child.id()).filter_map(|fields| fields.get(21).copied()).sum();
        pages as f64 * 4096.0 / f64::from(1 << 20)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // TERM, and KILL for what does not heed it; `kill` is told only the process that was started.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The fields of `/proc/PID/stat` behind the state, of each process of a group. (Field 11 is `utime`, 12 `stime`, 21 `rss`.)
fn processes(group: u32) -> impl Iterator<Item = Vec<u64>> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name stands in parentheses, and may hold some itself.
        let fields: Vec<u64> =
            stat.rsplit_once(')')?.1.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        (fields.get(2) == Some(&u64::from(group))).then_some(fields)
    })
}

/// CPU time of this process.
pub(super) fn own_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND)
}

fn log_path(data: &Path) -> PathBuf {
    data.with_extension("log")
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
