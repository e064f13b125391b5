//! The typed API beside a hand-written loop and beside renoir: the same jobs, each run in a process of its own.
//!
//! `cargo run --release [-- RECORDS]` runs all and prints a table: wall and CPU seconds, peak memory, records per CPU-second, and
//! the ratios to the loop. Ours takes a checkpoint to a directory every ten seconds, and at the end; the others cannot.

mod bare;
mod jobs;
mod ours;
mod report;
mod with_renoir;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => report::all(20_000_000),
        [records] => report::all(records.parse().expect("a number of records")),
        [engine, job, parallelism, records] => {
            let parallelism = parallelism.parse().expect("a parallelism");
            let records = records.parse().expect("a number of records");
            let run = match engine.as_str() {
                "ours" => ours::run,
                "bare" => bare::run,
                "renoir" => with_renoir::run,
                other => panic!("there is no engine {other}"),
            };
            let start = std::time::Instant::now();
            let check = run(job, parallelism, records);
            let wall_s = start.elapsed().as_secs_f64();
            let (cpu_s, peak_mib) = report::usage();
            println!("{wall_s} {check} {cpu_s} {peak_mib}");
        }
        _ => eprintln!("usage: [RECORDS] | ENGINE JOB PARALLELISM RECORDS"),
    }
}
