//! What a person sees of a running job: its tasks, a live line, a summary. All of it on standard error, so that
//! standard output holds the rows of `print` sinks alone.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use streamkeeper_dataflow::job::{JobHandle, JobStatus, VertexProgress};
use streamkeeper_dataflow::time::{MAX_WATERMARK, MIN_WATERMARK};

use crate::usage::Usage;

/// Time between two lines where there is no terminal.
const QUIET_INTERVAL: Duration = Duration::from_secs(10);

/// Totals over the tasks of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) rows_in: u64,
    pub(crate) rows_out: u64,
    pub(crate) skipped: u64,
    pub(crate) late: u64,
    /// The lowest watermark of all sources that have one.
    pub(crate) watermark: Option<i64>,
    pub(crate) finished: usize,
    pub(crate) subtasks: usize,
}

impl Totals {
    pub(crate) fn of(vertices: &[VertexProgress]) -> Self {
        let mut totals = Self::default();
        for vertex in vertices {
            totals.finished += vertex.finished;
            totals.subtasks += vertex.subtasks.len();
            for metrics in &vertex.subtasks {
                totals.skipped += metrics.num_records_in_errors.get();
                totals.late += metrics.num_late_records_dropped.get();
                if vertex.is_source {
                    totals.rows_in += metrics.num_records_in.get();
                    let watermark = metrics.current_output_watermark.get();
                    if watermark != MIN_WATERMARK {
                        totals.watermark =
                            Some(totals.watermark.map_or(watermark, |w: i64| w.min(watermark)));
                    }
                }
                if vertex.is_sink {
                    totals.rows_out += metrics.num_records_out.get();
                }
            }
        }
        totals
    }
}

/// Prints the tasks of a job before it runs.
pub(crate) fn print_tasks(name: &str, vertices: &[VertexProgress]) {
    eprintln!("Job {name}: {} tasks", vertices.len());
    for (i, vertex) in vertices.iter().enumerate() {
        eprintln!("  {:>2}  {} (parallelism {})", i + 1, shorten(&vertex.name, 100), vertex.subtasks.len());
    }
}

/// Follows a job to its end; `quiet` prints nothing.
pub(crate) fn follow(job: &JobHandle, quiet: bool) {
    let started = Instant::now();
    let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar
    });
    let mut last_line = Instant::now();
    let mut last = (Instant::now(), 0);
    let mut rate = 0.0;
    let mut pause = Duration::from_millis(1);
    while !job.is_done() {
        // A short job is not made to wait for its display, a long one is not disturbed by it.
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
        let totals = Totals::of(&job.vertices());
        let since = last.0.elapsed().as_secs_f64();
        if since >= 0.5 {
            rate = (totals.rows_in - last.1) as f64 / since;
            last = (Instant::now(), totals.rows_in);
        }
        if let Some(bar) = &bar {
            bar.set_message(line(job, &totals, rate));
            bar.tick();
        } else if !quiet && last_line.elapsed() >= QUIET_INTERVAL {
            last_line = Instant::now();
            eprintln!("{:>6.0} s  {}", started.elapsed().as_secs_f64(), line(job, &totals, rate));
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn line(job: &JobHandle, totals: &Totals, rate: f64) -> String {
    let status = match job.status() {
        JobStatus::Created => "CREATED",
        JobStatus::Running => "RUNNING",
        JobStatus::Restarting => "RESTARTING",
        JobStatus::Finished => "FINISHED",
        JobStatus::Canceled => "CANCELED",
        JobStatus::Failed => "FAILED",
        JobStatus::Suspended => "SUSPENDED",
    };
    let metrics = job.metrics();
    format!(
        "{status}  in {} rows  out {} rows  {}/s  {}  checkpoints {}",
        count(totals.rows_in),
        count(totals.rows_out),
        count(rate as u64),
        watermark(totals.watermark),
        metrics.number_of_completed_checkpoints.get(),
    )
}

/// The watermark, and how far it is behind the clock where that means something (within a week).
fn watermark(watermark: Option<i64>) -> String {
    match watermark {
        None => "no watermark".into(),
        Some(MAX_WATERMARK) => "watermark end".into(),
        Some(ms) => {
            let Some(time) = chrono::DateTime::from_timestamp_millis(ms) else { return "watermark -".into() };
            let lag = chrono::Utc::now().signed_duration_since(time);
            let lag = if lag.num_days() < 7 {
                format!("{} s", lag.num_seconds())
            } else {
                format!("{} d", lag.num_days())
            };
            format!("watermark {} (lag {lag})", time.format("%Y-%m-%d %H:%M"))
        }
    }
}

/// Prints what a job has done.
pub(crate) fn print_summary(name: &str, job: &JobHandle, elapsed: Duration, usage: Usage) {
    let vertices = job.vertices();
    let totals = Totals::of(&vertices);
    let seconds = elapsed.as_secs_f64();
    let metrics = job.metrics();
    eprintln!("Job {name}: {:?} in {seconds:.2} s", job.status());
    eprintln!("  rows       {} in, {} out", count(totals.rows_in), count(totals.rows_out));
    if totals.late + totals.skipped > 0 {
        eprintln!("  left out   {} late, {} malformed", count(totals.late), count(totals.skipped));
    }
    eprintln!(
        "  speed      {} rows/s, {:.2} CPU s, peak memory {} MiB",
        count((totals.rows_in as f64 / seconds.max(1e-9)) as u64),
        usage.cpu_s,
        usage.peak_bytes >> 20
    );
    eprintln!(
        "  checkpoints {} completed, {} failed, last {} KiB in {} ms; {} restarts",
        metrics.number_of_completed_checkpoints.get(),
        metrics.number_of_failed_checkpoints.get(),
        metrics.last_checkpoint_size.get().div_euclid(1024),
        metrics.last_checkpoint_duration.get(),
        metrics.num_restarts.get()
    );
    for vertex in vertices.iter().filter(|vertex| vertex.is_sink) {
        let rows: u64 = vertex.subtasks.iter().map(|metrics| metrics.num_records_out.get()).sum();
        let sink = vertex.name.rsplit(" -> ").next().unwrap_or(&vertex.name);
        eprintln!("  {} rows  {}", count(rows), shorten(sink, 90));
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_long_names_cut() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(shorten("äöü", 3), "äöü");
        assert_eq!(shorten("äöüß", 3), "äö…");
    }
}
