//! [`Patience`]: when to say of something that takes long that it does: soon enough, and not over and over.

use std::time::Duration;

/// So long nothing is said.
const LONG: Duration = Duration::from_secs(10);

/// See the module. Said again when it has lasted twice as long as when it was said last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    /// Until it has lasted so long, nothing is said again; none if nothing was said.
    until: Option<Duration>,
}

/// What is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// Nothing new.
    Nothing,
    /// That it lasts.
    Lasts,
    /// That what was said is over.
    Over,
}

impl Patience {
    /// It has lasted so long by now; not at all if it is over.
    pub fn look(&mut self, lasts: Duration) -> Say {
        if lasts < LONG {
            return match self.until.take() {
                Some(_) => Say::Over,
                None => Say::Nothing,
            };
        }
        if self.until.is_some_and(|until| lasts < until) {
            return Say::Nothing;
        }
        self.until = Some(lasts * 2);
        Say::Lasts
    }

    /// Whether that it is over is still to be said.
    pub fn has_spoken(&self) -> bool {
        self.until.is_some()
    }
}
