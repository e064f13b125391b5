//! Operator state: what a function without keys keeps in a checkpoint, as lists that are dealt out anew on a restore.
//!
//! Invariant: a list comes back whole, each item in one subtask; a union list comes back whole in every subtask.

use serde::de::DeserializeOwned;
use streamkeeper_dataflow::state::{RestoredState, SnapshotFn};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use crate::Data;
use crate::error::Result;
use crate::state::fingerprint;

/// How the items of an operator's list are dealt out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dealt {
    Evenly,
    ToAll,
}

fn shape<V: Data>() -> String {
    format!("operator list: {}", fingerprint::<V>())
}

/// What a checkpoint has for a function that goes on from it.
#[derive(Debug)]
pub struct OperatorStateReader<'a>(&'a RestoredState);

impl<'a> OperatorStateReader<'a> {
    pub(crate) fn new(restored: &'a RestoredState) -> Self {
        Self(restored)
    }

    /// Whether the function goes on from a checkpoint that has something for it.
    pub fn is_restored(&self) -> bool {
        !self.0.is_empty()
    }

    /// This subtask's share of the list: the items of all subtasks were dealt out evenly.
    ///
    /// # Errors
    /// When it was written with items of another type, or is damaged.
    pub fn list_state<V: Data>(&self, name: &str) -> Result<Vec<V>> {
        self.0.list(name, &shape::<V>())?.map(|item| decode(name, item)).collect()
    }

    /// The items that all subtasks have written: every subtask gets all of them.
    ///
    /// # Errors
    /// As for [`OperatorStateReader::list_state`].
    pub fn union_list_state<V: Data>(&self, name: &str) -> Result<Vec<V>> {
        self.0.union(name, &shape::<V>())?.map(|item| decode(name, item)).collect()
    }
}

fn decode<V: DeserializeOwned>(name: &str, item: &[u8]) -> Result<V> {
    let damaged =
        |e| OperatorError::fatal(format!("operator state `{name}` in the checkpoint is damaged: {e}"));
    Ok(postcard::from_bytes(item).map_err(damaged)?)
}

struct List {
    name: String,
    shape: String,
    dealt: Dealt,
    items: Vec<Vec<u8>>,
}

/// Where a function writes what a checkpoint is to keep of it.
#[derive(Default)]
pub struct OperatorStateWriter(Vec<List>);

impl OperatorStateWriter {
    /// Keeps these items; on a restore those of all subtasks are dealt out evenly. A list is written once per checkpoint.
    ///
    /// # Errors
    /// When an item has no encoding, or the name is taken or begins with `$`.
    pub fn list_state<V: Data>(&mut self, name: &str, items: impl IntoIterator<Item = V>) -> Result {
        self.write(name, Dealt::Evenly, items)
    }

    /// Keeps these items; on a restore each subtask gets those of all.
    ///
    /// # Errors
    /// As for [`OperatorStateWriter::list_state`].
    pub fn union_list_state<V: Data>(&mut self, name: &str, items: impl IntoIterator<Item = V>) -> Result {
        self.write(name, Dealt::ToAll, items)
    }

    fn write<V: Data>(&mut self, name: &str, dealt: Dealt, items: impl IntoIterator<Item = V>) -> Result {
        if name.starts_with('$') || self.0.iter().any(|list| list.name == name) {
            return Err(format!(
                "operator state `{name}`: each needs a name of its own that does not begin with $"
            )
            .into());
        }
        let encode = |item| postcard::to_allocvec(&item);
        let items = items.into_iter().map(encode).collect::<std::result::Result<_, _>>();
        let items = items.map_err(|e| format!("cannot encode operator state `{name}`: {e}"))?;
        self.0.push(List { name: name.to_owned(), shape: shape::<V>(), dealt, items });
        Ok(())
    }

    /// What writes it to a checkpoint; `None` when there is nothing.
    pub(crate) fn into_snapshot(self) -> Option<SnapshotFn> {
        if self.0.is_empty() {
            return None;
        }
        Some(Box::new(move |writer| -> OperatorResult<()> {
            for List { name, shape, dealt, items } in self.0 {
                for item in items {
                    match dealt {
                        Dealt::Evenly => writer.list(&name, &shape, item),
                        Dealt::ToAll => writer.union(&name, &shape, item),
                    }
                }
            }
            Ok(())
        }))
    }
}
