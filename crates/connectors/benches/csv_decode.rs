//! Rows per CPU-second that one thread reads of Nexmark bids: five of seven columns, then all, then few.
//!
//! `cargo bench -p streamkeeper-connectors`. The bids are generated, about 125 bytes each.
use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use streamkeeper_connectors::schema::{DataType, Field, TypeKind};
use streamkeeper_connectors::table::{ScanRequest, TableDescriptor, create_source};
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::source::{Assignment, Poll};

const ROWS: u64 = 4_000_000;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn write_bids(path: &std::path::Path) -> std::io::Result<u64> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut random = Random(42);
    let mut extra = String::new();
    for row in 0..ROWS {
        extra.clear();
        for _ in 0..10 + random.below(40) {
            extra.push(char::from(b'a' + random.below(26) as u8));
        }
        let ms = row / 10;
        writeln!(
            out,
            "{},{},{},channel-{},https://www.nexmark.com/{}/item.htm?query=1,2015-07-15 00:{:02}:{:02}.{:03},{extra}",
            1000 + random.below(5000),
            1000 + random.below(2000),
            random.below(100_000_000),
            random.below(10_000),
            random.below(1_000_000),
            ms / 60_000,
            ms / 1000 % 60,
            ms % 1000,
        )?;
    }
    out.flush()?;
    Ok(std::fs::metadata(path)?.len())
}

/// CPU time of this thread; where the system does not tell, the time since `start`.
fn cpu_time(start: Instant) -> Duration {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .map_or_else(|| start.elapsed(), Duration::from_nanos)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().any(|arg| arg == "--list") {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("bid.csv");
    let bytes = write_bids(&path)?;
    println!("{ROWS} bids, {} bytes each", bytes / ROWS);
    let bigint = || DataType::from(TypeKind::BigInt);
    let columns = vec![
        Field::new("auction", bigint()),
        Field::new("bidder", bigint()),
        Field::new("price", bigint()),
        Field::new("channel", DataType::string()),
        Field::new("url", DataType::string()),
        Field::new("dateTime", TypeKind::Timestamp(3).into()),
        Field::new("extra", DataType::string()),
    ];
    let options = BTreeMap::from(
        [("connector", "filesystem"), ("path", &path.to_string_lossy()), ("format", "csv")]
            .map(|(k, v)| (k.to_owned(), v.to_owned())),
    );
    let table = TableDescriptor { name: "bid".into(), columns, options, ..TableDescriptor::default() };
    for (name, projection) in [
        ("5 of 7 columns", vec![0, 1, 2, 5, 6]),
        ("all columns", (0..7).collect()),
        ("auction, price", vec![0, 2]),
        ("dateTime", vec![5]),
    ] {
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let request = ScanRequest { projection: projection.clone(), limit: None };
            let source = create_source(&table, &request)?.source;
            let context = OperatorContext::detached("bid", 0, 1);
            let mut enumerator = source.enumerator(1, None)?;
            let mut reader = source.reader(&context)?;
            let start = Instant::now();
            let before = cpu_time(start);
            let mut rows = 0;
            loop {
                match reader.poll(0)? {
                    Poll::Batch { batch, .. } => rows += RecordBatch::num_rows(&std::hint::black_box(batch)),
                    Poll::NeedSplit => match enumerator.next_split(0) {
                        Assignment::Split(split) => reader.add_split(split)?,
                        Assignment::NoMoreSplits => break,
                    },
                    Poll::SplitEnd(_) | Poll::WaitUntil(_) => {}
                }
            }
            assert_eq!(rows as u64, ROWS);
            best = best.min((cpu_time(start) - before).as_secs_f64());
        }
        println!("{name}: {:.2} M rows per CPU-second", ROWS as f64 / best / 1e6);
    }
    Ok(())
}
