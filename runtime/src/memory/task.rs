//! [`Task`]: something that goes on in the background for as long as its owner lives.

use tokio::task::JoinHandle;

/// A task that ends when this is dropped.
pub(super) struct Task<T = ()>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    /// Begins it on the tokio runtime of the caller.
    pub(super) fn spawn(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }

    /// What comes of it.
    pub(super) async fn end(mut self) -> T {
        match (&mut self.0).await {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
