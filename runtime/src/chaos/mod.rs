//! Chaos: a local cluster under load, to which bad things are done at random, and the judgement of an independent reader.
//!
//! `schedule` says what is done (a seed decides), `player` does it by the orders that `up` takes, `whole` says when the
//! cluster is itself again, `judge` is the reader: a process of its own, which shares no code with the app. From what both
//! have seen come the `pauses`.

mod judge;
mod pauses;
mod player;
mod schedule;
mod whole;

pub(crate) use judge::{Judge, Judgement};
pub(crate) use pauses::{Pauses, pauses};
pub(crate) use player::Player;
pub(crate) use schedule::{Kind, Wanted, schedule};
