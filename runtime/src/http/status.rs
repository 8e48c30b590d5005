//! [`NodeStatus`]: what a node tells of itself.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tanist_actors::port::TopicPartition;
use tanist_actors::shard::{ShardState, ShardStatus};
use tanist_actors::worker::{Guarantee, UnreadPartitions};
use tanist_cluster::heartbeat::Copy;
use tanist_cluster::view::View;
use tanist_cluster::{MemberId, NodeName, Offset, ShardId};

use super::rates::Rates;
use crate::node::CommitTotals;

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NodeStatus {
    pub(crate) app: String,
    pub(crate) node: NodeName,
    /// None before it has joined.
    pub(crate) member: Option<MemberId>,
    pub(crate) uptime_ms: u64,
    pub(crate) guarantee: Guarantee,
    pub(crate) broker: BrokerStatus,
    pub(crate) commits: CommitStatus,
    /// Records handled since the process started.
    pub(crate) records: u64,
    /// As far as it is known of the shards; none if of none.
    pub(crate) records_per_second: Option<f64>,
    /// Records that wait in all inputs; none if the broker did not tell, or for inputs that are not read whole.
    pub(crate) lag_records: Option<u64>,
    /// All that its inputs hold is processed and committed, what transactions that are open yet may add included.
    #[serde(default)]
    pub(crate) settled: bool,
    pub(crate) shards: Vec<ShardLine>,
    /// Input topics with partitions that nobody reads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) unread: BTreeMap<Arc<str>, UnreadPartitions>,
}

/// The broker, as the node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BrokerStatus {
    pub(crate) address: String,
    pub(crate) reachable: bool,
}

/// Commits since the node started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CommitStatus {
    pub(crate) count: u64,
    pub(crate) per_second: f64,
    pub(crate) mean_ms: f64,
    pub(crate) longest_ms: f64,
}

/// What a node is to a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// It processes the shard.
    Active,
    /// It has a copy that is kept up to date.
    Standby,
    /// It fills a copy, to become active.
    Warmup,
    /// It had a part in the shard, and is about to give it up.
    Going,
}

impl Role {
    /// The role of `me` under the current plan.
    pub(crate) fn of(view: &View, me: MemberId, shard: &ShardId) -> Option<Self> {
        let planned = view.plan()?.get(shard)?;
        if planned.active == me {
            Some(Self::Active)
        } else if planned.standbys.contains_key(&me) {
            Some(Self::Standby)
        } else {
            planned.warmups.contains_key(&me).then_some(Self::Warmup)
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Standby => "standby",
            Self::Warmup => "warmup",
            Self::Going => "going",
        })
    }
}

/// A shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ShardLine {
    pub(crate) shard: ShardId,
    pub(crate) role: Role,
    /// None until it has begun here.
    #[serde(flatten)]
    pub(crate) state: Option<ShardState>,
    pub(crate) records: u64,
    /// Since it is at work here; none just after it came.
    pub(crate) records_per_second: Option<f64>,
    /// Of the active, in its inputs; of a copy, in its changelogs.
    pub(crate) lag_records: Option<u64>,
    pub(crate) inputs: Vec<InputLine>,
    /// How far its store is, summed over its changelogs; none if that is not known, or if it has no tables.
    pub(crate) copy: Option<Copy>,
}

/// How far an agent is in an input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct InputLine {
    pub(crate) agent: String,
    pub(crate) topic: String,
    /// Everything before it is finished.
    pub(crate) position: Offset,
    /// Everything before it is committed.
    pub(crate) committed: Offset,
    /// Where the partition ends; none if the broker did not tell.
    pub(crate) end: Option<Offset>,
    pub(crate) lag_records: Option<u64>,
}

/// What the broker knows of partitions.
pub(crate) type Bounds = BTreeMap<TopicPartition, Range<Offset>>;

impl ShardLine {
    /// Of a shard, with what its worker has reported.
    pub(crate) fn new(
        shard: ShardId,
        role: Role,
        reported: Option<&ShardStatus>,
        rates: &Rates,
        bounds: Option<&Bounds>,
    ) -> Self {
        let inputs: Vec<InputLine> = reported
            .iter()
            .flat_map(|status| &status.inputs)
            .map(|(key, input)| {
                let partition = TopicPartition::new(input.topic.clone(), shard.partition);
                let end = bounds.and_then(|bounds| Some(bounds.get(&partition)?.end));
                InputLine {
                    agent: key.split('@').next().unwrap_or(key).to_owned(),
                    topic: input.topic.to_string(),
                    position: input.position,
                    committed: input.committed,
                    end,
                    // What is not committed will be, or is processed again: it does not wait.
                    lag_records: end
                        .map(|end| end.0.saturating_sub(input.position.0).max(0) as u64),
                }
            })
            .collect();
        let copy = reported.and_then(|status| status.copy);
        let lag_records = match role {
            Role::Active if knows_inputs(reported) => {
                sum(inputs.iter().map(|input| input.lag_records))
            }
            Role::Active => None,
            _ => copy.map(|copy| copy.lag_records),
        };
        Self {
            role,
            state: reported.map(|status| status.state.clone()),
            records: reported.map_or(0, |status| status.records),
            records_per_second: match reported {
                Some(status) if status.state.is_at_work() => rates.records_of(&shard),
                _ => Some(0.0),
            },
            lag_records,
            inputs,
            copy,
            shard,
        }
    }

    /// What its columns are called.
    pub(crate) fn headings() -> String {
        let (rate, lag, committed, changelog) = ("records/s", "lag", "committed", "changelog");
        format!("role     {rate:>10}  {lag:>8}  {committed:>12}  {changelog:>10}  state")
    }

    /// Its columns in a table for people, after its name.
    pub(crate) fn figures(&self) -> String {
        let committed = self.inputs.iter().map(|input| input.committed.to_string());
        let committed = committed.collect::<Vec<_>>().join(" ");
        let committed = Some(committed).filter(|it| !it.is_empty());
        let changelog = self.copy.map(|copy| copy.position.to_string());
        let or_none = |figure: Option<String>| figure.unwrap_or_else(|| "-".to_owned());
        let state = self.state.as_ref();
        let state = state.map_or_else(|| "waiting".to_owned(), ToString::to_string);
        format!(
            "{:7}  {:>10}  {:>8}  {:>12}  {:>10}  {state}",
            self.role,
            rate(self.records_per_second),
            known(self.lag_records),
            or_none(committed),
            or_none(changelog),
        )
    }
}

/// Whether what is reported of a shard names all of its inputs, be there none: one that is not at work yet tells of none.
fn knows_inputs(reported: Option<&ShardStatus>) -> bool {
    reported.is_some_and(|status| match status.state {
        ShardState::Broken { .. } => !status.inputs.is_empty(),
        _ => status.state.is_at_work(),
    })
}

/// None if one of them is not known.
pub(crate) fn sum(lags: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    lags.sum()
}

impl CommitStatus {
    pub(crate) fn new(totals: &CommitTotals, rates: &Rates) -> Self {
        let ms = |took: Duration| (took.as_secs_f64() * 1e4).round() / 10.0;
        Self {
            count: totals.commits,
            per_second: rates.commits(),
            mean_ms: ms(totals.took.div_f64(totals.commits.max(1) as f64)),
            longest_ms: ms(totals.longest),
        }
    }
}

impl fmt::Display for NodeStatus {
    /// A table for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = self.member.map_or_else(
            || "not joined yet".to_owned(),
            |member| format!("member {member}"),
        );
        let contact = if self.broker.reachable {
            ""
        } else {
            ", which does not answer"
        };
        writeln!(
            f,
            "app {}, node {} ({member}), up {:.1} s; broker {}{contact}",
            self.app,
            self.node,
            self.uptime_ms as f64 / 1e3,
            self.broker.address,
        )?;
        let commits = &self.commits;
        writeln!(
            f,
            "{} records processed since it started, {} a second, lag {}; {} commits, {} a second, {} ms each (longest {} ms)\n",
            self.records,
            rate(self.records_per_second),
            known(self.lag_records),
            commits.count,
            commits.per_second,
            commits.mean_ms,
            commits.longest_ms
        )?;
        let width = self.shards.iter().map(|line| line.shard.to_string().len());
        let width = width.max().unwrap_or(0).max("shard".len());
        write!(f, "{:width$}  {}", "shard", ShardLine::headings())?;
        for line in &self.shards {
            write!(f, "\n{:width$}  {}", line.shard, line.figures())?;
        }
        for (topic, unread) in &self.unread {
            write!(f, "\n\ninput topic {topic} {unread}")?;
        }
        Ok(())
    }
}

/// A rate for people.
pub(crate) fn rate(per_second: Option<f64>) -> String {
    per_second.map_or_else(|| "-".to_owned(), |rate| rate.to_string())
}

pub(crate) fn known(lag: Option<u64>) -> String {
    lag.map_or_else(|| "?".to_owned(), |lag| lag.to_string())
}

/// What nodes say, for tests of those who read it.
#[cfg(test)]
pub(crate) mod examples {
    use super::*;

    /// What `node` says that has these shards.
    pub(crate) fn status(node: &str, shards: Vec<ShardLine>) -> NodeStatus {
        NodeStatus {
            app: "orders".into(),
            node: node.into(),
            member: Some(MemberId(1)),
            uptime_ms: 1000,
            guarantee: Guarantee::ExactlyOnce,
            broker: BrokerStatus {
                address: "127.0.0.1:9092".into(),
                reachable: true,
            },
            commits: CommitStatus {
                count: 1,
                per_second: 1.0,
                mean_ms: 1.0,
                longest_ms: 1.0,
            },
            records: 10,
            records_per_second: Some(0.0),
            lag_records: Some(0),
            settled: true,
            shards,
            unread: BTreeMap::new(),
        }
    }

    /// What a node says of a shard.
    pub(crate) fn line(shard: ShardId, role: Role, state: Option<ShardState>) -> ShardLine {
        ShardLine {
            shard,
            role,
            state,
            records: 10,
            records_per_second: Some(0.0),
            lag_records: Some(0),
            inputs: Vec::new(),
            copy: None,
        }
    }
}
