//! [`Task`]: something that goes on in the background for as long as its owner lives.

use tokio::task::JoinHandle;

/// A task that ends when this is dropped.
pub(super) struct Task(JoinHandle<()>);

impl Task {
    /// Begins it on the tokio runtime of the caller.
    pub(super) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
