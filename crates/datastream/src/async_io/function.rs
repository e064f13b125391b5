//! What is called for each record.

use std::future::Future;

use crate::Data;
use crate::error::Result;
use crate::process::TaskInfo;

/// An async call for each record. All calls of a subtask share one function, and run at the same time: what they change needs a
/// lock or an atomic. They run on few threads, which a call must not block: it awaits instead.
pub trait AsyncFunction<I>: Clone + Send + Sync + 'static {
    /// What a call results in.
    type Out: Data;

    /// Called once in each subtask, before the first record; for clients that the calls share. It runs within a tokio runtime.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn open(&mut self, info: &TaskInfo) -> Result {
        let _ = info;
        Ok(())
    }

    /// Calls the outside. An implementation is written as `async fn`.
    ///
    /// # Errors
    /// Any: the call is repeated if the retry strategy says so, or the task fails.
    fn async_invoke(&self, value: I) -> impl Future<Output = Result<Vec<Self::Out>>> + Send;

    /// The record took too long: what to emit for it instead. The call has been dropped. Must not block.
    ///
    /// # Errors
    /// Any, to fail the task; it does so unless the method is implemented.
    fn timeout(&self, value: I) -> Result<Vec<Self::Out>> {
        let _ = value;
        Err("Async function call has timed out.".into())
    }
}

/// A closure that returns a future, as an [`AsyncFunction`].
#[derive(Clone)]
pub struct AsyncFn<F>(pub F);

impl<I, O, V, Fut, F> AsyncFunction<I> for AsyncFn<F>
where
    I: Data,
    O: Data,
    V: IntoIterator<Item = O>,
    Fut: Future<Output = Result<V>> + Send,
    F: Fn(I) -> Fut + Clone + Send + Sync + 'static,
{
    type Out = O;

    async fn async_invoke(&self, value: I) -> Result<Vec<O>> {
        Ok((self.0)(value).await?.into_iter().collect())
    }
}
