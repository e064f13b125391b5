//! The sink: transactions in a store that all runs of a job share. It refuses to commit what it does not know, and forgets what
//! was not committed when a job recovers, as a database does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::sink::{Committable, Committer, Sink, SinkWriter};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

/// A key, and what was computed for it.
pub(super) type Row = (u64, u64);

/// Checkpoint, subtask, run and attempt.
type Transaction = (CheckpointId, usize, u32, u32);

#[derive(Default)]
struct Store {
    prepared: BTreeMap<Transaction, Vec<Row>>,
    committed: BTreeMap<Transaction, Vec<Row>>,
}

#[derive(Default, Clone)]
pub(super) struct Ledger(Arc<Mutex<Store>>);

impl Ledger {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The committed rows by key, in the order of their commits.
    pub(super) fn by_key(&self) -> BTreeMap<u64, Vec<u64>> {
        let mut by_key: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (key, value) in self.store().committed.values().flatten() {
            by_key.entry(*key).or_default().push(*value);
        }
        by_key
    }
}

impl Committer for Ledger {
    fn commit(&self, committables: &[Committable]) -> OperatorResult<()> {
        let mut store = self.store();
        for committable in committables {
            let transaction: Transaction = postcard::from_bytes(committable).map_err(OperatorError::fatal)?;
            if store.committed.contains_key(&transaction) {
                continue;
            }
            let rows = store.prepared.remove(&transaction).ok_or_else(|| {
                OperatorError::fatal(format!("the transaction {transaction:?} was rolled back"))
            })?;
            store.committed.insert(transaction, rows);
        }
        Ok(())
    }

    fn recover(&self, _: &str, _: Option<u32>, committables: &[Committable]) -> OperatorResult<()> {
        self.commit(committables)?;
        self.store().prepared.clear();
        Ok(())
    }
}

pub(super) struct LedgerSink {
    pub(super) ledger: Ledger,
    pub(super) run: u32,
}

struct Writer {
    ledger: Ledger,
    subtask: usize,
    run: u32,
    attempt: u32,
    rows: Vec<Row>,
}

impl Sink<Records<Row>> for LedgerSink {
    fn writer(&self, context: &OperatorContext) -> OperatorResult<Box<dyn SinkWriter<Records<Row>>>> {
        Ok(Box::new(Writer {
            ledger: self.ledger.clone(),
            subtask: context.subtask,
            run: self.run,
            attempt: context.attempt,
            rows: Vec::new(),
        }))
    }

    fn committer(&self) -> Option<Arc<dyn Committer>> {
        Some(Arc::new(self.ledger.clone()))
    }
}

impl SinkWriter<Records<Row>> for Writer {
    fn write(&mut self, batch: Records<Row>) -> OperatorResult<()> {
        self.rows.extend(batch.values);
        Ok(())
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> OperatorResult<Vec<Committable>> {
        if self.rows.is_empty() {
            return Ok(Vec::new());
        }
        let transaction: Transaction = (checkpoint, self.subtask, self.run, self.attempt);
        self.ledger.store().prepared.insert(transaction, std::mem::take(&mut self.rows));
        Ok(vec![postcard::to_allocvec(&transaction).map_err(OperatorError::fatal)?])
    }
}
