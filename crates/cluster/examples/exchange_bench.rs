//! How fast Arrow batches go from one process to another, beside a bare TCP loop of as many bytes.
//!
//! Two processes on loopback; batches of 8192 rows like Nexmark's bids. The exchange's figure holds encoding, credit, both
//! runtimes and decoding with validation: a consumer has whole, checked batches. The bare loop writes 1 MiB at a time from
//! one buffer and reads into another. CPU seconds are those of both processes, all threads.
//!
//!     cargo run --release -p streamkeeper-cluster --example exchange_bench -- [GIB] [CHANNELS] [CAPACITY_KIB]

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use rustix::time::{ClockId, clock_gettime};
use streamkeeper_cluster::network::{NetworkEnvironment, NetworkSettings};
use streamkeeper_dataflow::batch::Rows;
use streamkeeper_dataflow::element::{Control, Element};
use streamkeeper_dataflow::exchange::Exchange;
use streamkeeper_dataflow::network::EdgeId;
use streamkeeper_dataflow::network::harness::Edge;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const ROWS: i64 = 8192;
const CHUNK: usize = 1 << 20;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "--other-side") {
        return other_side(&args[1], number(&args[2])?, number(&args[3])?);
    }
    let number_at = |at: usize, default: usize| args.get(at).map_or(Ok(default), |arg| number(arg));
    let (gib, channels, capacity) = (number_at(0, 8)?, number_at(1, 2)?, number_at(2, 1024)? << 10);
    let batches: Vec<RecordBatch> = (0..16).map(bids).collect::<Outcome<_>>()?;
    let batch_bytes = batches[0].num_bytes();
    let count = (gib << 30) / batch_bytes / channels;

    let runtime = runtime()?;
    let exchange = runtime.block_on(NetworkEnvironment::start(&settings()))?;
    let mut other = Command::new(std::env::current_exe()?)
        .args(["--other-side", exchange.address(), &channels.to_string(), &capacity.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut says = BufReader::new(other.stdout.take().ok_or("no output")?).lines();
    let mut next = || -> Outcome<String> { Ok(says.next().ok_or("the other process has ended")??) };
    let (bare, address) = (next()?, next()?);

    println!(
        "{ROWS} rows of {} bytes a batch, {channels} channels of {} KiB",
        batch_bytes / ROWS as usize,
        capacity >> 10
    );
    let total = count * channels * batch_bytes;

    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut stream = TcpStream::connect(bare)?;
    let chunk = vec![7; CHUNK];
    for _ in 0..total / CHUNK {
        stream.write_all(&chunk)?;
    }
    drop(stream);
    let there: f64 = next()?.parse()?;
    report("bare TCP", total, start.elapsed(), cpu_seconds() - cpu, there);

    let places = vec![Some(address.as_str()); channels];
    let (producers, _) = edge(&vec![None; channels], &places, capacity).connect(&exchange)?;
    let (start, cpu) = (Instant::now(), cpu_seconds());
    std::thread::scope(|scope| -> Outcome<()> {
        let tasks: Vec<_> = producers
            .into_iter()
            .flatten()
            .map(|mut producer| {
                let batches = &batches;
                scope.spawn(move || -> Outcome<()> {
                    (0..count).try_for_each(|n| producer.emit(batches[n % batches.len()].clone()))?;
                    Ok(producer.broadcast(&Control::End)?)
                })
            })
            .collect();
        tasks.into_iter().try_for_each(|task| task.join().map_err(|_| "a producer panicked")?)
    })?;
    let (there, rows): (f64, i64) = (next()?.parse()?, next()?.parse()?);
    report("exchange", total, start.elapsed(), cpu_seconds() - cpu, there);
    if rows != (count * channels) as i64 * ROWS {
        return Err(format!("{rows} rows arrived").into());
    }
    println!("  {:.1} M rows per CPU-second of both", rows as f64 / 1e6 / (cpu_seconds() - cpu + there));
    other.wait()?;
    Ok(())
}

/// The consuming process: prints its addresses, then its CPU seconds for each part.
fn other_side(from: &str, channels: usize, capacity: usize) -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let runtime = runtime()?;
    let exchange = runtime.block_on(NetworkEnvironment::start(&settings()))?;
    println!("{}\n{}", listener.local_addr()?, exchange.address());

    let (mut stream, _) = listener.accept()?;
    let cpu = cpu_seconds();
    let mut buffer = vec![0; CHUNK];
    while stream.read(&mut buffer)? > 0 {}
    println!("{}", cpu_seconds() - cpu);

    let cpu = cpu_seconds();
    let places = vec![Some(from); channels];
    let (_, consumers) = edge(&places, &vec![None; channels], capacity).connect(&exchange)?;
    let rows = std::thread::scope(|scope| -> Outcome<usize> {
        let tasks: Vec<_> = consumers
            .into_iter()
            .flatten()
            .map(|mut consumer| {
                scope.spawn(move || -> Outcome<usize> {
                    let mut rows = 0;
                    while let Element::Batch(batch) = consumer.receive(0, Duration::from_secs(60))? {
                        rows += batch.num_rows();
                    }
                    Ok(rows)
                })
            })
            .collect();
        tasks.into_iter().map(|task| task.join().map_err(|_| "a consumer panicked")?).sum()
    })?;
    println!("{}\n{rows}", cpu_seconds() - cpu);
    Ok(())
}

fn edge<'a>(
    producers: &'a [Option<&'a str>],
    consumers: &'a [Option<&'a str>],
    capacity_bytes: usize,
) -> Edge<'a, RecordBatch> {
    let id = EdgeId { job: [0; 16], generation: 1, index: 0 };
    Edge { id, exchange: Exchange::Forward, producers, consumers, capacity_bytes }
}

fn bids(batch: i64) -> Outcome<RecordBatch> {
    let ids = || batch * ROWS..(batch + 1) * ROWS;
    let text = |make: &dyn Fn(i64) -> String| -> ArrayRef {
        Arc::new(ids().map(|n| Some(make(n))).collect::<StringArray>())
    };
    let longs =
        |make: &dyn Fn(i64) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(ids().map(make))) };
    Ok(RecordBatch::try_from_iter([
        ("auction", longs(&|n| 1000 + n * 7919 % 100_000)),
        ("bidder", longs(&|n| 1000 + n * 104_729 % 50_000)),
        ("price", longs(&|n| n * 31 % 10_000_000)),
        ("channel", text(&|n| format!("channel-{}", n % 10_000))),
        ("url", text(&|n| format!("https://www.nexmark.com/item.htm?query=1&channel_id={n:08}"))),
        ("dateTime", Arc::new(TimestampMillisecondArray::from_iter_values(ids()))),
        ("extra", text(&|n| format!("{n:016x}{n:08o}"))),
    ])?)
}

fn report(what: &str, bytes: usize, wall: Duration, here: f64, there: f64) {
    let gb = bytes as f64 / 1e9;
    let (wall, cpu) = (wall.as_secs_f64(), here + there);
    println!(
        "{what}: {gb:.2} GB in {wall:.2} s = {:.2} GB/s; CPU {here:.2} s + {there:.2} s, {:.2} GB/s per core",
        gb / wall,
        gb / cpu
    );
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

fn settings() -> NetworkSettings {
    let host = "127.0.0.1".to_owned();
    let connect_timeout = Duration::from_secs(10);
    NetworkSettings { bind_host: host.clone(), port: 0, host, connect_timeout, tls: None }
}

fn number(text: &str) -> Outcome<usize> {
    Ok(text.parse().map_err(|_| format!("`{text}` is no number; GIB CHANNELS CAPACITY_KIB are wanted"))?)
}
