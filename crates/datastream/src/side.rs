//! Side outputs of a function, each for records of its own type.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::side_output::{SideOutput, SideOutputs};
use streamkeeper_dataflow::time::Timestamp;

use crate::Data;

/// Names a side output, and the type of its records.
///
/// ```
/// use streamkeeper_datastream::OutputTag;
///
/// let late: OutputTag<(String, i64)> = OutputTag::new("late");
/// assert_eq!(late.id(), "late");
/// ```
pub struct OutputTag<X> {
    id: Arc<str>,
    records: PhantomData<fn() -> X>,
}

impl<X: Data> OutputTag<X> {
    /// A side output with this name, unique within its operator.
    pub fn new(id: &str) -> Self {
        Self { id: id.into(), records: PhantomData }
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl<X> Clone for OutputTag<X> {
    fn clone(&self) -> Self {
        Self { id: self.id.clone(), records: PhantomData }
    }
}

/// What a function has emitted to one side output in the current step.
struct Buffer<X> {
    /// `None`: nobody reads it.
    output: Option<SideOutput<Records<X>>>,
    records: Records<X>,
}

trait AnyBuffer {
    fn as_any(&mut self) -> &mut dyn Any;
    fn flush(&mut self);
}

impl<X: Data> AnyBuffer for Buffer<X> {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn flush(&mut self) {
        if let Some(output) = &self.output
            && !self.records.values.is_empty()
        {
            let empty = Records { values: Vec::new(), timestamps: Vec::new() };
            output.emit(std::mem::replace(&mut self.records, empty));
        }
    }
}

/// The side outputs of one function in one subtask.
#[derive(Default)]
pub struct Sides {
    outputs: SideOutputs,
    buffers: Vec<(Arc<str>, Box<dyn AnyBuffer>)>,
}

impl Sides {
    /// Side outputs that go where the task's go.
    pub(crate) fn new(outputs: SideOutputs) -> Self {
        Self { outputs, buffers: Vec::new() }
    }

    /// Emits a record.
    pub fn output<X: Data>(&mut self, tag: &OutputTag<X>, value: X, timestamp: Timestamp) {
        let found = self.buffers.iter().position(|(id, _)| *id == tag.id);
        let index = found.unwrap_or_else(|| {
            let output = self.outputs.get(&tag.id);
            let records = Records { values: Vec::new(), timestamps: Vec::new() };
            self.buffers.push((tag.id.clone(), Box::new(Buffer::<X> { output, records })));
            self.buffers.len() - 1
        });
        if let Some(buffer) = self.buffers[index].1.as_any().downcast_mut::<Buffer<X>>()
            && buffer.output.is_some()
        {
            buffer.records.values.push(value);
            buffer.records.timestamps.push(timestamp);
        }
    }

    /// The step is over: what was emitted can leave.
    pub(crate) fn flush(&mut self) {
        self.buffers.iter_mut().for_each(|(_, buffer)| buffer.flush());
    }
}
