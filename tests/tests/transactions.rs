//! Transactions and fencing: the same cases on the embedded broker and on the one that `TANIST_TEST_BROKER` names (Apache Kafka),
//! with equal results. So each case also says what the embedded broker has to be like.

#[path = "transactions/fencing.rs"]
mod fencing;
#[path = "transactions/visibility.rs"]
mod visibility;
