//! The one thread on which all of a process's ZooKeeper I/O is done, made when it is first needed.
//!
//! Nothing that blocks may run on it.

use std::future::Future;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;

use crate::error::Error;

/// The runtime; an error only where the system gives no more threads.
pub(crate) fn runtime() -> Result<&'static Runtime, Error> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("zookeeper-io")
            .enable_time()
            .build()
            .map_err(|error| error.to_string())
    });
    made.as_ref().map_err(|reason| Error::Runtime { reason: reason.clone() })
}

/// Runs `task` on the thread for I/O until it is done, or until the returned guard is dropped. It must not block.
pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Result<Spawned, Error> {
    Ok(Spawned(runtime()?.spawn(task).abort_handle()))
}

/// A task on the thread for I/O; dropping this ends it.
#[derive(Debug)]
pub struct Spawned(AbortHandle);

impl Drop for Spawned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits on a plain thread until `future` is done: the way to use this crate without a runtime.
///
/// # Panics
/// On a thread of a tokio runtime, which must not be blocked: await there.
pub fn block_on<F: Future>(future: F) -> F::Output {
    match runtime() {
        Ok(runtime) => runtime.block_on(future),
        // Without our runtime every operation fails at once, so nothing of it is needed.
        Err(_) => without_runtime(future),
    }
}

fn without_runtime<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::yield_now();
    }
}
