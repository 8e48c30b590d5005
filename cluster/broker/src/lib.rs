//! An embedded broker that speaks Kafka's protocol, **for development and tests only**: it keeps everything in memory, has no
//! replicas, and knows no authentication.
//!
//! The way of a record: a client's bytes come in through `wire`, or a test's calls through `port`; both end in `core`, a log as a
//! pure value, where `core::topic` → `core::partition` → `core::batch` store it and `core::transaction` says whether it counts.
//! `faults` decides which calls go wrong, by order of a test.

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
