//! The ports: all that agents, tables and workers ask of the world, as small traits.
//!
//! | port | asks | production | tests and simulation |
//! | --- | --- | --- | --- |
//! | [`Log`] | read a partition, seek, carry out a [`Commit`] | Kafka | the embedded broker, in process |
//! | [`Broker`] | topics, offsets, fencing, the control log | Kafka | the embedded broker, in process |
//! | [`Store`] | get, page, apply a batch with its position | RocksDB | memory |
//! | [`Clock`] | now, sleep | the machine's | virtual time |
//!
//! What an implementation has to promise stands at each method; the invariants (S1-S9 in `ARCHITECTURE.md`) rest on it.

mod broker;
mod clock;
mod commit;
mod log;
mod memory;
mod store;

pub use broker::{
    Broker, BrokerError, CommittedOffset, LogBuilder, TopicInfo, TopicSettings, TopicSpec,
    TopicUuid,
};
pub use clock::{Clock, TokioClock};
pub use commit::{Commit, CommitError, CommitRecord, OffsetCommit, Span, StateCommit, TopicId};
pub use log::{Batch, Log, LogError, Pulled, RawRecord, Source, TopicPartition};
pub use memory::{MemoryStore, MemoryStores};
pub use store::{Changes, KeyRange, Order, Page, Store, StoreError, Stores};

/// A future of a port that is shared by threads.
pub type PortFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// A future of a port that belongs to one worker.
pub type LocalPortFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;
