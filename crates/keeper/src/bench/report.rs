//! The tables.

use std::io::{Result, Write};
use std::time::Duration;

use super::cases::DATA_BYTES;
use super::{Case, Options, Row, Started};
use crate::proto::Code;

/// What was measured, on what.
pub(super) fn heading(
    out: &mut dyn Write,
    machine: &str,
    versions: &[&str],
    options: &Options,
) -> Result<()> {
    writeln!(out, "\nmachine: {machine}")?;
    for (name, version) in ["A", "B"].iter().zip(versions) {
        writeln!(out, "{name}: ZooKeeper {version}")?;
    }
    writeln!(
        out,
        "data of {DATA_BYTES} bytes; fsync as the servers do by default; {} s per case; CPU is the server's, user and system",
        options.seconds
    )?;
    if versions.len() > 1 {
        writeln!(out, "x: B's time or CPU over A's, or A's operations over B's: above 1, A is better")?;
    }
    Ok(())
}

/// The table's head.
pub(super) fn columns(out: &mut dyn Write) -> Result<()> {
    writeln!(
        out,
        "\n{:<10} {:>5} {:>5}    {:>9} {:>6}  {:>10} {:>6}  {:>9} {:>6}  {:>9} {:>6}  {:>9}  {:>7}  {:>5}",
        "case",
        "conns",
        "depth",
        "ops/s",
        "x",
        "CPU µs/op",
        "x",
        "p50 ms",
        "x",
        "p99 ms",
        "x",
        "max ms",
        "RSS MiB",
        "load%"
    )
}

/// One case, on one server or both.
pub(super) fn row(
    out: &mut dyn Write,
    case: Case,
    connections: usize,
    depth: usize,
    rows: &[Row],
) -> Result<()> {
    let other = rows.get(1).map(Figures::of);
    for (index, row) in rows.iter().enumerate() {
        let own = Figures::of(row);
        // The ratios stand in A's line.
        let ratio = |value: fn(&Figures, &Figures) -> f64| match (&other, index) {
            (Some(other), 0) => format!("{:.2}", value(&own, other)),
            _ => String::new(),
        };
        let place = match index {
            0 => format!("{:<10} {connections:>5} {depth:>5}  A", case.name()),
            _ => format!("{:<22}  B", ""),
        };
        writeln!(
            out,
            "{place} {:>9.0} {:>6}  {:>10.1} {:>6}  {:>9.3} {:>6}  {:>9.3} {:>6}  {:>9.3}  {:>7.0}  {:>5.0}",
            own.per_second,
            ratio(|a, b| a.per_second / b.per_second),
            own.cpu_us,
            ratio(|a, b| b.cpu_us / a.cpu_us),
            own.p50_ms,
            ratio(|a, b| b.p50_ms / a.p50_ms),
            own.p99_ms,
            ratio(|a, b| b.p99_ms / a.p99_ms),
            own.max_ms,
            row.rss_mib,
            own.load_percent,
        )?;
        if row.measured.refused.0 > 0 {
            let (count, err) = row.measured.refused;
            let code = Code::from_int(err).map_or_else(|| err.to_string(), |code| code.to_string());
            writeln!(out, "           {count} operations were refused: {code}")?;
        }
    }
    out.flush()
}

/// What is not of one case.
pub(super) fn footing(out: &mut dyn Write, servers: &[&Started]) -> Result<()> {
    writeln!(out)?;
    let line = |out: &mut dyn Write, what: &str, unit: &str, value: fn(&Started) -> f64| -> Result<()> {
        let values: Vec<f64> = servers.iter().map(|server| value(server)).collect();
        compared(out, what, unit, &values)
    };
    line(out, "exec to first create", "ms", |server| server.first_create.as_secs_f64() * 1e3)?;
    line(out, "memory, idle", "MiB", |server| server.idle_mib)?;
    line(out, "memory, after the run", "MiB", |server| server.after_mib)
}

/// Memory of many znodes.
pub(super) fn znodes(out: &mut dyn Write, count: usize, filled: &[(f64, Duration, Duration)]) -> Result<()> {
    let values =
        |value: fn(&(f64, Duration, Duration)) -> f64| filled.iter().map(value).collect::<Vec<f64>>();
    compared(out, &format!("memory of {count} znodes"), "MiB", &values(|filled| filled.0))?;
    compared(out, "time to create them", "s", &values(|filled| filled.1.as_secs_f64()))?;
    compared(out, "CPU to create them", "s", &values(|filled| filled.2.as_secs_f64()))
}

fn compared(out: &mut dyn Write, what: &str, unit: &str, values: &[f64]) -> Result<()> {
    write!(out, "{what:<28} ")?;
    match values {
        [a, b] => writeln!(out, "A {a:>9.1} {unit:<4} B {b:>9.1} {unit:<4} x {:.2}", b / a),
        values => writeln!(out, "A {:>9.1} {unit}", values.first().copied().unwrap_or(f64::NAN)),
    }
}

struct Figures {
    per_second: f64,
    cpu_us: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    load_percent: f64,
}

impl Figures {
    fn of(row: &Row) -> Figures {
        let measured = &row.measured;
        let seconds = measured.elapsed.as_secs_f64();
        Figures {
            per_second: measured.operations as f64 / seconds,
            cpu_us: row.cpu.as_secs_f64() * 1e6 / measured.operations as f64,
            p50_ms: percentile_ms(&measured.latencies, 50),
            p99_ms: percentile_ms(&measured.latencies, 99),
            max_ms: percentile_ms(&measured.latencies, 100),
            load_percent: row.own_cpu.as_secs_f64() * 100.0 / seconds,
        }
    }
}

/// Of sorted latencies in ns.
fn percentile_ms(sorted: &[u64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).map_or(f64::NAN, |ns| *ns as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let sorted: Vec<u64> = (1..=200).map(|ms| ms * 1_000_000).collect();
        assert_eq!(percentile_ms(&sorted, 50), 100.0);
        assert_eq!(percentile_ms(&sorted, 99), 198.0);
        assert_eq!(percentile_ms(&sorted, 100), 200.0);
        assert!(percentile_ms(&[], 50).is_nan());
    }
}
