//! [`Reporter`]: what this node tells the director of its copies, and when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tanist_actors::port::{Broker, Clock, LocalPortFuture, TopicPartition};
use tanist_cluster::heartbeat::{Copy, Report};
use tanist_cluster::placement::Policy;
use tanist_cluster::{GroupName, Offset, ShardId};

use super::ends::{Ends, ends_of};
use crate::app::AppTopology;

/// How often a report is repeated that has not changed, for whoever has missed it.
const REPEAT: Duration = Duration::from_secs(10);
/// How often the ends of changelogs are asked for while a copy is being filled, and else.
const FILLING: Duration = Duration::from_secs(1);
const FILLED: Duration = Duration::from_secs(10);

/// For how long a shard that could not be run here is not to be tried here again: else one that breaks on every node would go
/// round among them, several times a second.
const BROKEN: Duration = Duration::from_secs(600);

/// What a worker says of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replica {
    /// It is processed here, so it has all.
    Active(Offset),
    /// A copy that has come so far.
    Copy(Offset),
    /// It cannot be run here.
    Broken,
    /// Nothing is known yet.
    Unknown,
}

/// See the module.
pub(super) struct Reporter {
    /// The changelogs of each group that has a copy to speak of.
    changelogs: BTreeMap<GroupName, Changelogs>,
    policy: Policy,
    /// How far the copies on this node are.
    positions: BTreeMap<ShardId, Offset>,
    ends: Ends,
    /// Which shards could not be run here, and when that was seen last.
    broken: BTreeMap<ShardId, Duration>,
    asked: Option<Duration>,
    /// Beside the ends, why others are not known.
    asking: Option<LocalPortFuture<'static, (Ends, Option<String>)>>,
    /// The broker did not tell all ends.
    in_vain: bool,
    sent: Option<(Report, Duration)>,
}

struct Changelogs {
    topics: Vec<Arc<str>>,
    /// A copy stays when nobody runs it any more.
    on_disk: bool,
}

impl Reporter {
    /// With the copies that were found on disk.
    pub(super) fn new(
        topology: &AppTopology,
        policy: Policy,
        on_disk: BTreeMap<ShardId, Offset>,
    ) -> Self {
        let groups = topology
            .groups
            .iter()
            .filter(|group| !group.tables.is_empty());
        let changelogs = groups.map(|group| {
            let tables = group.tables.iter();
            let names = &topology.topics.names;
            let topics = tables.map(|table| names[usize::from(table.changelog.0)].clone());
            let changelogs = Changelogs {
                topics: topics.collect(),
                on_disk: !group.is_in_memory(),
            };
            (group.name.clone(), changelogs)
        });
        Self {
            changelogs: changelogs.collect(),
            policy,
            positions: on_disk,
            ends: Ends::new(),
            broken: BTreeMap::new(),
            asked: None,
            asking: None,
            in_vain: false,
            sent: None,
        }
    }

    /// What is to be told now, given what the workers say. `None`: nothing new. `all`: even so.
    pub(super) fn news(
        &mut self,
        replicas: &BTreeMap<ShardId, Replica>,
        all: bool,
        now: Duration,
    ) -> Option<Report> {
        let report = self.report(replicas, now);
        let Some((sent, at)) = &self.sent else {
            return Some(report).filter(|_| self.is_complete(replicas));
        };
        let is_due = || report.is_due(sent, now.saturating_sub(*at), &self.policy);
        let unchanged = report == *sent && now.saturating_sub(*at) < REPEAT;
        (all || (!unchanged && is_due())).then_some(report)
    }

    /// It was told.
    pub(super) fn told(&mut self, report: Report, now: Duration) {
        self.sent = Some((report, now));
    }

    /// The first report says all, so that nobody plans without a copy that is there.
    fn is_complete(&self, replicas: &BTreeMap<ShardId, Replica>) -> bool {
        let known = |shard| self.ends.contains_key(shard) || replicas.contains_key(shard);
        self.in_vain || self.positions.keys().all(known)
    }

    fn report(&mut self, replicas: &BTreeMap<ShardId, Replica>, now: Duration) -> Report {
        let mut report = Report::default();
        for (shard, replica) in replicas {
            match replica {
                Replica::Broken => {
                    self.broken.insert(shard.clone(), now);
                }
                Replica::Active(_) => {
                    self.broken.remove(shard);
                }
                Replica::Copy(_) | Replica::Unknown => {}
            }
            if !self.changelogs.contains_key(&shard.group) {
                continue;
            }
            match replica {
                Replica::Active(position) => {
                    self.positions.insert(shard.clone(), *position);
                    // It wrote the last of it.
                    self.ends.insert(shard.clone(), *position);
                }
                Replica::Copy(position) => {
                    self.positions.insert(shard.clone(), *position);
                }
                Replica::Broken => {
                    self.positions.remove(shard);
                }
                Replica::Unknown => {}
            }
        }
        self.broken
            .retain(|_, seen| now.saturating_sub(*seen) < BROKEN);
        report.broken = self.broken.keys().cloned().collect();
        let changelogs = &self.changelogs;
        self.positions.retain(|shard, _| {
            let group = changelogs.get(&shard.group);
            replicas.contains_key(shard) || group.is_some_and(|group| group.on_disk)
        });
        for (shard, position) in &self.positions {
            let replica = replicas.get(shard);
            let is_open = matches!(replica, Some(Replica::Active(_) | Replica::Copy(_)));
            if let Some(end) = self.ends.get(shard) {
                let copy = Copy {
                    position: *position,
                    lag_records: end.0.saturating_sub(position.0).max(0) as u64,
                    is_closed: !is_open,
                };
                report.copies.insert(shard.clone(), copy);
            }
        }
        report
    }

    /// Asks for the ends of changelogs, if it is time.
    pub(super) fn look(
        &mut self,
        broker: &Arc<dyn Broker>,
        clock: &Arc<dyn Clock>,
        replicas: &BTreeMap<ShardId, Replica>,
        now: Duration,
    ) {
        let active = |shard| matches!(replicas.get(shard), Some(Replica::Active(_)));
        let copies: Vec<&ShardId> = self.positions.keys().filter(|it| !active(it)).collect();
        let is_filling = |shard: &&ShardId| {
            let lag = self
                .ends
                .get(*shard)
                .map(|end| end.0 - self.positions[*shard].0);
            lag.is_none_or(|lag| lag > 0 && lag as u64 > self.policy.acceptable_lag_records)
        };
        let period = match copies.iter().any(is_filling) {
            true => FILLING,
            false => FILLED,
        };
        let rested = self.asked.is_none_or(|at| now.saturating_sub(at) >= period);
        if copies.is_empty() || !rested || self.asking.is_some() {
            return;
        }
        let partitions = |shard: &ShardId| {
            let topics = &self.changelogs.get(&shard.group)?.topics;
            let partitions = topics
                .iter()
                .map(|topic| TopicPartition::new(topic.clone(), shard.partition));
            Some((shard.clone(), partitions.collect()))
        };
        let asked: Vec<(ShardId, Vec<TopicPartition>)> =
            copies.into_iter().filter_map(partitions).collect();
        self.asked = Some(now);
        let (broker, clock) = (broker.clone(), clock.clone());
        self.asking = Some(Box::pin(async move {
            let ask = async |all: &[TopicPartition]| broker.offsets(all).await;
            ends_of(asked, &*clock, ask).await
        }));
    }

    /// Until the ends of changelogs are known that were asked for. Never done if none were.
    pub(super) async fn looked(&mut self) {
        let Some(asking) = &mut self.asking else {
            return std::future::pending().await;
        };
        let (ends, why_not_all) = asking.await;
        self.asking = None;
        self.ends.extend(ends);
        if let Some(why) = why_not_all {
            tracing::warn!("the ends of changelogs are not known: {why}");
            // The copies whose lag nobody knows are not told; whoever is to run them will say what is wrong.
            self.in_vain = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::App;

    fn topology() -> AppTopology {
        let mut app = App::new("shop");
        let orders = app.topic::<String, String>("orders").partitions(2);
        let counts = app.table::<String, u64>("counts");
        app.agent("count", &orders, move |shard| {
            let _ = shard.table(&counts);
            tanist_actors::agent::FnAgent::new(
                async |_: tanist_actors::record::Record<String, String>,
                       _: &mut tanist_actors::context::Context| Ok(()),
            )
        });
        app.topology(&BTreeMap::new()).expect("a sound app")
    }

    fn policy() -> Policy {
        Policy {
            acceptable_lag_records: 100,
            ..Policy::default()
        }
    }

    fn shard(partition: i32) -> ShardId {
        ShardId::new("orders", partition)
    }

    #[test]
    fn only_what_a_plan_depends_on_is_told_at_once() {
        let tenths = |tenths: u64| Duration::from_millis(100 * tenths);
        let mut reporter = Reporter::new(&topology(), policy(), BTreeMap::new());
        let mut replicas: BTreeMap<_, _> = [(shard(0), Replica::Active(Offset(7)))].into();
        let first = reporter
            .news(&replicas, false, tenths(0))
            .expect("the first");
        assert_eq!(first.copies[&shard(0)].lag_records, 0);
        reporter.told(first, tenths(0));
        replicas.insert(shard(0), Replica::Active(Offset(9)));
        assert_eq!(reporter.news(&replicas, false, tenths(4)), None);
        assert!(reporter.news(&replicas, true, tenths(4)).is_some());
        let later = reporter
            .news(&replicas, false, tenths(10))
            .expect("now and then");
        reporter.told(later, tenths(10));

        replicas.insert(shard(1), Replica::Copy(Offset(10)));
        assert_eq!(
            reporter.news(&replicas, false, tenths(11)),
            None,
            "its lag is not known"
        );
        reporter.ends.insert(shard(1), Offset(1000));
        let filling = reporter
            .news(&replicas, false, tenths(11))
            .expect("a new copy");
        assert_eq!(filling.copies[&shard(1)].lag_records, 990);
        reporter.told(filling, tenths(11));
        replicas.insert(shard(1), Replica::Copy(Offset(500)));
        assert_eq!(reporter.news(&replicas, false, tenths(12)), None);
        replicas.insert(shard(1), Replica::Copy(Offset(950)));
        assert!(
            reporter.news(&replicas, false, tenths(12)).is_some(),
            "it has caught up"
        );
        replicas.insert(shard(1), Replica::Broken);
        let broken = reporter
            .news(&replicas, false, tenths(12))
            .expect("it is broken");
        assert_eq!((broken.copies.len(), broken.broken.len()), (1, 1));
    }

    #[test]
    fn who_was_active_has_a_copy_without_lag_and_keeps_it_on_disk() {
        let mut reporter = Reporter::new(&topology(), policy(), BTreeMap::new());
        let active = [(shard(0), Replica::Active(Offset(7)))].into();
        reporter.report(&active, Duration::ZERO);
        let copy = [(shard(0), Replica::Copy(Offset(7)))].into();
        let follows = reporter.report(&copy, Duration::ZERO).copies[&shard(0)];
        assert_eq!((follows.lag_records, follows.is_closed), (0, false));
        let opens = [(shard(0), Replica::Unknown)].into();
        assert!(reporter.report(&opens, Duration::ZERO).copies[&shard(0)].is_closed);
        let report = reporter.report(&BTreeMap::new(), Duration::ZERO);
        let left = report.copies[&shard(0)];
        assert_eq!((left.position, left.is_closed), (Offset(7), true));
    }

    #[test]
    fn a_shard_that_broke_here_and_went_elsewhere_is_not_wanted_back_at_once() {
        let mut reporter = Reporter::new(&topology(), policy(), BTreeMap::new());
        let mut broken = |replicas: &[(ShardId, Replica)], now| {
            let replicas = replicas.iter().cloned().collect();
            let report = reporter.report(&replicas, now);
            report.broken.into_iter().collect::<Vec<_>>()
        };
        let second = Duration::from_secs(1);
        let both = [(shard(0), Replica::Broken), (shard(1), Replica::Broken)];
        assert_eq!(broken(&both, Duration::ZERO), [shard(0), shard(1)]);
        assert_eq!(broken(&[], second), [shard(0), shard(1)]);
        let works = [(shard(1), Replica::Active(Offset(0)))];
        assert_eq!(broken(&works, second), [shard(0)]);
        assert_eq!(broken(&[], BROKEN), []);
    }

    #[test]
    fn the_first_report_waits_until_the_lag_of_the_copies_on_disk_is_known() {
        let on_disk = [(shard(1), Offset(3))].into();
        let mut reporter = Reporter::new(&topology(), policy(), on_disk);
        assert_eq!(reporter.news(&BTreeMap::new(), true, Duration::ZERO), None);
        reporter.ends.insert(shard(1), Offset(5));
        let report = reporter.news(&BTreeMap::new(), false, Duration::ZERO);
        assert_eq!(report.unwrap().copies[&shard(1)].lag_records, 2);
    }
}
