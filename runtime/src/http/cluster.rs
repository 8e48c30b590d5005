//! [`ClusterStatus`]: what all nodes of an app tell of themselves, put together by whichever of them is asked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use actix_web::web;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tanist_cluster::plan::Plan;
use tanist_cluster::view::View;
use tanist_cluster::{Epoch, MemberId, NodeName};

use super::Api;
use super::status::{BrokerStatus, CommitStatus, NodeStatus, Role, ShardLine, known, sum};

/// How many nodes are asked at the same time.
const AT_ONCE: usize = 64;

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClusterStatus {
    pub(crate) app: String,
    /// The current plan; none before the first.
    pub(crate) plan: Option<Epoch>,
    pub(crate) broker: BrokerStatus,
    /// Records handled by the shards where they are now.
    pub(crate) records: u64,
    pub(crate) records_per_second: f64,
    /// Records that wait in all inputs; none if somebody does not know or does not answer.
    pub(crate) lag_records: Option<u64>,
    /// In the order in which they joined.
    pub(crate) nodes: Vec<NodeLine>,
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
    pub(crate) records_per_second: f64,
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
        let mut me = self.status().await;
        // This node may join while it is asked; it is one line even so.
        me.member = me.member.filter(|id| view.member(*id).is_some());
        let members: Vec<MemberId> = view.members().map(|(id, _)| id).collect();
        let others = members.into_iter().filter(|id| me.member != Some(*id));
        let asks = others.map(|id| self.ask_status(view.clone(), id));
        let mut asked: Vec<Asked> = stream::iter(asks)
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        let join = me.member.and_then(|id| Some(&view.member(id)?.join));
        asked.push(Asked {
            node: me.node.clone(),
            member: me.member,
            http: join.and_then(|join| join.http.clone()),
            answer: Ok(me.clone()),
        });
        ClusterStatus::of(&view, me, asked)
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
            plan: view.plan()?.clone(),
        })
    }
}

impl ClusterStatus {
    fn of(view: &View, me: NodeStatus, mut asked: Vec<Asked>) -> Self {
        asked.sort_by_key(|asked| (asked.member.is_none(), asked.member));
        let all_answer = asked.iter().all(|asked| asked.answer.is_ok());
        let (mut nodes, mut shards) = (Vec::new(), Vec::new());
        for asked in asked {
            let (told, error) = match asked.answer {
                Ok(status) => {
                    let node = asked.node.clone();
                    let placed = |line| PlacedShard {
                        node: node.clone(),
                        line,
                    };
                    shards.extend(status.shards.iter().cloned().map(placed));
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
        let rate: f64 = told().map(|told| told.records_per_second).sum();
        let lag = sum(told().map(|told| told.lag_records));
        Self {
            app: me.app,
            plan: view.plan().map(Plan::epoch),
            broker: BrokerStatus {
                address: me.broker.address,
                reachable: told().all(|told| told.broker.reachable),
            },
            records: told().map(|told| told.records).sum(),
            // Of sums of tenths, only the tenths mean something.
            records_per_second: (rate * 10.0).round() / 10.0,
            lag_records: lag.filter(|_| all_answer),
            nodes,
            shards,
        }
    }
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
            "{} records processed, {} a second, lag {}\n",
            self.records,
            self.records_per_second,
            known(self.lag_records)
        )?;
        self.nodes(f)?;
        self.shards(f)
    }
}

impl ClusterStatus {
    fn node_width(&self) -> usize {
        let names = self.nodes.iter().map(|node| node.node.as_str().len());
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
                    told.records_per_second,
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
        Ok(())
    }

    fn shards(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.node_width();
        let names = self.shards.iter().map(|it| it.line.shard.to_string().len());
        let shard_width = names.max().unwrap_or(0).max("shard".len());
        write!(
            f,
            "\n{:shard_width$}  {:width$}  role     {:>10}  {:>8}  {:>12}  state",
            "shard", "node", "records/s", "lag", "position"
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
        f.write_str(self.plan.to_string().trim_end())
    }
}
