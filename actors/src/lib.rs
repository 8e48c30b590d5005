//! What runs: agents, their mailboxes and tables, and the workers that commit what they have done.
//!
//! The way of a record:
//!
//! 1. The log's [`port::Source`] has it; a `mailbox` pulls it when there is room. Nobody pulls: nobody fetches.
//! 2. An `intake` hands it to a [`lane`]: the next one, or, with `concurrency(n)`, the next of a free key. The [`tracker`]
//!    knows which are finished.
//! 3. The lane decodes it by the agent's [`stream`] and calls [`agent::Agent::handle`] with a [`context::Context`]. From here
//!    until it returns the record is `in_hand`: what it writes to a [`table::Table`] or sends can be undone.
//! 4. It returns `Ok`: outputs go to the shard's `stage`, table writes stay. It fails: both are undone, and
//!    [`supervision::decide`] says what comes next.
//! 5. A commit is due: the [`worker`] seals what its [`shard`]s have finished into a [`port::Commit`] and gives it to the
//!    [`port::Log`], which carries it out as one transaction. Meanwhile the next records are handled.
//! 6. It is committed: [`table::Replay`] takes the changelog records into the [`port::Store`].
//!
//! A shard that starts goes the same way from its end: the store's position, the rest of the changelog through the same
//! replay, then the input positions that it contains.
//!
//! Everything of a shard lives on its worker's thread. Actors (actix) are in files called `shell.rs`.

pub mod agent;
pub mod codec;
pub mod context;
pub mod failure;
pub mod group;
mod in_hand;
mod intake;
pub mod lane;
mod mailbox;
pub mod partitioner;
pub mod patience;
pub mod port;
pub mod record;
pub mod shape;
pub mod shard;
mod stage;
pub mod stream;
pub mod supervision;
pub mod table;
pub mod topic;
pub mod tracker;
pub mod worker;
