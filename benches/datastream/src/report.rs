//! Runs each job in each engine, a process each, one right after the other, and prints a table.

use std::process::Command;

use crate::jobs::records_counted;

const RUNS: usize = 3;

struct Measured {
    wall_s: f64,
    cpu_s: f64,
    peak_mib: f64,
    check: String,
}

pub fn all(records: u64) {
    println!(
        "| job | parallelism | engine | wall s | CPU s | peak MiB | M records/CPU-s | CPU to loop | wall to loop |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (job, records) in [("map-filter", records * 10), ("word-count", records / 8), ("bid-count", records)]
    {
        for parallelism in [1, 2] {
            let mut runs: [Vec<Measured>; 3] = Default::default();
            for _ in 0..RUNS {
                for (engine, runs) in ["bare", "ours", "renoir"].iter().zip(&mut runs) {
                    runs.push(run(engine, job, parallelism, records));
                }
            }
            let [bare, ours, renoir] = runs.map(best);
            assert_eq!(bare.check, ours.check, "{job}: the loop and ours differ");
            assert_eq!(bare.check, renoir.check, "{job}: the loop and renoir differ");
            for (engine, measured) in [("loop", &bare), ("ours", &ours), ("renoir", &renoir)] {
                println!(
                    "| {job} | {parallelism} | {engine} | {:.2} | {:.2} | {:.0} | {:.2} | {:.2} | {:.2} |",
                    measured.wall_s,
                    measured.cpu_s,
                    measured.peak_mib,
                    records_counted(job, records) as f64 / measured.cpu_s / 1e6,
                    measured.cpu_s / bare.cpu_s,
                    measured.wall_s / bare.wall_s,
                );
            }
        }
    }
}

/// The run with the least CPU: others had more to share the machine with.
fn best(runs: Vec<Measured>) -> Measured {
    runs.into_iter().min_by(|a, b| a.cpu_s.total_cmp(&b.cpu_s)).expect("there were runs")
}

fn run(engine: &str, job: &str, parallelism: usize, records: u64) -> Measured {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args([engine, job, &parallelism.to_string(), &records.to_string()])
        .output()
        .expect("the engine runs");
    assert!(output.status.success(), "{engine} {job}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace();
    let mut next = || words.next().unwrap_or_else(|| panic!("{engine} {job} printed {text:?}"));
    let (wall_s, check) = (next().parse().expect("seconds"), next().to_owned());
    let (cpu_s, peak_mib) = (next().parse().expect("seconds"), next().parse().expect("MiB"));
    Measured { wall_s, cpu_s, peak_mib, check }
}

/// CPU seconds of all threads so far, and peak memory in MiB, from Linux's /proc.
pub fn usage() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit_once(')').expect("a name in brackets").1;
    let ticks: f64 =
        fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<f64>().expect("ticks")).sum();
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib: f64 = peak.trim().trim_end_matches("kB").trim().parse().expect("a number");
    (ticks / 100.0, kib / 1024.0)
}
