//! Sinks of this crate: print, collect, discard. Others implement [`Sink`]: a writer, and for exactly-once output a committer.

use std::fmt::Display;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::sink::{Committable, Sink, SinkWriter};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

/// A line per record on standard output.
pub(crate) struct Print;

struct PrintWriter {
    prefix: String,
    buffer: Vec<u8>,
}

impl<T: Display + 'static> Sink<Records<T>> for Print {
    fn writer(&self, context: &OperatorContext) -> OperatorResult<Box<dyn SinkWriter<Records<T>>>> {
        let prefix =
            if context.parallelism > 1 { format!("{}> ", context.subtask + 1) } else { String::new() };
        Ok(Box::new(PrintWriter { prefix, buffer: Vec::new() }))
    }
}

impl<T: Display> SinkWriter<Records<T>> for PrintWriter {
    fn write(&mut self, batch: Records<T>) -> OperatorResult<()> {
        let fail = |e: std::io::Error| OperatorError::fatal(format!("cannot print to standard output: {e}"));
        self.buffer.clear();
        for value in &batch.values {
            writeln!(self.buffer, "{}{value}", self.prefix).map_err(fail)?;
        }
        // One call under the stream's lock, so that lines of different subtasks never mix.
        let mut out = std::io::stdout().lock();
        out.write_all(&self.buffer).and_then(|()| out.flush()).map_err(fail)
    }

    fn prepare_commit(&mut self, _: CheckpointId) -> OperatorResult<Vec<Committable>> {
        Ok(Vec::new())
    }
}

/// Nowhere.
pub(crate) struct Discard;

impl<T: 'static> Sink<Records<T>> for Discard {
    fn writer(&self, _: &OperatorContext) -> OperatorResult<Box<dyn SinkWriter<Records<T>>>> {
        Ok(Box::new(Discard))
    }
}

impl<T> SinkWriter<Records<T>> for Discard {
    fn write(&mut self, _: Records<T>) -> OperatorResult<()> {
        Ok(())
    }

    fn prepare_commit(&mut self, _: CheckpointId) -> OperatorResult<Vec<Committable>> {
        Ok(Vec::new())
    }
}

/// The records that a stream has collected in this process: for tests and small results. It shows them as they come, not
/// when a checkpoint completes; a restart of a task may collect some again.
pub struct Collected<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Collected<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Collected<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Collected<T> {
    /// Takes what was collected so far.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Number of records that wait to be taken.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Send + 'static> Sink<Records<T>> for Collected<T> {
    fn writer(&self, _: &OperatorContext) -> OperatorResult<Box<dyn SinkWriter<Records<T>>>> {
        Ok(Box::new(self.clone()))
    }
}

impl<T> SinkWriter<Records<T>> for Collected<T> {
    fn write(&mut self, batch: Records<T>) -> OperatorResult<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(batch.values);
        Ok(())
    }

    fn prepare_commit(&mut self, _: CheckpointId) -> OperatorResult<Vec<Committable>> {
        Ok(Vec::new())
    }
}
