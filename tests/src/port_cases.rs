//! What every implementation of the log and broker ports has to do, as one list of cases: run on the memory ports and
//! on Kafka.

mod commits;
mod ending;
mod node;
mod sources;
mod world;

use tanist_actors::port::{Broker, LocalPortFuture, TopicPartition};
use tanist_cluster::Offset;

pub use world::World;

/// An implementation of the ports, and what the cases need beside it.
pub struct Ports<'a> {
    /// The implementation.
    pub broker: &'a dyn Broker,
    /// What the names of all topics, groups and transactional ids begin with: unique for each run on the same broker.
    pub prefix: String,
    /// Deletes the records of a partition below an offset, which no port does.
    pub delete_records: &'a dyn Fn(TopicPartition, Offset) -> LocalPortFuture<'static, ()>,
}

/// One rule of the ports, and what proves it.
pub struct Case {
    /// The rule. Its number in the list and its words tell a failure.
    pub rule: &'static str,
    prove: for<'a> fn(&'a World<'a>) -> LocalPortFuture<'a, ()>,
}

impl Case {
    const fn new(
        rule: &'static str,
        prove: for<'a> fn(&'a World<'a>) -> LocalPortFuture<'a, ()>,
    ) -> Self {
        Self { rule, prove }
    }

    /// Panics if the rule does not hold. To be run on a current-thread runtime.
    pub async fn run(&self, ports: &Ports<'_>) {
        (self.prove)(&World::new(ports, self.rule)).await;
    }
}

/// All cases.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    [commits::CASES, ending::CASES, sources::CASES, node::CASES]
        .into_iter()
        .flatten()
}
