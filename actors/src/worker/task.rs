//! [`Task`]: something that goes on beside, on this thread, for as long as its owner lives.

use tokio::task::JoinHandle;

/// A task that ends when this is dropped: it is not polled again.
pub(super) struct Task(JoinHandle<()>);

impl Task {
    /// Begins it.
    pub(super) fn spawn(future: impl Future<Output = ()> + 'static) -> Self {
        Self(tokio::task::spawn_local(future))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
