//! [`ClusterStatus`]: what all nodes of an app tell of themselves, put together by whichever of them is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use actix_web::web;
use futures_util::future::join;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tanist_actors::shard::ShardState;
use tanist_actors::worker::UnreadPartitions;
use tanist_cluster::plan::Plan;
use tanist_cluster::view::View;
use tanist_cluster::{Epoch, MemberId, Millis, NodeName, ShardId};

use super::Api;
use super::rates::total;
use super::status::{BrokerStatus, CommitStatus, NodeStatus, Role, ShardLine, known, rate, sum};
use crate::node::Death;

/// How many nodes are asked at the same time.
const AT_ONCE: usize = 64;
/// How many broken shards are named before the tables, in which all are.
const MAX_NAMED: usize = 5;

/// For how long it is told who has died.
const TOLD_FOR_MS: i64 = 3600 * 1000;

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClusterStatus {
    pub(crate) app: String,
    /// The current plan; none before the first.
    pub(crate) plan: Option<Epoch>,
    pub(crate) broker: BrokerStatus,
    /// Records handled by these nodes, each since its process started.
    pub(crate) records: u64,
    pub(crate) records_per_second: Option<f64>,
    /// Shards that are broken and at work nowhere: their input waits.
    #[serde(default)]
    pub(crate) broken_shards: usize,
    /// Records that wait in all inputs; none if somebody does not know or does not answer.
    pub(crate) lag_records: Option<u64>,
    /// Input topics with partitions that nobody reads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) unread: BTreeMap<Arc<str>, UnreadPartitions>,
    /// In the order in which they joined.
    pub(crate) nodes: Vec<NodeLine>,
    /// Who has died lately and is not back, as far as the node that is asked was there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) dead: Vec<Death>,
    /// Sorted; the active of each comes first.
    pub(crate) shards: Vec<PlacedShard>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NodeLine {
    pub(crate) node: NodeName,
    /// None before it has joined.
    pub(crate) member: Option<MemberId>,
    /// Where it answers.
    pub(crate) http: Option<String>,
    /// None if it does not answer.
    pub(crate) told: Option<Told>,
    /// Why it does not answer.
    pub(crate) error: Option<String>,
}

/// What a node tells of itself, but for its shards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) uptime_ms: u64,
    pub(crate) broker: BrokerStatus,
    pub(crate) commits: CommitStatus,
    pub(crate) records: u64,
    pub(crate) records_per_second: Option<f64>,
    pub(crate) lag_records: Option<u64>,
}

/// A shard on a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlacedShard {
    pub(crate) node: NodeName,
    #[serde(flatten)]
    pub(crate) line: ShardLine,
}

/// The current plan, with the reason of every role, and what its members are called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlanStatus {
    pub(crate) nodes: BTreeMap<MemberId, NodeName>,
    /// Who has died lately, as far as the node that is asked was there.
    #[serde(default)]
    pub(crate) deaths: Vec<Death>,
    pub(crate) plan: Plan,
}

/// A node, and its answer or why there is none.
struct Asked {
    node: NodeName,
    member: Option<MemberId>,
    http: Option<String>,
    answer: Result<NodeStatus, String>,
}

impl Api {
    /// What all members tell, and this node whether or not it is one.
    pub(super) async fn cluster(self: &Arc<Self>) -> ClusterStatus {
        let view = self.board.view();
        // This node may join while it is asked; it is one line even so.
        let here = self.board.member();
        let here = here.filter(|id| view.member(*id).is_some());
        let members: Vec<MemberId> = view.members().map(|(id, _)| id).collect();
        let others = members.into_iter().filter(|id| here != Some(*id));
        let asks = others.map(|id| self.ask_status(view.clone(), id));
        let asked = stream::iter(asks)
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect();
        let (mut me, mut asked): (NodeStatus, Vec<Asked>) = join(self.status(), asked).await;
        me.member = here;
        let joined = me.member.and_then(|id| Some(&view.member(id)?.join));
        asked.push(Asked {
            node: me.node.clone(),
            member: me.member,
            http: joined.and_then(|join| join.http.clone()),
            answer: Ok(me.clone()),
        });
        let since = Millis(self.clock.now().0 - TOLD_FOR_MS);
        let mut dead = self.board.deaths();
        dead.retain(|death| death.at_ms >= since);
        ClusterStatus::of(&view, me, asked, dead)
    }

    async fn ask_status(self: &Arc<Self>, view: Arc<View>, id: MemberId) -> Option<Asked> {
        let join = view.member(id)?.join.clone();
        let (api, of) = (self.clone(), join.clone());
        let answer = web::block(move || api.peers.status(&of)).await;
        Some(Asked {
            node: join.node,
            member: Some(id),
            http: join.http,
            answer: answer.unwrap_or_else(|error| Err(error.to_string())),
        })
    }

    /// The current plan; none before the first.
    pub(super) fn plan(&self) -> Option<PlanStatus> {
        let view = self.board.view();
        let name = |(id, member): (MemberId, &tanist_cluster::view::Member)| {
            (id, member.join.node.clone())
        };
        Some(PlanStatus {
            nodes: view.members().map(name).collect(),
            deaths: self.board.deaths(),
            plan: view.plan()?.clone(),
        })
    }
}

impl ClusterStatus {
    fn of(view: &View, me: NodeStatus, mut asked: Vec<Asked>, mut dead: Vec<Death>) -> Self {
        dead.retain(|death| asked.iter().all(|asked| asked.node != death.node));
        asked.sort_by_key(|asked| (asked.member.is_none(), asked.member));
        let all_answer = asked.iter().all(|asked| asked.answer.is_ok());
        let (mut nodes, mut shards) = (Vec::new(), Vec::new());
        let mut unread = BTreeMap::new();
        for asked in asked {
            let (told, error) = match asked.answer {
                Ok(status) => {
                    let node = asked.node.clone();
                    let placed = |line| PlacedShard {
                        node: node.clone(),
                        line,
                    };
                    shards.extend(status.shards.iter().cloned().map(placed));
                    unread.extend(status.unread.clone());
                    (Some(Told::of(status)), None)
                }
                Err(error) => (None, Some(error)),
            };
            nodes.push(NodeLine {
                node: asked.node,
                member: asked.member,
                http: asked.http,
                told,
                error,
            });
        }
        let rank = |it: &PlacedShard| (it.line.shard.clone(), it.line.role, it.node.clone());
        shards.sort_by_cached_key(rank);
        let told = || nodes.iter().filter_map(|node| node.told.as_ref());
        let records_per_second = total(told().map(|told| told.records_per_second));
        let lag = sum(told().map(|told| told.lag_records));
        Self {
            app: me.app,
            plan: view.plan().map(Plan::epoch),
            broker: BrokerStatus {
                address: me.broker.address,
                reachable: told().all(|told| told.broker.reachable),
            },
            records: told().map(|told| told.records).sum(),
            records_per_second,
            broken_shards: broken(&shards).len(),
            lag_records: lag.filter(|_| all_answer),
            unread,
            nodes,
            dead,
            shards,
        }
    }
}

/// The shards that are broken somewhere and at work nowhere, each where it is broken, and why.
fn broken(shards: &[PlacedShard]) -> BTreeMap<&ShardId, (&NodeName, &str)> {
    let at_work = shards.iter().filter(|it| {
        let state = it.line.state.as_ref();
        it.line.role == Role::Active && state.is_some_and(ShardState::is_at_work)
    });
    let at_work: BTreeSet<&ShardId> = at_work.map(|it| &it.line.shard).collect();
    let broken = shards.iter().rev().filter_map(|it| match &it.line.state {
        Some(ShardState::Broken { reason }) => Some((&it.line.shard, (&it.node, reason.as_str()))),
        _ => None,
    });
    broken
        .filter(|(shard, _)| !at_work.contains(shard))
        .collect()
}

impl Told {
    fn of(status: NodeStatus) -> Self {
        Self {
            uptime_ms: status.uptime_ms,
            broker: status.broker,
            commits: status.commits,
            records: status.records,
            records_per_second: status.records_per_second,
            lag_records: status.lag_records,
        }
    }
}

impl fmt::Display for ClusterStatus {
    /// Tables for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.broken(f)?;
        for (topic, unread) in &self.unread {
            writeln!(f, "input topic {topic} {unread}\n")?;
        }
        let plan = self
            .plan
            .map_or_else(|| "no plan yet".to_owned(), |plan| format!("plan {plan}"));
        let contact = match self.broker.reachable {
            true => "",
            false => ", which does not answer",
        };
        let broker = &self.broker.address;
        writeln!(f, "app {}, {plan}; broker {broker}{contact}", self.app)?;
        writeln!(
            f,
            "{} records processed since these nodes started, {} a second, lag {}\n",
            self.records,
            rate(self.records_per_second),
            known(self.lag_records)
        )?;
        self.nodes(f)?;
        self.shards(f)
    }
}

impl ClusterStatus {
    /// What is broken, before all else.
    fn broken(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = broken(&self.shards);
        let Some((_, (_, reason))) = all.first_key_value() else {
            return Ok(());
        };
        let (shards, are) = match all.len() {
            1 => ("SHARD", "IS"),
            _ => ("SHARDS", "ARE"),
        };
        let named = all.iter().take(MAX_NAMED);
        let named: Vec<String> = named
            .map(|(shard, (node, _))| format!("{shard} on {node}"))
            .collect();
        let more = match all.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let count = all.len();
        writeln!(
            f,
            "{count} {shards} {are} BROKEN, and the input waits: {}{more}: {reason}\n",
            named.join(", ")
        )
    }

    fn node_width(&self) -> usize {
        let dead = self.dead.iter().map(|death| &death.node);
        let names = self.nodes.iter().map(|node| &node.node).chain(dead);
        let names = names.map(|name| name.as_str().len());
        names.max().unwrap_or(0).max("node".len())
    }

    fn nodes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.node_width();
        writeln!(
            f,
            "{:width$}  member  active  standby  {:>10}  {:>8}  commits/s  state",
            "node", "records/s", "lag"
        )?;
        for node in &self.nodes {
            let has = |role| {
                let mine = self.shards.iter().filter(|it| it.node == node.node);
                mine.filter(|it| it.line.role == role).count()
            };
            let member = node
                .member
                .map_or_else(|| "-".to_owned(), |id| id.to_string());
            write!(f, "{:width$}  {member:>6}  ", node.node)?;
            match &node.told {
                Some(told) => writeln!(
                    f,
                    "{:>6}  {:>7}  {:>10}  {:>8}  {:>9}  up {:.1} s",
                    has(Role::Active),
                    has(Role::Standby),
                    rate(told.records_per_second),
                    known(told.lag_records),
                    told.commits.per_second,
                    told.uptime_ms as f64 / 1e3,
                )?,
                None => writeln!(
                    f,
                    "{:>6}  {:>7}  {:>10}  {:>8}  {:>9}  {}",
                    "?",
                    "?",
                    "?",
                    "?",
                    "?",
                    node.error.as_deref().unwrap_or_default()
                )?,
            }
        }
        for death in &self.dead {
            let fate = death.fate();
            writeln!(
                f,
                "{:width$}  {:>6}  {none:>6}  {none:>7}  {none:>10}  {none:>8}  {none:>9}  dead: {fate}",
                death.node,
                death.member,
                none = "-"
            )?;
        }
        Ok(())
    }

    fn shards(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.node_width();
        let names = self.shards.iter().map(|it| it.line.shard.to_string().len());
        let shard_width = names.max().unwrap_or(0).max("shard".len());
        write!(
            f,
            "\n{:shard_width$}  {:width$}  {}",
            "shard",
            "node",
            ShardLine::headings()
        )?;
        for PlacedShard { node, line } in &self.shards {
            write!(
                f,
                "\n{:shard_width$}  {node:width$}  {}",
                line.shard,
                line.figures()
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for PlanStatus {
    /// The plan, under the names of its members.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self
            .nodes
            .iter()
            .map(|(id, node)| format!("{id} is {node}"));
        writeln!(f, "members: {}", names.collect::<Vec<_>>().join(", "))?;
        for death in &self.deaths {
            writeln!(f, "{death}")?;
        }
        f.write_str(self.plan.to_string().trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::examples;
    use super::*;

    /// The status of two nodes that have these states of shard `orders/0`.
    fn status(of_n1: (Role, ShardState), of_n2: (Role, ShardState)) -> ClusterStatus {
        let asked = [("n1", of_n1), ("n2", of_n2)].map(|(node, (role, state))| {
            let line = examples::line(ShardId::new("orders", 0), role, Some(state));
            Asked {
                node: node.into(),
                member: None,
                http: None,
                answer: Ok(examples::status(node, vec![line])),
            }
        });
        let me = examples::status("n1", Vec::new());
        ClusterStatus::of(&View::default(), me, asked.into(), Vec::new())
    }

    #[test]
    fn a_shard_that_is_broken_and_at_work_nowhere_is_told_before_all_else() {
        let broken = || ShardState::Broken {
            reason: "the disk is full".into(),
        };
        let one = status(
            (Role::Active, broken()),
            (Role::Standby, ShardState::Standby),
        );
        assert_eq!(one.broken_shards, 1);
        let text = one.to_string();
        let first = "1 SHARD IS BROKEN, and the input waits: orders/0 on n1: the disk is full\n\n";
        assert!(text.starts_with(first), "{text}");
        let moved = status(
            (Role::Active, ShardState::Running),
            (Role::Standby, broken()),
        );
        assert_eq!(moved.broken_shards, 0);
        assert!(moved.to_string().starts_with("app orders"), "{moved}");
    }

    #[test]
    fn who_has_died_is_a_line_until_a_node_of_its_name_is_back() {
        let death = Death {
            member: MemberId(1),
            node: "n2".into(),
            at_ms: Millis(3_723_000),
            epoch: Epoch(4),
            heirs: [("n1".into(), 3)].into(),
        };
        let told = |node: &str| {
            let asked = Asked {
                node: node.into(),
                member: Some(MemberId(7)),
                http: None,
                answer: Ok(examples::status(node, Vec::new())),
            };
            let me = examples::status(node, Vec::new());
            ClusterStatus::of(&View::default(), me, vec![asked], vec![death.clone()]).to_string()
        };
        let fate = "dead: put out by plan 4 at 01:02:03 UTC; its shards went to n1 (3)";
        let text = told("n1");
        let line = text.lines().find(|line| line.starts_with("n2 "));
        assert!(line.is_some_and(|line| line.ends_with(fate)), "{text}");
        assert!(!told("n2").contains("dead"), "{}", told("n2"));
    }

    #[test]
    fn a_column_means_the_same_for_every_role() {
        let line = |role| {
            let mut line = examples::line(ShardId::new("orders", 0), role, None);
            line.copy = Some(tanist_cluster::heartbeat::Copy {
                position: tanist_cluster::Offset(77),
                lag_records: 0,
                is_closed: false,
            });
            line.figures()
        };
        let column = |line: &str, end: usize| line[..end].rsplit(' ').next().map(str::to_owned);
        let end = ShardLine::headings().find("changelog").unwrap() + "changelog".len();
        for role in [Role::Active, Role::Standby] {
            assert_eq!(column(&line(role), end).as_deref(), Some("77"));
        }
    }

    #[test]
    fn partitions_that_nobody_reads_are_told_by_whichever_node_has_noticed() {
        let noticed = |unread| {
            let mut status = examples::status("n2", Vec::new());
            status.unread = unread;
            let asked = Asked {
                node: "n2".into(),
                member: None,
                http: None,
                answer: Ok(status),
            };
            let me = examples::status("n1", Vec::new());
            ClusterStatus::of(&View::default(), me, vec![asked], Vec::new())
        };
        let unread = UnreadPartitions {
            read: 8,
            partitions: 12,
            has_tables: false,
        };
        let text = noticed([("orders".into(), unread)].into()).to_string();
        let first = "input topic orders has 12 partitions by now, of which this app reads the 8";
        assert!(text.starts_with(first), "{text}");
        let nothing = noticed(BTreeMap::new());
        assert!(nothing.to_string().starts_with("app orders"), "{nothing}");
        let json = serde_json::to_string(&nothing).unwrap();
        assert!(!json.contains("unread"), "{json}");
    }
}
