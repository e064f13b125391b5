//! Tables that rows are looked up in: the seam between a connector and a lookup join.
//!
//! A subtask holds such a table as it is now, and is handed what changes: so it can look up by any column, and no row waits for an
//! answer from afar. Invariant: whoever looks up has been handed the whole table once, and all changes in their order.

use arrow::array::RecordBatch;
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::operator::OperatorContext;

/// A table that can be followed to look up rows in it.
pub trait LookupSource: Send + Sync {
    /// Begins to follow the table for one subtask, whose `context.waker` is notified when there is something to take.
    ///
    /// # Errors
    /// When it cannot be followed.
    fn follow(&self, context: &OperatorContext) -> OperatorResult<Box<dyn LookupTable>>;
}

/// A table as one subtask follows it.
pub trait LookupTable {
    /// The next changes, as batches of the columns asked for with the row kind behind them; `None`: no more for now. Never waits.
    ///
    /// # Errors
    /// When the table can be followed no more.
    fn changes(&mut self) -> OperatorResult<Option<RecordBatch>>;

    /// Whether [`LookupTable::changes`] would have something to say.
    fn has_changes(&self) -> bool;

    /// Whether the whole table was handed over, as it was at some moment since the subtask began.
    fn is_complete(&self) -> bool;
}
