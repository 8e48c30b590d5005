//! [`CatchUp`]: whether a node has come to the ends that its inputs had, and to the ends of what follows from that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tanist_actors::group::{GroupSpec, InputSpec};
use tanist_actors::port::{Broker, BrokerError, Clock, TopicPartition};
use tanist_actors::shard::{ShardState, ShardStatus};
use tanist_actors::topic::Topics;
use tanist_cluster::{Offset, Partition, ShardId};
use tokio::sync::watch;

use super::Board;

/// When nothing was reported for so long, what is missing may be markers of transactions alone, behind which a shard
/// stands only when it is made to commit its position.
pub(super) const QUIET: Duration = Duration::from_millis(100);

/// Where each input is to be.
type Ends = BTreeMap<TopicPartition, Offset>;

/// See the module.
pub(super) struct CatchUp {
    ends: Ends,
    /// Whose input each is.
    shards: BTreeMap<TopicPartition, ShardId>,
    /// What follows from the inputs counts, too.
    with_all_that_follows: bool,
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
        groups: Vec<Arc<GroupSpec>>,
        topics: Topics,
        broker: Arc<dyn Broker>,
        board: Arc<Board>,
    ) -> Result<Self, BrokerError> {
        let inputs = groups.iter().flat_map(|group| {
            let shards = (0..group.partitions).map(|it| ShardId::new(group.name.clone(), it));
            shards.flat_map(|shard| {
                let names = group.inputs.iter();
                let topic = |input: &InputSpec| topics.names[usize::from(input.topic.0)].clone();
                let partitions: Vec<_> = names
                    .map(|input| TopicPartition::new(topic(input), shard.partition))
                    .collect();
                partitions.into_iter().map(move |it| (it, shard.clone()))
            })
        });
        let shards: BTreeMap<TopicPartition, ShardId> = inputs.collect();
        let inputs: Vec<TopicPartition> = shards.keys().cloned().collect();
        Ok(Self {
            ends: ends(&*broker, &inputs).await?,
            shards,
            with_all_that_follows: true,
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
                let partition = TopicPartition::new(input.topic.clone(), status.shard.partition);
                let begun = input.committed.max(input.position);
                let end = ends.entry(partition).or_insert(begun);
                *end = begun.max(*end);
            }
        }
        Self {
            ends,
            shards: BTreeMap::new(),
            with_all_that_follows: false,
            news: board.watch(),
        }
    }

    /// Until the inputs may be at their ends, or nothing more comes by itself.
    pub(super) async fn wait(mut self, board: Arc<Board>, clock: Arc<dyn Clock>) -> Self {
        while reached(&self.mine(&board), &board.shards()) == Reached::No {
            tokio::select! {
                biased;
                changed = self.news.changed() => {
                    if changed.is_err() {
                        break;
                    }
                }
                () = clock.sleep(QUIET) => break,
            }
        }
        self
    }

    /// How far the inputs are, when all that is finished is committed and visible. What the app has sent to its own
    /// inputs on the way counts, too.
    pub(super) async fn check(
        &mut self,
        board: &Board,
        broker: &dyn Broker,
    ) -> Result<Reached, BrokerError> {
        let now = reached(&self.mine(board), &board.shards());
        if now != Reached::Yes || !self.with_all_that_follows {
            return Ok(now);
        }
        let written = board.written();
        let own = self
            .ends
            .keys()
            .filter(|input| written.contains(&input.topic));
        let own: Vec<TopicPartition> = own.cloned().collect();
        self.ends.append(&mut ends(broker, &own).await?);
        Ok(reached(&self.mine(board), &board.shards()))
    }

    /// The ends of the inputs that are not in the hands of another node.
    fn mine(&self, board: &Board) -> Ends {
        let (view, others) = (board.view(), board.others());
        let elsewhere = |input: &TopicPartition| {
            let shard = self.shards.get(input);
            let active = shard.and_then(|it| view.plan()?.get(it).map(|it| it.active));
            active.is_some_and(|active| others.contains(&active))
        };
        let ends = self.ends.iter().filter(|(input, _)| !elsewhere(input));
        ends.map(|(input, end)| (input.clone(), *end)).collect()
    }
}

async fn ends(broker: &dyn Broker, inputs: &[TopicPartition]) -> Result<Ends, BrokerError> {
    let bounds = broker.offsets(inputs).await?;
    let bounds = bounds.into_iter();
    Ok(bounds
        .map(|(partition, bounds)| (partition, bounds.end))
        .collect())
}

/// Whether the shards have finished and committed what is before `ends`.
fn reached(ends: &Ends, shards: &[ShardStatus]) -> Reached {
    // The slowest agent of each input.
    let mut all_done: BTreeMap<(&Arc<str>, Partition), Offset> = BTreeMap::new();
    for status in shards {
        if let ShardState::Broken { reason } = &status.state {
            return Reached::Never {
                shard: status.shard.clone(),
                reason: reason.clone(),
            };
        }
        for input in status.inputs.values() {
            let done = input.committed.min(input.position);
            let slowest = all_done
                .entry((&input.topic, status.shard.partition))
                .or_insert(done);
            *slowest = done.min(*slowest);
        }
    }
    let is_there = |(input, end): (&TopicPartition, &Offset)| {
        let done = all_done.get(&(&input.topic, input.partition));
        done.is_some_and(|done| done >= end)
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
            uncommitted: false,
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
