//! actors
pub mod codec;
pub mod partitioner;
pub mod port;
pub mod record;
mod stage;
pub mod table;
pub mod tracker;
