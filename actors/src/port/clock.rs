//! [`Clock`]: the time. The only place in the actors crate that may ask the machine for it.

use std::time::Duration;

use tanist_cluster::Millis;
use tokio::time::Instant;

use super::LocalPortFuture;

/// What time it is. Nothing that is safe may depend on it: only what is timed.
pub trait Clock: Send + Sync {
    /// Wall time, ms since the epoch: the timestamp of what is sent now.
    fn now(&self) -> Millis;

    /// Time since the clock was made; never goes back.
    fn elapsed(&self) -> Duration;

    /// Done after `duration`.
    fn sleep(&self, duration: Duration) -> LocalPortFuture<'static, ()>;
}

/// The machine's clock, by way of tokio: on a runtime whose time is paused it is the virtual clock of the test driver.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    started: Instant,
    started_at: Millis,
}

impl TokioClock {
    /// A clock that shows the machine's wall time.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn system() -> Self {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Self::starting_at(Millis(since_epoch.as_millis() as i64))
    }

    /// A clock that shows `now` at this moment, and goes with tokio's time.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn starting_at(now: Millis) -> Self {
        Self {
            started: Instant::now(),
            started_at: now,
        }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Millis {
        Millis(self.started_at.0 + self.started.elapsed().as_millis() as i64)
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> LocalPortFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
