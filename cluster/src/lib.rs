//! Who owns what: the part of Tanist that decides which node processes which shard.
//!
//! Values and functions only: no thread, no clock, no broker. The way of a decision through the crate:
//!
//! 1. A process asks for [`admission`], then writes records to the control log ([`control`], as bytes:
//!    [`codec`]): it joins, leaves, arms its producers, plans, releases a shard.
//! 2. Every node folds them into the same [`view`], and judges for itself who is alive ([`liveness`], from
//!    [`heartbeat`]s and broken connections).
//! 3. The member that joined first is the [`director`]. It [`fence`]s the dead and writes a [`plan`]: who is active,
//!    standby or warm-up for every shard, worked out by [`placement`]. The view accepts the first plan that
//!    follows the current one.
//! 4. A [`permit`] is what a node needs in order to write; the view gives it out, to one node at a time.
//! 5. What each replica of a shard does about all this is in [`handover`]; those of a node are in [`replicas`], which is
//!    what its shell drives.
//! 6. What is superseded is [`garbage`].
//!
//! The names of all these are here in the root; what nodes must agree upon is their [`topology`].

pub mod admission;
pub mod codec;
pub mod control;
pub mod director;
pub mod fence;
mod garbage;
pub mod handover;
pub mod heartbeat;
mod ids;
pub mod liveness;
pub mod permit;
pub mod placement;
pub mod plan;
pub mod replicas;
pub mod topology;
pub mod view;

#[cfg(test)]
mod model;
#[cfg(test)]
mod testing;

pub use garbage::garbage;
pub use ids::*;
