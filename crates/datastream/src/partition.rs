//! How rows are dealt out when it is not by key.

use std::sync::atomic::{AtomicU64, Ordering};

use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::exchange::Partitioner;
use streamkeeper_dataflow::{OperatorError, OperatorResult};
use xxhash_rust::xxh3::xxh3_64;

/// To the subtask that a function names.
pub(crate) struct PartitionFn<F>(pub(crate) F);

impl<T, F: Fn(&T, usize) -> usize + Send + Sync> Partitioner<Records<T>> for PartitionFn<F> {
    fn partition(
        &self,
        batch: &Records<T>,
        parallelism: usize,
        targets: &mut Vec<u32>,
    ) -> OperatorResult<()> {
        targets.clear();
        for value in &batch.values {
            let target = (self.0)(value, parallelism);
            if target >= parallelism {
                return Err(OperatorError::fatal(format!(
                    "the partitioner named subtask {target}, but there are {parallelism}"
                )));
            }
            targets.push(target as u32);
        }
        Ok(())
    }
}

/// To the first subtask.
pub(crate) struct Global;

impl<T> Partitioner<Records<T>> for Global {
    fn partition(&self, batch: &Records<T>, _: usize, targets: &mut Vec<u32>) -> OperatorResult<()> {
        targets.clear();
        targets.resize(batch.values.len(), 0);
        Ok(())
    }
}

/// To any subtask: the hash of a running number.
#[derive(Default)]
pub(crate) struct Shuffle(AtomicU64);

impl<T> Partitioner<Records<T>> for Shuffle {
    fn partition(
        &self,
        batch: &Records<T>,
        parallelism: usize,
        targets: &mut Vec<u32>,
    ) -> OperatorResult<()> {
        let rows = batch.values.len() as u64;
        let first = self.0.fetch_add(rows, Ordering::Relaxed);
        targets.clear();
        targets
            .extend((first..first + rows).map(|n| (xxh3_64(&n.to_le_bytes()) % parallelism as u64) as u32));
        Ok(())
    }
}
