//! What a process takes of its machine, as Linux tells it; elsewhere all is 0.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A process and its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Memory that it has in use, bytes.
    pub resident_bytes: u64,
    /// Processor time that it has used, milliseconds.
    pub cpu_ms: u64,
    /// How much of one processor it has used lately, in thousandths.
    pub load_permille: u64,
    /// Its threads.
    pub threads: u64,
    /// Its open files and sockets.
    pub open_files: u64,
    /// Processors that it may use.
    pub cores: u64,
    /// Memory of the machine, bytes.
    pub physical_bytes: u64,
    /// Memory of the machine that programs can still have, bytes.
    pub free_bytes: u64,
}

/// Ticks in a second, as `/proc` counts them: always this many on Linux.
const TICKS: u64 = 100;

impl ProcessStatus {
    fn of_this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (status, machine) = (read("/proc/self/status"), read("/proc/meminfo"));
        Self {
            resident_bytes: kib(&status, "VmRSS:"),
            cpu_ms: ticks(&read("/proc/self/stat")) * 1000 / TICKS,
            load_permille: 0,
            threads: number(&status, "Threads:"),
            open_files: std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
            cores: std::thread::available_parallelism().map_or(0, |cores| cores.get() as u64),
            physical_bytes: kib(&machine, "MemTotal:"),
            free_bytes: kib(&machine, "MemAvailable:"),
        }
    }
}

/// Looks at this process from time to time.
#[derive(Debug, Default)]
pub(crate) struct ProcessMeter(Option<(Instant, ProcessStatus)>);

/// Looks that are closer together give what the last one gave.
const LEAST: Duration = Duration::from_secs(1);

impl ProcessMeter {
    /// How it is doing now, compared with the last time.
    pub(crate) fn read(&mut self) -> ProcessStatus {
        let now = Instant::now();
        if let Some((_, status)) = self.0.filter(|(at, _)| now.duration_since(*at) < LEAST) {
            return status;
        }
        let mut status = ProcessStatus::of_this();
        if let Some((at, before)) = self.0 {
            let elapsed = u64::try_from(now.duration_since(at).as_millis()).unwrap_or(u64::MAX);
            status.load_permille = status.cpu_ms.saturating_sub(before.cpu_ms) * 1000 / elapsed.max(1);
        }
        self.0 = Some((now, status));
        status
    }
}

/// The number behind a name.
fn number(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn kib(text: &str, name: &str) -> u64 {
    number(text, name) << 10
}

/// Fields 14 and 15 of `/proc/self/stat`, which follow the name in brackets: time in user and in system mode.
fn ticks(stat: &str) -> u64 {
    let fields = stat.rsplit(')').next().unwrap_or("").split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read() {
        assert_eq!(kib("Name:\tx\nVmRSS:\t    12 kB\n", "VmRSS:"), 12 << 10);
        assert_eq!(number("nothing", "Threads:"), 0);
        assert_eq!(ticks("1 (a b) c) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0"), 42);
        if cfg!(target_os = "linux") {
            let status = ProcessStatus::of_this();
            assert!(
                status.resident_bytes > 0 && status.threads > 0 && status.physical_bytes > 0,
                "{status:?}"
            );
        }
    }
}
