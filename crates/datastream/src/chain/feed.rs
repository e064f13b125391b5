//! From batches to records.
//!
//! Invariant: a batch's records are pushed in order; the first that fails is the last.

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::batch::{Either, Records, Rows};

use super::Push;

/// A batch whose records a chain takes one by one.
pub trait Feed: Rows {
    /// A record.
    type Item: 'static;

    /// Pushes all records.
    ///
    /// # Errors
    /// Those of the operators.
    fn feed<P: Push<Self::Item>>(self, chain: &mut P) -> OperatorResult<()>;
}

impl<T: 'static> Feed for Records<T> {
    type Item = T;

    #[inline]
    fn feed<P: Push<T>>(self, chain: &mut P) -> OperatorResult<()> {
        let mut records = self.values.into_iter().zip(self.timestamps);
        records.try_for_each(|(value, timestamp)| chain.push(value, timestamp))
    }
}

impl<A: 'static, B: 'static> Feed for Either<Records<A>, Records<B>> {
    type Item = Either<A, B>;

    #[inline]
    fn feed<P: Push<Either<A, B>>>(self, chain: &mut P) -> OperatorResult<()> {
        match self {
            Self::First(batch) => {
                let mut records = batch.values.into_iter().zip(batch.timestamps);
                records.try_for_each(|(value, timestamp)| chain.push(Either::First(value), timestamp))
            }
            Self::Second(batch) => {
                let mut records = batch.values.into_iter().zip(batch.timestamps);
                records.try_for_each(|(value, timestamp)| chain.push(Either::Second(value), timestamp))
            }
        }
    }
}
