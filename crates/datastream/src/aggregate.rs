//! Aggregation with an accumulator: Flink's `AggregateFunction`.

use crate::Data;

/// Adds records to an accumulator, and makes a result of it.
///
/// ```
/// use streamkeeper_datastream::AggregateFunction;
///
/// #[derive(Clone)]
/// struct Average;
///
/// impl AggregateFunction for Average {
///     type In = f64;
///     type Accumulator = (f64, u64);
///     type Out = f64;
///
///     fn create_accumulator(&self) -> (f64, u64) {
///         (0.0, 0)
///     }
///     fn add(&self, value: f64, (sum, count): &mut (f64, u64)) {
///         *sum += value;
///         *count += 1;
///     }
///     fn result(&self, (sum, count): &(f64, u64)) -> f64 {
///         sum / *count as f64
///     }
///     fn merge(&self, a: (f64, u64), b: (f64, u64)) -> (f64, u64) {
///         (a.0 + b.0, a.1 + b.1)
///     }
/// }
/// ```
pub trait AggregateFunction: Clone + Send + Sync + 'static {
    /// What is added.
    type In;
    /// What is kept.
    type Accumulator: Data;
    /// What comes out.
    type Out: Data;

    /// An accumulator to which nothing was added.
    fn create_accumulator(&self) -> Self::Accumulator;

    /// Adds a record.
    fn add(&self, value: Self::In, accumulator: &mut Self::Accumulator);

    /// The result of all that was added.
    fn result(&self, accumulator: &Self::Accumulator) -> Self::Out;

    /// One accumulator of two: session windows merge.
    fn merge(&self, a: Self::Accumulator, b: Self::Accumulator) -> Self::Accumulator;
}
