//! The jobs as hand-written loops: the same hash partition and hand-off between threads, nothing else. No checkpoints, no
//! watermarks, no failures.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64;

use crate::jobs::{bid, lines};

/// Records that are handed over at once.
const BATCH: usize = 2048;
/// Batches that wait.
const DEPTH: usize = 16;
const KEY_GROUPS: u64 = 128;

type Counts<K> = HashMap<K, u64, foldhash::fast::RandomState>;

fn partition(hash: u64, parts: usize) -> usize {
    ((hash >> 32) % KEY_GROUPS) as usize * parts / KEY_GROUPS as usize
}

pub fn run(job: &str, parallelism: usize, records: u64) -> u64 {
    let range = move |part: usize| {
        let bound = |part: usize| (u128::from(records) * part as u128 / parallelism as u128) as u64;
        bound(part)..bound(part + 1)
    };
    match job {
        "map-filter" => {
            let threads: Vec<_> = (0..parallelism)
                .map(|part| {
                    thread::spawn(move || {
                        let kept =
                            range(part).map(|n| std::hint::black_box(n) * 3 + 1).filter(|n| n & 7 != 0);
                        kept.fold(0u64, u64::wrapping_add)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).fold(0, u64::wrapping_add)
        }
        "word-count" => {
            let lines = Arc::new(lines());
            exchange(
                parallelism,
                |word: &String| xxh3_64(word.as_bytes()),
                move |part, emit| {
                    for n in range(part) {
                        let line = lines[n as usize % lines.len()].clone();
                        line.split(' ').for_each(|word| emit(word.to_owned()));
                    }
                },
            )
        }
        "bid-count" => exchange(
            parallelism,
            |auction: &u64| xxh3_64(&auction.to_le_bytes()),
            move |part, emit| {
                range(part).for_each(|n| emit(bid(n).auction));
            },
        ),
        other => panic!("there is no job {other}"),
    }
}

/// Producers that emit keys, an exchange by hash, consumers that keep a count per key and emit it after each record.
fn exchange<K, H, P>(parallelism: usize, hash: H, produce: P) -> u64
where
    K: Hash + Eq + Clone + Send + 'static,
    H: Fn(&K) -> u64 + Copy + Send + Sync + 'static,
    P: Fn(usize, &mut dyn FnMut(K)) + Clone + Send + 'static,
{
    let channels: Vec<(SyncSender<Vec<(K, u64)>>, Receiver<Vec<(K, u64)>>)> =
        (0..parallelism).map(|_| sync_channel(DEPTH)).collect();
    let (senders, receivers): (Vec<_>, Vec<_>) = channels.into_iter().unzip();
    for part in 0..parallelism {
        let (senders, produce) = (senders.clone(), produce.clone());
        thread::spawn(move || {
            let mut buffers: Vec<Vec<(K, u64)>> = senders.iter().map(|_| Vec::with_capacity(BATCH)).collect();
            produce(part, &mut |key| {
                let to = partition(hash(&key), senders.len());
                buffers[to].push((key, 1));
                if buffers[to].len() == BATCH {
                    let full = std::mem::replace(&mut buffers[to], Vec::with_capacity(BATCH));
                    senders[to].send(full).expect("the consumer is there");
                }
            });
            for (sender, rest) in senders.iter().zip(buffers) {
                sender.send(rest).expect("the consumer is there");
            }
        });
    }
    drop(senders);
    let consumers: Vec<_> = receivers
        .into_iter()
        .map(|receiver| {
            thread::spawn(move || {
                let mut counts = Counts::<K>::default();
                let mut sum = 0u64;
                for batch in receiver {
                    let mut out: Vec<(K, u64)> = Vec::with_capacity(batch.len());
                    for (key, one) in batch {
                        match counts.get_mut(&key) {
                            Some(count) => {
                                *count += one;
                                out.push((key, *count));
                            }
                            None => {
                                counts.insert(key.clone(), one);
                                out.push((key, one));
                            }
                        }
                    }
                    sum = out.iter().fold(sum, |sum, (_, count)| sum.wrapping_add(*count));
                }
                sum
            })
        })
        .collect();
    consumers.into_iter().map(|thread| thread.join().expect("no panic")).fold(0, u64::wrapping_add)
}
