//! [`CatchUp`]: whether a node has come to the ends that its inputs had, and to the ends of what follows from that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tanist_actors::port::{Broker, BrokerError, Clock, TopicPartition};
use tanist_actors::shard::{ShardState, ShardStatus};
use tanist_cluster::{Offset, Partition, ShardId};
use tokio::sync::watch;

use super::Board;
use crate::app::AppTopology;

/// When nothing was reported for so long, what is missing may be markers of transactions alone, behind which a shard
/// stands only when it is made to commit its position.
const QUIET: Duration = Duration::from_millis(100);

/// Where each input is to be.
type Ends = BTreeMap<TopicPartition, Offset>;

/// See the module.
pub(super) struct CatchUp {
    ends: Ends,
    news: watch::Receiver<u64>,
}

/// How far the inputs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// Not at their ends.
    No,
    /// At their ends, all of it committed.
    Yes,
    /// A shard will not come there.
    Never { shard: ShardId, reason: String },
}

impl CatchUp {
    /// To the ends that the inputs have now.
    pub(super) async fn begin(
        topology: &AppTopology,
        broker: &dyn Broker,
        board: &Board,
    ) -> Result<Self, BrokerError> {
        let inputs = topology.groups.iter().flat_map(|group| {
            let partitions = (0..group.partitions).map(Partition);
            partitions.flat_map(|partition| {
                let topics = group.inputs.iter();
                topics.map(move |input| {
                    let name = &topology.topics.names[usize::from(input.topic.0)];
                    TopicPartition::new(name.clone(), partition)
                })
            })
        });
        let inputs: Vec<TopicPartition> = inputs.collect();
        Ok(Self {
            ends: ends(broker, &inputs).await?,
            news: board.watch(),
        })
    }

    /// To where these shards have come.
    pub(super) fn to_where<'a>(
        shards: impl Iterator<Item = &'a ShardStatus>,
        board: &Board,
    ) -> Self {
        let mut ends = Ends::new();
        for status in shards {
            for input in status.inputs.values() {
                let input_partition =
                    TopicPartition::new(input.topic.clone(), status.shard.partition);
                let end = ends.entry(input_partition).or_insert(input.position);
                *end = input.position.max(*end);
            }
        }
        Self {
            ends,
            news: board.watch(),
        }
    }

    /// Whether the inputs are at their ends, as far as the shards have told.
    pub(super) fn reached(&self, board: &Board) -> Reached {
        reached(&self.ends, &board.shards())
    }

    /// Until the inputs may be at their ends, or nothing more comes by itself.
    pub(super) async fn wait(&mut self, board: &Board, clock: &dyn Clock) {
        while reached(&self.ends, &board.shards()) == Reached::No {
            tokio::select! {
                biased;
                changed = self.news.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = clock.sleep(QUIET) => return,
            }
        }
    }

    /// How far the inputs are, when all that is finished is committed and visible. What the app has sent to its own
    /// inputs on the way counts, too.
    pub(super) async fn check(
        &mut self,
        board: &Board,
        broker: &dyn Broker,
    ) -> Result<Reached, BrokerError> {
        let now = reached(&self.ends, &board.shards());
        if now != Reached::Yes {
            return Ok(now);
        }
        let written = board.written();
        let own = self
            .ends
            .keys()
            .filter(|input| written.contains(&input.topic));
        let own: Vec<TopicPartition> = own.cloned().collect();
        self.ends.append(&mut ends(broker, &own).await?);
        Ok(reached(&self.ends, &board.shards()))
    }
}

async fn ends(broker: &dyn Broker, inputs: &[TopicPartition]) -> Result<Ends, BrokerError> {
    let bounds = broker.offsets(inputs).await?;
    let bounds = bounds.into_iter();
    Ok(bounds
        .map(|(partition, bounds)| (partition, bounds.end))
        .collect())
}

/// Whether the shards have committed up to `ends`.
fn reached(ends: &Ends, shards: &[ShardStatus]) -> Reached {
    // The slowest agent of each input.
    let mut committed: BTreeMap<(&Arc<str>, Partition), Offset> = BTreeMap::new();
    for status in shards {
        if let ShardState::Broken { reason } = &status.state {
            return Reached::Never {
                shard: status.shard.clone(),
                reason: reason.clone(),
            };
        }
        for input in status.inputs.values() {
            let slowest = committed
                .entry((&input.topic, status.shard.partition))
                .or_insert(input.committed);
            *slowest = input.committed.min(*slowest);
        }
    }
    let is_there = |(input, end): (&TopicPartition, &Offset)| {
        let committed = committed.get(&(&input.topic, input.partition));
        committed.is_some_and(|committed| committed >= end)
    };
    match ends.iter().all(is_there) {
        true => Reached::Yes,
        false => Reached::No,
    }
}

#[cfg(test)]
mod tests {
    use tanist_actors::shard::InputStatus;

    use super::*;

    /// The shards `a/0` and `a/1`, with the committed offsets of the agents on their one input.
    fn shards(committed: [&[i64]; 2]) -> Vec<ShardStatus> {
        let shard = |(partition, agents): (i32, &&[i64])| ShardStatus {
            shard: ShardId::new("a", partition),
            state: ShardState::Running,
            inputs: (0..)
                .zip(*agents)
                .map(|(agent, committed)| {
                    let input = InputStatus {
                        topic: "a".into(),
                        position: Offset(99),
                        committed: Offset(*committed),
                    };
                    (format!("agent-{agent}@a"), input)
                })
                .collect(),
            records: 0,
            copy: None,
        };
        (0..).zip(&committed).map(shard).collect()
    }

    #[test]
    fn caught_up_is_when_every_agent_has_committed_every_partition() {
        let end = |partition, offset| {
            let partition = TopicPartition::new("a", Partition(partition));
            (partition, Offset(offset))
        };
        let ends: Ends = [end(0, 5), end(1, 0)].into();
        for (committed, expected) in [
            ([&[5_i64][..], &[0][..]], Reached::Yes),
            ([&[7, 5], &[0, 0]], Reached::Yes),
            ([&[4], &[0]], Reached::No),
            ([&[5, 4], &[0, 0]], Reached::No),
            // Not active yet.
            ([&[5], &[]], Reached::No),
        ] {
            assert_eq!(
                reached(&ends, &shards(committed)),
                expected,
                "{committed:?}"
            );
        }
    }

    #[test]
    fn a_broken_shard_will_never_be_there() {
        let mut shards = shards([&[5], &[5]]);
        shards[1].state = ShardState::Broken {
            reason: "because".into(),
        };
        assert!(matches!(
            reached(&Ends::new(), &shards),
            Reached::Never { .. }
        ));
    }
}
