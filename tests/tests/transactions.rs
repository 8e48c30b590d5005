//! Transactions and fencing: the same cases on the embedded broker and on the one that `TANIST_TEST_BROKER` names
//! (Apache Kafka), with equal results. So each case also says what the embedded broker has to be like.

#[path = "transactions/coordinator.rs"]
mod coordinator;
#[path = "transactions/fencing.rs"]
mod fencing;
#[path = "transactions/log.rs"]
mod log;
#[path = "transactions/offsets.rs"]
mod offsets;
#[path = "transactions/refusals.rs"]
mod refusals;
#[path = "transactions/visibility.rs"]
mod visibility;
