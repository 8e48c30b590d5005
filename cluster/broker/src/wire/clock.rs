//! The wall clock, for the face that lives on it.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::core::Millis;
use crate::faults::millis;

/// Milliseconds since 1970.
#[allow(
    clippy::disallowed_methods,
    reason = "the wire face lives on the wall clock, and asks for it only here"
)]
pub(super) fn now() -> Millis {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(Millis(0), millis)
}
