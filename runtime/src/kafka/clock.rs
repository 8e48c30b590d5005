//! [`Deadline`]: the limit that every wait for the broker has.

use std::time::{Duration, Instant};

/// A moment after which something is given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// `limit` from now.
    #[expect(clippy::disallowed_methods, reason = "a limit in real time")]
    pub(super) fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// How long until then; zero if it has passed.
    #[expect(clippy::disallowed_methods, reason = "a limit in real time")]
    pub(super) fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// True if nothing is left.
    pub(super) fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }
}
