//! Aggregates that depend on the order of arrival: FIRST_VALUE, LAST_VALUE, LISTAGG, SINGLE_VALUE. NULLs are ignored,
//! except that a NULL of SINGLE_VALUE is a value.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType as ArrowType;
use std::sync::Arc;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::Accumulator;
use super::rows::{RowCodec, list, list_type, unlist};

/// What is made of the values in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// The first.
    First,
    /// The last.
    Last,
    /// The only one; more are an error.
    Only,
    /// All texts, joined by the separator.
    Joined,
}

/// FIRST_VALUE and LAST_VALUE over rows that are never taken back: one value a group.
pub(super) struct Kept {
    codec: RowCodec,
    values: Vec<Option<Box<[u8]>>>,
    pick: Pick,
}

impl Kept {
    pub(super) fn new(argument: &ArrowType, pick: Pick) -> OperatorResult<Self> {
        Ok(Self { codec: RowCodec::new(argument)?, values: Vec::new(), pick })
    }
}

impl Accumulator for Kept {
    fn grow(&mut self, groups: usize) {
        if groups > self.values.len() {
            self.values.resize(groups, None);
        }
    }

    fn update(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()> {
        let rows = self.codec.encode(&args[0])?;
        for (row, group) in groups.iter().enumerate() {
            let held = &mut self.values[*group as usize];
            if args[0].is_valid(row) && (self.pick == Pick::Last || held.is_none()) {
                *held = Some(rows.row(row).data().into());
            }
        }
        Ok(())
    }

    fn retract(&mut self, _groups: &[u32], _args: &[ArrayRef]) -> OperatorResult<()> {
        Err(OperatorError::fatal(
            "FIRST_VALUE and LAST_VALUE were planned for inserts only, but a row was retracted",
        ))
    }

    fn reset(&mut self, group: u32) {
        self.values[group as usize] = None;
    }

    fn evaluate(&self, groups: &[u32]) -> OperatorResult<ArrayRef> {
        self.codec.decode(groups.iter().map(|group| self.values[*group as usize].as_deref()))
    }

    fn state_types(&self) -> Vec<ArrowType> {
        vec![self.codec.data_type.clone()]
    }

    fn state(&self, groups: &[u32]) -> OperatorResult<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> OperatorResult<()> {
        self.update(groups, state)
    }
}

/// All values of a group in the order of arrival. Taking back removes the earliest equal one.
pub(super) struct Ordered {
    codec: RowCodec,
    groups: Vec<VecDeque<Box<[u8]>>>,
    pick: Pick,
    separator: String,
}

impl Ordered {
    pub(super) fn new(argument: &ArrowType, pick: Pick) -> OperatorResult<Self> {
        Ok(Self { codec: RowCodec::new(argument)?, groups: Vec::new(), pick, separator: ",".into() })
    }

    fn counts(&self, values: &ArrayRef, row: usize) -> bool {
        self.pick == Pick::Only || values.is_valid(row)
    }

    fn learn_separator(&mut self, args: &[ArrayRef]) {
        if let Some(separators) = args.get(1).and_then(|arg| arg.as_string_opt::<i32>())
            && let Some(separator) = separators.iter().flatten().next()
        {
            separator.clone_into(&mut self.separator);
        }
    }
}

impl Accumulator for Ordered {
    fn grow(&mut self, groups: usize) {
        if groups > self.groups.len() {
            self.groups.resize_with(groups, VecDeque::new);
        }
    }

    fn update(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()> {
        self.learn_separator(args);
        let rows = self.codec.encode(&args[0])?;
        for (row, group) in groups.iter().enumerate() {
            if self.counts(&args[0], row) {
                let held = &mut self.groups[*group as usize];
                held.push_back(rows.row(row).data().into());
                if self.pick == Pick::Only && held.len() > 1 {
                    return Err(OperatorError::fatal(
                        "a subquery that stands for a single value gave more than one row",
                    ));
                }
            }
        }
        Ok(())
    }

    fn retract(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()> {
        let rows = self.codec.encode(&args[0])?;
        for (row, group) in groups.iter().enumerate() {
            if self.counts(&args[0], row) {
                let held = &mut self.groups[*group as usize];
                if let Some(found) = held.iter().position(|value| value.as_ref() == rows.row(row).data()) {
                    held.remove(found);
                }
            }
        }
        Ok(())
    }

    fn reset(&mut self, group: u32) {
        self.groups[group as usize].clear();
    }

    fn evaluate(&self, groups: &[u32]) -> OperatorResult<ArrayRef> {
        if self.pick != Pick::Joined {
            let picked = |group: &u32| {
                let held = &self.groups[*group as usize];
                if self.pick == Pick::Last { held.back() } else { held.front() }.map(AsRef::as_ref)
            };
            return self.codec.decode(groups.iter().map(picked));
        }
        let values = self.codec.decode(
            groups.iter().flat_map(|group| &self.groups[*group as usize]).map(|value| Some(value.as_ref())),
        )?;
        let mut values = values.as_string::<i32>().iter().flatten();
        let joined = groups.iter().map(|group| {
            let count = self.groups[*group as usize].len();
            (count > 0).then(|| values.by_ref().take(count).collect::<Vec<_>>().join(&self.separator))
        });
        Ok(Arc::new(joined.collect::<StringArray>()))
    }

    fn state_types(&self) -> Vec<ArrowType> {
        // The separator is a literal of the plan, but partial results and restored groups may be asked for before a
        // row brings it.
        vec![list_type(&self.codec.data_type), ArrowType::Utf8]
    }

    fn state(&self, groups: &[u32]) -> OperatorResult<Vec<ArrayRef>> {
        let values = groups.iter().flat_map(|group| &self.groups[*group as usize]);
        let values = self.codec.decode(values.map(|value| Some(value.as_ref())))?;
        let lists = list(values, groups.iter().map(|group| self.groups[*group as usize].len()))?;
        let separators = StringArray::from_iter_values(groups.iter().map(|_| &self.separator));
        Ok(vec![lists, Arc::new(separators)])
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> OperatorResult<()> {
        let (values, owners) = unlist(&state[0], groups)?;
        self.update(&owners, &[values, state[1].clone()])
    }
}
