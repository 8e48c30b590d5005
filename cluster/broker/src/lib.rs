//! An embedded broker that speaks Kafka's protocol, **for development and tests only**: it keeps everything in memory, has no
//! replicas, and lets in whoever reaches its port.
//!
//! The way of a record: a client's bytes come in through `wire`, or a test's calls through `port`; both meet in the
//! `hub`, under the `faults` that the test has ordered, and go on into the `core`, a log as a pure value: `core::topic`
//! → `core::partition` → `core::batch` store the record, `core::producer` and `core::transaction` say whether it may be
//! written and counts, `core::group` keeps offsets, `core::compaction` forgets. `embedded` is the broker as a program
//! starts it.
//!
//! Where Kafka's behaviour can be seen by a client, this one's is the same: the cases in `tests/tests/transactions.rs` of the
//! workspace run against both. What it does not have yet is answered as a Kafka without it would: consumer groups with
//! members, fetches by topic id, and KIP-890 are not among the versions that it offers.
//!
//! Over the network, on the wall clock:
//!
//! ```
//! use tanist_broker::{Config, EmbeddedBroker};
//!
//! let broker = EmbeddedBroker::start(Config::default())?;
//! println!("bootstrap.servers={}", broker.address());
//! # Ok::<(), tanist_broker::StartError>(())
//! ```
//!
//! In the same process, on the time of the caller, the same every time:
//!
//! ```
//! use tanist_broker::{
//!     BrokerPort, Isolation, Millis, NewRecord, Settings, TopicConfig, TopicPartition, TransactionalProducer,
//! };
//!
//! let port = BrokerPort::new(Settings::default());
//! port.create_topic("greetings", 1, TopicConfig::default(), Millis(0))?;
//! let partition = TopicPartition::new("greetings", 0);
//!
//! let mut producer = TransactionalProducer::start(&port, "greeter", Millis(60_000), Millis(0))?;
//! let hello = NewRecord { value: Some("hello".into()), ..NewRecord::default() };
//! producer.send(&partition, &[hello], Millis(1))?;
//! let read = || port.fetch(&partition, 0, 100, Isolation::ReadCommitted, Millis(2));
//! assert_eq!(read()?.records.len(), 0);
//! producer.commit(Millis(2))?;
//! assert_eq!(read()?.records.len(), 1);
//! # Ok::<(), tanist_broker::BrokerError>(())
//! ```

mod core;
mod embedded;
mod error;
mod faults;
mod hub;
mod port;
mod wire;

pub use crate::core::{
    Aborted, Bounds, Cleanup, Committed, Fetched, Isolation, LogRecord, Millis, NewRecord,
    OffsetSpec, Outcome, Producer, Settings, TopicConfig, TopicDescription, TopicPartition,
    TransactionState,
};
pub use embedded::{Config, EmbeddedBroker, StartError};
pub use error::{BrokerError, Result};
pub use faults::{Fault, FaultRule, Faults, RuleId};
pub use kafka_protocol::messages::ApiKey;
pub use port::{BrokerPort, Stamp, TransactionalProducer};
