//! Tables: typed, sharded by partition, kept in a store, written to a changelog.
//!
//! The way of a write: [`Table`] -> `cells` (decoded, dirty) -> sealed into a commit as a changelog record -> [`Replay`]
//! -> store. The way of a read: `cells` -> store.

mod cells;
mod def;
mod handle;
mod query;
mod replay;
mod scan;
mod scope;
mod shape;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use cells::CacheBudget;
pub use def::{TableConfig, TableDef};
pub use handle::Table;
pub(crate) use handle::{AnyTable, TableHome, TableShard};
pub use query::{TableEntry, TableReader};
pub use replay::{
    Changelog, INPUTS_KEY, Inputs, Replay, STATE_KEY, StoreState, agent_input, escape, table_prefix,
};
pub use scan::Scan;
pub(crate) use scope::{Scope, Ticket};
pub use shape::TableShape;

use crate::codec::CodecError;
use crate::port::StoreError;

/// Why a table did not do it. To be passed on by a handler with `?`: the record is undone, and tried again or not as
/// its agent is supervised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Another record that is still being handled has touched the key. The runtime undoes this record and takes it up
    /// again when that one is finished, whatever the handler makes of this error.
    #[error("table {0}: the key is being used by another record that is not finished yet")]
    Busy(Arc<str>),
    /// A key or value that its codec cannot write or read.
    #[error("table {table}: {error}")]
    Codec {
        /// The table.
        table: Arc<str>,
        /// What the codec says.
        error: CodecError,
    },
    /// A stored value of another version or format.
    #[error(
        "table {table}: the stored value of key {key} has format {} version {}, but the app declares format {} version \
         {}: run the version of the app that wrote it; or give the table another name, where it begins empty and what \
         was processed is not read again; or give the app another id, under which it processes all anew",
        stored.0, stored.1, declared.0, declared.1
    )]
    Version {
        /// The table.
        table: Arc<str>,
        /// The key, as text if it is that.
        key: String,
        /// Format and version of the stored value.
        stored: (u8, u8),
        /// Format and version that the app declares.
        declared: (u8, u8),
    },
    /// A value that the broker would refuse.
    #[error(
        "table {table}: key {key} has come to {bytes} bytes, over the limit of {limit} (setting `max_record_bytes`; the \
         changelog's max.message.bytes has to be above it)"
    )]
    TooLarge {
        /// The table.
        table: Arc<str>,
        /// The key, as text if it is that.
        key: String,
        /// Key and value, bytes.
        bytes: usize,
        /// The limit, bytes.
        limit: usize,
    },
    /// More than a commit can hold.
    #[error("a commit can hold 4 GiB, and this shard has come to {0} bytes by itself")]
    TooMuch(usize),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A write outside of a handler: it would belong to no record and no transaction.
    #[error(
        "table {0}: written to while no record is being handled; write from `handle`, `started` or a timer"
    )]
    NotHandling(Arc<str>),
}
