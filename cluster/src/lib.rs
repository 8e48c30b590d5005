//! Who owns what: the part of Tanist that decides which node processes which shard.
//!
//! Values and functions only: no thread, no clock, no broker. The way of a decision through the crate:
//!
//! 1. Nodes write records to the control log ([`control`], as bytes: [`codec`]): a node joins, leaves, arms its producers, plans, releases a shard.
//! 2. Every node folds them into the same [`view`]. A new node first gets rid of its predecessors: [`startup`].
//! 3. A [`plan`] says who is active, standby or warm-up for every shard; the view accepts the first one that follows the current one.
//!    What it says, [`placement`] works out.
//! 4. A [`permit`] is what a node needs in order to write; the view gives it out, to one node at a time.
//! 5. What is superseded is [`garbage`].
//!
//! The names of all these are here in the root; what nodes must agree upon is their [`topology`].

pub mod admission;
pub mod codec;
pub mod control;
pub mod director;
mod garbage;
pub mod handover;
pub mod heartbeat;
mod ids;
pub mod liveness;
pub mod permit;
pub mod placement;
pub mod plan;
pub mod startup;
pub mod topology;
pub mod view;

#[cfg(test)]
mod model;
#[cfg(test)]
mod testing;

pub use garbage::garbage;
pub use ids::*;
