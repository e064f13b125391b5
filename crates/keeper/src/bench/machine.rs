//! What the figures were measured on.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use super::Result;

/// Processor, memory, kernel, and how long an fsync takes in `data`.
pub(super) fn describe(data: &Path) -> Result<String> {
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory_kib: u64 = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let fsync_us = fsync_us(data)?;
    Ok(format!(
        "{processor}, {cores} cores, {} GiB, Linux {}; fsync of 4 KiB in {}: {fsync_us} µs (median)",
        memory_kib >> 20,
        kernel.trim(),
        data.display(),
    ))
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn fsync_us(data: &Path) -> Result<u128> {
    let path = data.join("fsync-probe");
    let mut file = File::create(&path)?;
    let mut times = Vec::new();
    for _ in 0..101 {
        file.write_all(&[0; 4096])?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed().as_micros());
    }
    std::fs::remove_file(&path)?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}
