//! The jobs in renoir 0.6, as its examples write them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use renoir::prelude::*;

use crate::jobs::{bid, lines};

pub fn run(job: &str, parallelism: usize, records: u64) -> u64 {
    let config = RuntimeConfig::local(parallelism as u64).expect("a number of threads");
    let context = StreamContext::new(config);
    let sum = Arc::new(AtomicU64::new(0));
    let add = {
        let sum = sum.clone();
        move |n: u64| {
            sum.fetch_add(n, Ordering::Relaxed);
        }
    };
    let numbers = context.stream_par_iter(0..records).batch_mode(BatchMode::fixed(2048));
    match job {
        "map-filter" => {
            let total = numbers.map(|n| n * 3 + 1).filter(|n| n & 7 != 0).fold_assoc(
                0u64,
                |sum, n| *sum = sum.wrapping_add(n),
                |sum, n| *sum = sum.wrapping_add(n),
            );
            total.for_each(add);
        }
        "word-count" => {
            let lines = Arc::new(lines());
            numbers
                .map(move |n| lines[n as usize % lines.len()].clone())
                .flat_map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
                .group_by(|word: &String| word.clone())
                .rich_map({
                    let mut count = 0u64;
                    move |(_, _)| {
                        count += 1;
                        count
                    }
                })
                .drop_key()
                .fold_assoc(0u64, |sum, n| *sum = sum.wrapping_add(n), |sum, n| *sum = sum.wrapping_add(n))
                .for_each(add);
        }
        "bid-count" => {
            numbers
                .map(|n| bid(n).auction)
                .group_by(|auction: &u64| *auction)
                .rich_map({
                    let mut count = 0u64;
                    move |(_, _)| {
                        count += 1;
                        count
                    }
                })
                .drop_key()
                .fold_assoc(0u64, |sum, n| *sum = sum.wrapping_add(n), |sum, n| *sum = sum.wrapping_add(n))
                .for_each(add);
        }
        other => panic!("there is no job {other}"),
    }
    context.execute_blocking();
    sum.load(Ordering::Relaxed)
}
