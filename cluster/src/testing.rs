//! A small world for the tests of this crate: nodes that read one control log at their own pace, and as much
//! of Kafka as fences need.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::codec::FORMAT;
use crate::control::{Armed, Entry, Join, Leave, Record, Released, USUAL_WEIGHT};
use crate::ids::{Epoch, Generation, MemberId, Millis, Offset, ShardId};
use crate::permit::{Closing, Permit, ProducerPermit, Review};
use crate::plan::{Draft, Plan, Roles, Why};
use crate::topology::{Group, Topology};
use crate::view::{Applied, View};

pub(crate) fn topology(partitions: u32) -> Topology {
    let group = Group {
        partitions,
        tables: vec!["order_count".into()],
        standbys: 1,
        ..Group::default()
    };
    Topology {
        groups: [("orders".into(), group)].into(),
        ..Topology::default()
    }
}

pub(crate) fn join(node: &str) -> Join {
    Join {
        node: node.into(),
        incarnation: Uuid::from_u128(node.bytes().fold(0, |id, byte| id << 8 | u128::from(byte))),
        workers: 2,
        topology: topology(2),
        build: "0.1.0".into(),
        reads_format: FORMAT,
        http: None,
        machine: None,
        rack: None,
        weight: USUAL_WEIGHT,
        joined_at: Millis(0),
    }
}

pub(crate) fn roles(active: MemberId) -> Roles {
    Roles {
        active,
        why: Why::Alone,
        standbys: BTreeMap::new(),
        warmups: BTreeMap::new(),
    }
}

impl Plan {
    /// Everything active on `me`, and everybody else, all of them fenced before, expelled.
    pub(crate) fn single(
        view: &View,
        me: MemberId,
        shards: impl IntoIterator<Item = ShardId>,
    ) -> Self {
        let others = view.members().filter(|(id, _)| *id != me);
        Draft {
            author: me,
            members: [me].into(),
            fenced: others.map(|(id, member)| (id, member.generation)).collect(),
            roles: shards.into_iter().map(|it| (it, roles(me))).collect(),
        }
        .following(view)
    }
}

/// A plan with something in every field.
pub(crate) fn some_plan() -> Plan {
    let shard = |partition| ShardId::new("orders", partition);
    let mut plan = Draft {
        author: MemberId(4),
        members: [MemberId(4), MemberId(9)].into(),
        fenced: [(MemberId(3), Generation(1))].into(),
        roles: [
            (shard(0), roles(MemberId(4))),
            (shard(1), roles(MemberId(9))),
        ]
        .into(),
    }
    .following(&View::default());
    let second = plan.shards.get_mut(&shard(1)).unwrap();
    second.standbys.insert(MemberId(4), Why::Alone);
    second.warmups.insert(MemberId(12), Why::Alone);
    second.after.insert(MemberId(3));
    plan.expelled.insert(MemberId(2));
    plan
}

/// The shard of a [`Log`].
pub(crate) fn shard() -> ShardId {
    ShardId::new("orders", 0)
}

/// A control log as written by hand, about one shard, and the view of whoever has read all of it.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) view: View,
    pub(crate) next: Offset,
}

impl Log {
    pub(crate) fn write(&mut self, record: Record) -> Applied {
        let at = self.next;
        self.next = at.next();
        self.view.apply(at, Entry::Record(record)).unwrap()
    }

    pub(crate) fn join(&mut self, node: &str) -> MemberId {
        let Applied::Joined(member) = self.write(Record::Join(join(node))) else {
            panic!("{node} did not join");
        };
        self.arm(member, 1);
        member
    }

    pub(crate) fn arm(&mut self, member: MemberId, generation: u32) -> Applied {
        let generation = Generation(generation);
        self.write(Record::Armed(Armed { member, generation }))
    }

    pub(crate) fn release(&mut self, epoch: u64, member: MemberId) -> Applied {
        self.write(Record::Released(Released {
            epoch: Epoch(epoch),
            member,
            shard: shard(),
        }))
    }

    /// A plan that follows what is known now, to be written now or later.
    pub(crate) fn plan(
        &self,
        author: MemberId,
        active: MemberId,
        fenced: &[(MemberId, u32)],
    ) -> Record {
        self.plan_with(author, roles(active), fenced)
    }

    pub(crate) fn plan_with(
        &self,
        author: MemberId,
        roles: Roles,
        fenced: &[(MemberId, u32)],
    ) -> Record {
        let fenced = fenced.iter().map(|&(id, at)| (id, Generation(at)));
        let draft = Draft {
            author,
            members: self.view.members().map(|(id, _)| id).collect(),
            fenced: fenced.collect(),
            roles: [(shard(), roles)].into(),
        };
        Record::Plan(draft.following(&self.view))
    }

    pub(crate) fn permitted(&self) -> Vec<MemberId> {
        let members = self.view.members().map(|(id, _)| id);
        members
            .filter(|&id| self.view.permit(&shard(), id).is_some())
            .collect()
    }
}

/// One process.
#[derive(Default)]
pub(crate) struct Node {
    incarnation: Uuid,
    pub(crate) view: View,
    pub(crate) me: Option<MemberId>,
    generation: Generation,
    producers: Option<ProducerPermit>,
    permits: BTreeMap<ShardId, Permit>,
    closing: BTreeMap<ShardId, Closing>,
    fenced: BTreeMap<MemberId, Generation>,
    planned: Epoch,
    stopped: bool,
}

/// The control log, the nodes, and which members' producers Kafka would accept.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) log: Vec<(Offset, Entry)>,
    pub(crate) nodes: Vec<Node>,
    valid: BTreeSet<MemberId>,
}

impl World {
    fn append(&mut self, entry: Entry) {
        let offset = Offset(self.log.len() as i64);
        self.log.push((offset, entry));
    }

    fn write(&mut self, record: Record) {
        self.append(Entry::Record(record));
    }

    /// Any thing that may happen, chosen by numbers. What makes no sense at this moment is left out.
    pub(crate) fn step(&mut self, what: u8, who: usize, choice: usize) {
        if self.nodes.is_empty() || (what == 0 && self.nodes.len() < 6) {
            return self.start();
        }
        let node = who % self.nodes.len();
        if self.nodes[node].stopped {
            return;
        }
        match what {
            1..=4 => self.read(node, choice % 8 + 1),
            5..=6 => self.work(node),
            7 => self.arm(node),
            8 => self.fence(node, choice),
            9..=10 => self.plan(node, choice),
            11 => self.clean(node),
            12 => self.take_over(node),
            13 => self.leave(node),
            _ => self.read(node, self.log.len()),
        }
    }

    pub(crate) fn start(&mut self) {
        self.start_as(&format!("n{}", self.nodes.len()));
    }

    pub(crate) fn start_as(&mut self, name: &str) {
        let incarnation = join(&format!("{}", self.nodes.len())).incarnation;
        self.nodes.push(Node {
            incarnation,
            ..Node::default()
        });
        self.write(Record::Join(Join {
            incarnation,
            ..join(name)
        }));
    }

    pub(crate) fn read(&mut self, node: usize, count: usize) {
        let node = &mut self.nodes[node];
        let from = node.view.read_to().0 as usize;
        for (offset, entry) in self.log.iter().skip(from).take(count) {
            node.view.apply(*offset, entry.clone()).unwrap();
        }
        node.me = node.me.or_else(|| node.view.find(node.incarnation));
        let Some(me) = node.me else { return };
        for (shard, permit) in std::mem::take(&mut node.permits) {
            match permit.review(&node.view) {
                Review::Kept(permit) => drop(node.permits.insert(shard, permit)),
                Review::Close(closing) => drop(node.closing.insert(shard, closing)),
                Review::Lost(_) => {}
            }
        }
        if node.producers.is_none() {
            node.producers = node.view.producer_permit(me, node.generation);
        }
        let shards: Vec<ShardId> = topology(2).shards().collect();
        for shard in shards {
            let runs = node.permits.contains_key(&shard) || node.closing.contains_key(&shard);
            if let Some(permit) = node.view.permit(&shard, me).filter(|_| !runs) {
                node.permits.insert(shard, permit);
            }
        }
    }

    /// Last commits, and what they allow to be written.
    pub(crate) fn work(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        let Some(me) = node.me else { return };
        let closed = std::mem::take(&mut node.closing).into_values();
        let mut records: Vec<Record> = closed.map(|it| it.done(&node.view)).collect();
        let owed = node
            .view
            .owed(me)
            .filter(|shard| !node.permits.contains_key(shard));
        records.extend(owed.map(|shard| node.view.decline(shard, me)));
        records.into_iter().for_each(|it| self.write(it));
    }

    pub(crate) fn arm(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        let Some(member) = node.me else { return };
        node.generation = node.generation.next();
        node.producers = None;
        let generation = node.generation;
        self.valid.insert(member);
        self.write(Record::Armed(Armed { member, generation }));
    }

    fn fence(&mut self, node: usize, choice: usize) {
        let author = &mut self.nodes[node];
        let me = author.me;
        let others = author.view.members().filter(|(id, _)| Some(*id) != me);
        let others: Vec<_> = others.map(|(id, member)| (id, member.generation)).collect();
        if let Some((id, generation)) = others.get(choice % others.len().max(1)) {
            author.fenced.insert(*id, *generation);
            self.valid.remove(id);
        }
    }

    pub(crate) fn plan(&mut self, node: usize, choice: usize) {
        let node = &mut self.nodes[node];
        let (Some(author), true) = (node.me, node.view.epoch() >= node.planned) else {
            return;
        };
        let members = node.view.members().map(|(id, _)| id);
        let members: Vec<_> = members.filter(|id| !node.fenced.contains_key(id)).collect();
        if members.is_empty() {
            return;
        }
        let active = |shard: usize| members[(choice >> (2 * shard)) % members.len()];
        let shards = topology(2)
            .shards()
            .enumerate()
            .collect::<Vec<_>>()
            .into_iter();
        let plan = Draft {
            author,
            members: members.iter().copied().collect(),
            fenced: std::mem::take(&mut node.fenced),
            roles: shards.map(|(i, shard)| (shard, roles(active(i)))).collect(),
        }
        .following(&node.view);
        node.planned = plan.epoch();
        self.write(Record::Plan(plan));
    }

    fn clean(&mut self, node: usize) {
        let keys = crate::garbage(&self.nodes[node].view);
        keys.into_iter()
            .for_each(|key| self.append(Entry::Tombstone(key)));
    }

    /// The node arms itself, fences everybody else, and plans everything for itself, at once.
    pub(crate) fn take_over(&mut self, node: usize) {
        let it = &self.nodes[node];
        let Some((me, member)) = it.me.and_then(|me| Some((me, it.view.member(me)?))) else {
            return;
        };
        if member.generation == Generation::default() {
            self.arm(node);
        }
        let plan = Plan::single(&self.nodes[node].view, me, topology(2).shards());
        self.valid.retain(|id| !plan.fenced.contains_key(id));
        if self.nodes[node].planned < plan.epoch() {
            self.nodes[node].planned = plan.epoch();
            self.write(Record::Plan(plan));
        }
    }

    pub(crate) fn leave(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        let Some(member) = node.me else { return };
        node.stopped = true;
        node.permits.clear();
        node.closing.clear();
        let incarnation = node.incarnation;
        self.valid.remove(&member);
        self.write(Record::Leave(Leave {
            member,
            incarnation,
            reason: "stopped".into(),
        }));
    }

    /// Everybody wakes up and does what the log asks of it; who was fenced leaves.
    pub(crate) fn settle(&mut self) {
        for _ in 0..3 {
            for node in 0..self.nodes.len() {
                self.read(node, usize::MAX);
                let it = &self.nodes[node];
                let Some(me) = it
                    .me
                    .filter(|me| !it.stopped && it.view.member(*me).is_some())
                else {
                    continue;
                };
                if it.generation == Generation::default() {
                    self.arm(node);
                } else if !self.valid.contains(&me) {
                    self.leave(node);
                }
                self.work(node);
            }
        }
    }

    /// Who could commit for the shard at this moment, whether or not they know that they should not.
    pub(crate) fn writers(&self, shard: &ShardId) -> Vec<MemberId> {
        let able = self.nodes.iter().filter(|node| {
            let permitted = node.permits.contains_key(shard) || node.closing.contains_key(shard);
            permitted && node.producers.is_some()
        });
        able.filter_map(|node| node.me)
            .filter(|me| self.valid.contains(me))
            .collect()
    }

    /// The log, a line for each record.
    pub(crate) fn show(&self) -> String {
        let lines = self.log.iter().map(|(at, entry)| match entry {
            Entry::Record(Record::Plan(plan)) => format!("{at}: {plan}"),
            Entry::Record(Record::Leave(_)) => format!("{at}: leave {}\n", entry.key()),
            Entry::Record(_) => format!("{at}: {}\n", entry.key()),
            Entry::Tombstone(key) => format!("{at}: tombstone of {key}\n"),
        });
        lines.collect()
    }

    /// What a node knows at each offset from `horizon` on, if the log before it was compacted.
    pub(crate) fn views_after_compaction(&self, horizon: usize, tombstones: bool) -> Vec<View> {
        let (old, new) = self.log.split_at(horizon);
        let last: BTreeMap<_, _> = old.iter().map(|(at, entry)| (entry.key(), *at)).collect();
        let stays = |(at, entry): &&(Offset, Entry)| {
            last[&entry.key()] == *at && (tombstones || matches!(entry, Entry::Record(_)))
        };
        let mut view = View::default();
        for (at, entry) in old.iter().filter(stays) {
            view.apply(*at, entry.clone()).unwrap();
        }
        let rest = new.iter().map(|(at, entry)| {
            view.apply(*at, entry.clone()).unwrap();
            view.clone()
        });
        rest.collect()
    }
}
