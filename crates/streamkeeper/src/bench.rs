//! `streamkeeper bench`: Nexmark queries over generated bids, each in a process of its own, so that CPU time and peak
//! memory are those of the query.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use serde_json::Value;

use crate::progress::count;
use crate::{Failure, nexmark};

const DDL: &str = "\
SET 'table.local-time-zone' = 'UTC';
SET 'execution.checkpointing.interval' = '10s';
SET 'execution.checkpointing.dir' = 'file://${CHECKPOINTS}';
SET 'restart-strategy.type' = 'none';
CREATE TABLE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3), extra STRING,
  WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${IN}', 'format' = 'csv');
";

/// Name, columns of the sink, query, and what Flink 2.3.0 did per CPU-second beside us on a shared machine with
/// 2 cores, for scale.
const QUERIES: [(&str, &str, &str, &str); 7] = [
    (
        "q0",
        "auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3), extra STRING",
        "SELECT auction, bidder, price, `dateTime`, extra FROM bid",
        "0.43",
    ),
    (
        "q1",
        "auction BIGINT, bidder BIGINT, price DECIMAL(23, 3), `dateTime` TIMESTAMP(3), extra STRING",
        "SELECT auction, bidder, 0.908 * price, `dateTime`, extra FROM bid",
        "0.40",
    ),
    (
        "q2",
        "auction BIGINT, price BIGINT",
        "SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0",
        "0.48",
    ),
    (
        "q5",
        "auction BIGINT, num BIGINT, starttime TIMESTAMP(3), endtime TIMESTAMP(3)",
        "SELECT a.auction, a.num, a.starttime, a.endtime FROM (
           SELECT auction, COUNT(*) AS num, window_start AS starttime, window_end AS endtime
           FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
           GROUP BY auction, window_start, window_end) AS a
         JOIN (
           SELECT MAX(c.num) AS maxn, c.starttime, c.endtime FROM (
             SELECT COUNT(*) AS num, window_start AS starttime, window_end AS endtime
             FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
             GROUP BY auction, window_start, window_end) AS c
           GROUP BY c.starttime, c.endtime) AS m
         ON a.starttime = m.starttime AND a.endtime = m.endtime AND a.num >= m.maxn",
        "0.33",
    ),
    (
        "q7w",
        "auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3), extra STRING",
        "SELECT B.auction, B.bidder, B.price, B.`dateTime`, B.extra
         FROM (SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))) B
         JOIN (
           SELECT MAX(price) AS maxprice, window_start, window_end
           FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
           GROUP BY window_start, window_end) B1
         ON B.window_start = B1.window_start AND B.window_end = B1.window_end AND B.price = B1.maxprice",
        "0.21",
    ),
    (
        "q12",
        "bidder BIGINT, bid_count BIGINT, starttime TIMESTAMP(3), endtime TIMESTAMP(3)",
        "SELECT bidder, COUNT(*), window_start, window_end
         FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
         GROUP BY bidder, window_start, window_end",
        "0.38",
    ),
    ("count", "bidder BIGINT, cnt BIGINT", "SELECT bidder, COUNT(*) FROM bid GROUP BY bidder", "0.35"),
];

/// What `streamkeeper bench` is asked to do.
#[derive(Args, Debug)]
#[command(after_help = "\
Each query reads generated Nexmark bids from CSV files and writes to `blackhole`, with a checkpoint every 10 s. CPU is
that of all threads of the process, memory its peak. `vs Flink` is rows per CPU-second against the figure of Flink
2.3.0 on a 2-core machine (0.43 M for q0 and so on), not measured in the same run. With $FLINK_HOME set (and a JDK 17 on
the path) Flink runs each query in the same run, in a local cluster, and the ratio is against that.")]
pub(crate) struct BenchArgs {
    /// Number of bids.
    #[arg(long, default_value_t = 10_000_000)]
    bids: u64,
    /// Queries to run, of q0, q1, q2, q5, q7w, q12, count.
    #[arg(long, value_delimiter = ',')]
    queries: Vec<String>,
    /// Where the bids are generated, or found from an earlier run of the same size.
    #[arg(long, default_value = "target/nexmark")]
    data: PathBuf,
    /// Subtasks per task.
    #[arg(short, long, default_value_t = 1)]
    parallelism: u16,
}

pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let names: Vec<&str> = QUERIES.iter().map(|query| query.0).collect();
    if let Some(unknown) = args.queries.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(Failure::usage(format!("there is no query `{unknown}`; there are {}", names.join(", "))));
    }
    let input = prepare(args)?;
    let flink_home = std::env::var_os("FLINK_HOME");
    println!(
        "{:<6} {:>8} {:>8} {:>10} {:>14} {:>10}",
        "query", "wall s", "CPU s", "peak MiB", "M rows/CPU s", "vs Flink"
    );
    for (name, columns, query, flink) in QUERIES {
        if !args.queries.is_empty() && !args.queries.iter().any(|wanted| wanted == name) {
            continue;
        }
        let checkpoints = tempfile::tempdir().map_err(|e| fail("create a directory for checkpoints", &e))?;
        let script = script(&input, checkpoints.path(), args.parallelism, columns, query);
        let ours = Figures::of(&measure(&script)?, args.bids)?;
        let theirs = match &flink_home {
            Some(home) => Some(Figures::of(&measure_flink(Path::new(home), &script)?, args.bids)?),
            None => None,
        };
        let reference = theirs.as_ref().map_or_else(|| flink.parse().unwrap_or(1.0), |figures| figures.rate);
        println!("{}", ours.row(name, &format!("{:.1}x", ours.rate / reference)));
        if let Some(theirs) = theirs {
            println!("{}", theirs.row("Flink", ""));
        }
    }
    Ok(())
}

/// What one query used.
struct Figures {
    wall_s: f64,
    cpu_s: f64,
    peak_mib: f64,
    /// Million rows per CPU-second.
    rate: f64,
}

impl Figures {
    fn of(report: &Value, bids: u64) -> Result<Self, Failure> {
        let number = |key: &str| {
            let value = report.get(key).and_then(Value::as_f64);
            value.ok_or_else(|| Failure::job(format!("the report has no `{key}`: {report}")))
        };
        let (wall_s, cpu_s) = (number("wall_s")?, number("cpu_s")?);
        let rate = bids as f64 / cpu_s.max(0.01) / 1e6;
        Ok(Self { wall_s, cpu_s, peak_mib: number("peak_bytes")? / 1048576.0, rate })
    }

    fn row(&self, name: &str, ratio: &str) -> String {
        format!(
            "{name:<6} {:>8.2} {:>8.2} {:>10.0} {:>14.2} {ratio:>10}",
            self.wall_s, self.cpu_s, self.peak_mib, self.rate
        )
    }
}

/// Generates the bids, unless they are there: a marker written last says which they are.
fn prepare(args: &BenchArgs) -> Result<PathBuf, Failure> {
    let directory = args.data.join(format!("bid-{}", args.bids));
    let marker = args.data.join(format!("bid-{}.done", args.bids));
    let fail =
        |e: std::io::Error| Failure::job(format!("cannot generate bids in {}: {e}", directory.display()));
    if !marker.exists() {
        eprintln!("Generating {} bids in {}", count(args.bids), directory.display());
        let bytes = nexmark::write_bids(&directory, args.bids, 10_000, 42).map_err(fail)?;
        std::fs::write(&marker, format!("{bytes}\n")).map_err(fail)?;
    }
    directory.canonicalize().map_err(fail)
}

/// The script of one query; Flink takes it as it is. Checkpoints go to a directory, since Flink's in memory may not be
/// larger than 5 MiB; and a job that fails is not started again, which would count its work more than once.
fn script(input: &Path, checkpoints: &Path, parallelism: u16, columns: &str, query: &str) -> String {
    let ddl = DDL.replace("${IN}", &input.display().to_string());
    let ddl = ddl.replace("${CHECKPOINTS}", &checkpoints.display().to_string());
    let sink = format!("CREATE TABLE sink ({columns}) WITH ('connector' = 'blackhole');");
    format!("SET 'parallelism.default' = '{parallelism}';\n{ddl}{sink}\nINSERT INTO sink {query};\n")
}

fn fail(what: &str, e: &dyn std::fmt::Display) -> Failure {
    Failure::job(format!("cannot {what}: {e}"))
}

fn measure(script: &str) -> Result<Value, Failure> {
    let report = tempfile::NamedTempFile::new().map_err(|e| fail("create a report file", &e))?;
    let program = std::env::current_exe().map_err(|e| fail("find this program", &e))?;
    let mut command = Command::new(program);
    command.args(["sql", "--quiet", "-e", script, "--report"]).arg(report.path());
    run_to_end(&mut command)?;
    last_line(&std::fs::read_to_string(report.path()).map_err(|e| fail("read the report", &e))?)
}

/// Runs the script in a local Flink cluster, by a small Java program on the distribution's libraries.
fn measure_flink(home: &Path, script: &str) -> Result<Value, Failure> {
    let directory = tempfile::tempdir().map_err(|e| fail("create a directory", &e))?;
    let (program, sql) = (directory.path().join("NexmarkOnFlink.java"), directory.path().join("query.sql"));
    std::fs::write(&program, include_str!("NexmarkOnFlink.java"))
        .map_err(|e| fail("write the program", &e))?;
    std::fs::write(&sql, script).map_err(|e| fail("write the query", &e))?;
    let mut command = Command::new("java");
    for package in ["lang", "util", "net", "io", "nio", "time", "util.concurrent", "util.concurrent.atomic"] {
        command.arg(format!("--add-opens=java.base/java.{package}=ALL-UNNAMED"));
    }
    command.arg("-cp").arg(home.join("lib/*")).arg(program).arg(sql);
    last_line(&run_to_end(&mut command)?)
}

/// Standard output of a command that has to succeed.
fn run_to_end(command: &mut Command) -> Result<String, Failure> {
    let output = command.output().map_err(|e| fail("run a query", &e))?;
    if !output.status.success() {
        return Err(Failure::job(String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn last_line(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text.lines().last().unwrap_or_default()).map_err(|e| fail("read the report", &e))
}
