//! The threads on which async calls run, made when they are first needed.
//!
//! They are not those of other I/O of the process: a call that blocks them against the rules delays calls, and nothing else.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;

use streamkeeper_dataflow::{OperatorError, OperatorResult};
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;

const THREADS: usize = 2;

/// The runtime; an error only where the system gives no more threads.
pub(super) fn runtime() -> OperatorResult<&'static Runtime> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("async-io").enable_all();
        builder.build().map_err(|error| error.to_string())
    });
    made.as_ref().map_err(|error| {
        OperatorError::recoverable(format!("the threads for async calls cannot be started: {error}"))
    })
}

/// A call that is dropped when this is.
pub(super) struct Call(AbortHandle);

impl Call {
    /// Starts `call`; `then` gets its result, or what it said when it panicked.
    pub(super) fn start<T: 'static>(
        call: impl Future<Output = T> + Send + 'static,
        then: impl FnOnce(Result<T, String>) + Send + 'static,
    ) -> OperatorResult<Self> {
        let task = runtime()?.spawn(async move { then(caught(call).await) });
        Ok(Self(task.abort_handle()))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The output of `future`, or what it said when it panicked.
async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(move |context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(message(panic.as_ref()))),
    })
    .await
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}
