//! How often each value occurs in a group: MIN and MAX over rows that can be taken back, and COLLECT.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, MapArray, StructArray, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType as ArrowType, Int64Type};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::Accumulator;
use super::rows::{RowCodec, list, list_type, unlist};

/// What is made of the counted values.
pub(super) enum Give {
    /// The smallest.
    Min,
    /// The greatest.
    Max,
    /// All, as a MULTISET of this Arrow type.
    All(ArrowType),
}

/// Values of each group with their counts; a count below zero waits for the insert that belongs to a retraction.
pub(super) struct Counted {
    codec: RowCodec,
    groups: Vec<BTreeMap<Box<[u8]>, i64>>,
    give: Give,
}

impl Counted {
    pub(super) fn new(argument: &ArrowType, give: Give) -> OperatorResult<Self> {
        Ok(Self { codec: RowCodec::new(argument)?, groups: Vec::new(), give })
    }

    fn add(&mut self, groups: &[u32], values: &ArrayRef, count: impl Fn(usize) -> i64) -> OperatorResult<()> {
        let rows = self.codec.encode(values)?;
        for (row, group) in groups.iter().enumerate() {
            if values.is_null(row) {
                continue;
            }
            let held = &mut self.groups[*group as usize];
            let value = rows.row(row);
            match held.get_mut(value.data()) {
                Some(total) => {
                    *total += count(row);
                    if *total == 0 {
                        held.remove(value.data());
                    }
                }
                None => {
                    held.insert(value.data().into(), count(row));
                }
            }
        }
        Ok(())
    }

    fn present(&self, group: u32) -> impl DoubleEndedIterator<Item = (&[u8], i64)> {
        let held = self.groups[group as usize].iter();
        held.filter(|(_, count)| **count > 0).map(|(value, count)| (value.as_ref(), *count))
    }
}

impl Accumulator for Counted {
    fn grow(&mut self, groups: usize) {
        if groups > self.groups.len() {
            self.groups.resize_with(groups, BTreeMap::new);
        }
    }

    fn update(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()> {
        self.add(groups, &args[0], |_| 1)
    }

    fn retract(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()> {
        self.add(groups, &args[0], |_| -1)
    }

    fn reset(&mut self, group: u32) {
        self.groups[group as usize].clear();
    }

    fn evaluate(&self, groups: &[u32]) -> OperatorResult<ArrayRef> {
        let multiset = match &self.give {
            Give::Min => {
                return self.codec.decode(groups.iter().map(|g| self.present(*g).next().map(|e| e.0)));
            }
            Give::Max => {
                return self.codec.decode(groups.iter().map(|g| self.present(*g).next_back().map(|e| e.0)));
            }
            Give::All(multiset) => multiset,
        };
        let ArrowType::Map(entries, sorted) = multiset else {
            return Err(OperatorError::fatal("COLLECT must give a MULTISET"));
        };
        let ArrowType::Struct(fields) = entries.data_type() else {
            return Err(OperatorError::fatal("a MULTISET must hold entries"));
        };
        let present = || groups.iter().flat_map(|group| self.present(*group));
        let keys = self.codec.decode(present().map(|entry| Some(entry.0)))?;
        let counts: ArrayRef = Arc::new(Int64Array::from_iter_values(present().map(|entry| entry.1)));
        let counts = cast(&counts, fields[1].data_type())?;
        let offsets = OffsetBuffer::from_lengths(groups.iter().map(|group| self.present(*group).count()));
        let columns = StructArray::try_new(fields.clone(), vec![keys, counts], None)?;
        Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, columns, None, *sorted)?))
    }

    fn state_types(&self) -> Vec<ArrowType> {
        vec![list_type(&self.codec.data_type), list_type(&ArrowType::Int64)]
    }

    fn state(&self, groups: &[u32]) -> OperatorResult<Vec<ArrayRef>> {
        let lengths = || groups.iter().map(|group| self.groups[*group as usize].len());
        let entries = || groups.iter().flat_map(|group| &self.groups[*group as usize]);
        let values = self.codec.decode(entries().map(|entry| Some(entry.0.as_ref())))?;
        let counts = Int64Array::from_iter_values(entries().map(|entry| *entry.1));
        Ok(vec![list(values, lengths())?, list(Arc::new(counts), lengths())?])
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> OperatorResult<()> {
        let (values, owners) = unlist(&state[0], groups)?;
        let (counts, _) = unlist(&state[1], groups)?;
        let counts = counts.as_primitive::<Int64Type>().values().clone();
        if counts.len() != owners.len() {
            return Err(OperatorError::fatal(
                "a state of counted values has other numbers of values and counts",
            ));
        }
        let values = if values.is_empty() { new_empty_array(&self.codec.data_type) } else { values };
        self.add(&owners, &values, |row| counts[row])
    }
}
