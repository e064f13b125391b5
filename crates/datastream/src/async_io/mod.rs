//! Async I/O: a call to the outside for each record, many at a time, without blocking the task. The names are Flink's.
//!
//! Futures run on threads of their own, which all operators of the process share; the operator starts them, and takes their
//! results between two inputs. What is in flight is in the checkpoint, and is called again after a restore: a call should be
//! idempotent. When the parallelism has changed, a record that was in flight may be overtaken by later ones of its key.
//!
//! - [`function`]: what is called; [`retry`]: how often; [`queue`]: in which order results leave; [`operator`]: all of it at work
mod function;
mod operator;
mod queue;
mod retry;
mod runtime;

use std::future::Future;
use std::time::Duration;

use crate::Data;
use crate::begin::FromPorts;
use crate::chain::{Pipeline, Then};
use crate::error::Result;
use crate::stream::DataStream;

pub use function::{AsyncFn, AsyncFunction};
pub use operator::AsyncWait;
pub use queue::OutputMode;
pub use retry::AsyncRetryStrategy;

/// A stream of the results of async calls, which begin their task.
pub type AsyncStream<T, F, O> = DataStream<O, Then<FromPorts<T>, AsyncWait<F, O>>>;

/// Makes streams of the results of async calls.
///
/// - `timeout`: how long a record may take, retries included; then [`AsyncFunction::timeout`] decides. Zero: for ever.
/// - `capacity`: how many records may be in flight in a subtask, at least one; no input is read while there are so many.
///
/// ```
/// use std::time::Duration;
/// use streamkeeper_datastream::{
///     AsyncDataStream, AsyncFunction, AsyncRetryStrategy, Result, StreamExecutionEnvironment,
/// };
///
/// /// Asks a service for the length of a word.
/// #[derive(Clone)]
/// struct Length;
///
/// impl AsyncFunction<String> for Length {
///     type Out = (String, usize);
///
///     async fn async_invoke(&self, word: String) -> Result<Vec<Self::Out>> {
///         let length = word.len();
///         Ok(vec![(word, length)])
///     }
/// }
///
/// let env = StreamExecutionEnvironment::new();
/// let words = env.from_collection(["to", "be"].map(String::from));
/// let retry = AsyncRetryStrategy::fixed_delay(3, Duration::from_millis(100));
/// let lengths = AsyncDataStream::ordered_wait_with_retry(words, Length, Duration::from_secs(10), 100, retry).collect();
/// env.execute("lengths")?;
/// assert_eq!(lengths.take(), [("to".to_owned(), 2), ("be".to_owned(), 2)]);
/// # Ok::<(), streamkeeper_datastream::Error>(())
/// ```
pub struct AsyncDataStream;

impl AsyncDataStream {
    /// Results leave as they come; none passes a watermark.
    pub fn unordered_wait<T, P, F>(
        stream: DataStream<T, P>,
        function: F,
        timeout: Duration,
        capacity: usize,
    ) -> AsyncStream<T, F, F::Out>
    where
        T: Data,
        P: Pipeline<Out = T>,
        F: AsyncFunction<T>,
    {
        let retry = AsyncRetryStrategy::no_retry();
        Self::unordered_wait_with_retry(stream, function, timeout, capacity, retry)
    }

    /// Results leave in the order of their records.
    pub fn ordered_wait<T, P, F>(
        stream: DataStream<T, P>,
        function: F,
        timeout: Duration,
        capacity: usize,
    ) -> AsyncStream<T, F, F::Out>
    where
        T: Data,
        P: Pipeline<Out = T>,
        F: AsyncFunction<T>,
    {
        let retry = AsyncRetryStrategy::no_retry();
        Self::ordered_wait_with_retry(stream, function, timeout, capacity, retry)
    }

    /// As [`AsyncDataStream::unordered_wait`]; calls are repeated as `retry` says.
    pub fn unordered_wait_with_retry<T, P, F>(
        stream: DataStream<T, P>,
        function: F,
        timeout: Duration,
        capacity: usize,
        retry: AsyncRetryStrategy<F::Out>,
    ) -> AsyncStream<T, F, F::Out>
    where
        T: Data,
        P: Pipeline<Out = T>,
        F: AsyncFunction<T>,
    {
        stream.async_wait(AsyncWait::new(function, OutputMode::Unordered, timeout, capacity, retry))
    }

    /// As [`AsyncDataStream::ordered_wait`]; calls are repeated as `retry` says.
    pub fn ordered_wait_with_retry<T, P, F>(
        stream: DataStream<T, P>,
        function: F,
        timeout: Duration,
        capacity: usize,
        retry: AsyncRetryStrategy<F::Out>,
    ) -> AsyncStream<T, F, F::Out>
    where
        T: Data,
        P: Pipeline<Out = T>,
        F: AsyncFunction<T>,
    {
        stream.async_wait(AsyncWait::new(function, OutputMode::Ordered, timeout, capacity, retry))
    }
}

impl<T: Data, P: Pipeline<Out = T>> DataStream<T, P> {
    /// Begins a task with the calls: only a task's first operator can hold back its input.
    fn async_wait<F: AsyncFunction<T>>(self, stage: AsyncWait<F, F::Out>) -> AsyncStream<T, F, F::Out> {
        if stage.capacity == 0 {
            self.topology.refuse("async calls need a capacity of at least 1, but it is 0".into());
        }
        self.shared().then("async wait operator", stage)
    }

    /// Calls an async closure for each record; results leave as they come, but none passes a watermark. For `timeout` and
    /// `capacity`, and for functions that keep a client or handle timeouts, see [`AsyncDataStream`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use streamkeeper_datastream::StreamExecutionEnvironment;
    /// let env = StreamExecutionEnvironment::new();
    /// let doubled = env
    ///     .from_collection([1, 2])
    ///     .unordered_wait(|n| async move { Ok([n, n * 2]) }, Duration::from_secs(1), 10)
    ///     .collect();
    /// env.execute("double")?;
    /// let mut doubled = doubled.take();
    /// doubled.sort();
    /// assert_eq!(doubled, [1, 2, 2, 4]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn unordered_wait<O, V, Fut, F>(
        self,
        function: F,
        timeout: Duration,
        capacity: usize,
    ) -> AsyncStream<T, AsyncFn<F>, O>
    where
        O: Data,
        V: IntoIterator<Item = O>,
        Fut: Future<Output = Result<V>> + Send,
        F: Fn(T) -> Fut + Clone + Send + Sync + 'static,
    {
        AsyncDataStream::unordered_wait(self, AsyncFn(function), timeout, capacity)
    }

    /// As [`DataStream::unordered_wait`], but results leave in the order of their records.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use streamkeeper_datastream::StreamExecutionEnvironment;
    /// let env = StreamExecutionEnvironment::new();
    /// let doubled = env
    ///     .from_collection([1, 2, 3])
    ///     .ordered_wait(|n| async move { Ok(Some(n * 2)) }, Duration::from_secs(1), 10)
    ///     .collect();
    /// env.execute("double")?;
    /// assert_eq!(doubled.take(), [2, 4, 6]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn ordered_wait<O, V, Fut, F>(
        self,
        function: F,
        timeout: Duration,
        capacity: usize,
    ) -> AsyncStream<T, AsyncFn<F>, O>
    where
        O: Data,
        V: IntoIterator<Item = O>,
        Fut: Future<Output = Result<V>> + Send,
        F: Fn(T) -> Fut + Clone + Send + Sync + 'static,
    {
        AsyncDataStream::ordered_wait(self, AsyncFn(function), timeout, capacity)
    }
}
