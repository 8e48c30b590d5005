//! How long the decisions of a large cluster take: 200 nodes on 4 racks, 10,000 shards in 20 groups, three quarters
//! of them with a standby each. Run it by `bin/bench cluster`. It ends with an error if something takes longer than it
//! may. These are computations: what counts is the time on a CPU (where the system tells it, as Linux does), and the
//! shortest of some runs.
#![allow(clippy::print_stdout, reason = "a command line tool")]
#![allow(clippy::disallowed_methods, reason = "it measures")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tanist_cluster::codec::FORMAT;
use tanist_cluster::control::{Armed, Entry, Join, Record, USUAL_WEIGHT};
use tanist_cluster::placement::{Facts, GroupFacts, NodeFacts, Policy, assign};
use tanist_cluster::plan::Draft;
use tanist_cluster::topology::{Group, Topology};
use tanist_cluster::view::View;
use tanist_cluster::{Generation, GroupName, MemberId, Millis, Offset};
use uuid::Uuid;

const NODES: usize = 200;
const GROUPS: u32 = 20;
const PARTITIONS: u32 = 500;
const RUNS: usize = 7;
/// Enough for copies to be filled, a few at a time, until nothing is left to do.
const MAX_PLANS: usize = 1_000;

const ASSIGN_LIMIT: Duration = Duration::from_millis(100);
const JOIN_LIMIT: Duration = Duration::from_secs(1);

/// The cluster, its control log, and what is too slow.
struct Bench {
    facts: Facts,
    view: View,
    log: Vec<(Offset, String, Vec<u8>)>,
    policy: Policy,
    too_slow: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        let group = |n: u32| {
            let has_tables = !n.is_multiple_of(4);
            let facts = GroupFacts {
                partitions: PARTITIONS,
                has_tables,
                standbys: u32::from(has_tables),
            };
            (GroupName::new(format!("group-{n}")), facts)
        };
        Self {
            facts: Facts {
                groups: (0..GROUPS).map(group).collect(),
                ..Facts::default()
            },
            view: View::default(),
            log: Vec::new(),
            policy: Policy::default(),
            too_slow: Vec::new(),
        }
    }

    fn write(&mut self, record: Record) {
        let at = self.view.read_to();
        self.log
            .push((at, record.key().to_string(), record.encode()));
        let applied = self.view.apply(at, Entry::Record(record));
        applied.expect("offsets rise");
    }

    fn join(&mut self) {
        let member = MemberId(self.view.read_to().0);
        let n = self.facts.nodes.len();
        let rack = Some(format!("rack-{}", n % 4));
        self.write(Record::Join(Join {
            node: format!("node-{n}").as_str().into(),
            incarnation: Uuid::from_u128(member.0 as u128),
            workers: 8,
            topology: self.topology(),
            build: env!("CARGO_PKG_VERSION").into(),
            reads_format: FORMAT,
            http: Some(format!("node-{n}.example.org:8080")),
            machine: None,
            rack: rack.clone(),
            weight: USUAL_WEIGHT,
            joined_at: Millis(1_700_000_000_000),
        }));
        let generation = Generation(1);
        self.write(Record::Armed(Armed { member, generation }));
        let node = NodeFacts {
            weight: USUAL_WEIGHT,
            rack,
            leaving: false,
        };
        self.facts.nodes.insert(member, node);
    }

    fn topology(&self) -> Topology {
        let group = |(name, it): (&GroupName, &GroupFacts)| {
            let group = Group {
                partitions: it.partitions,
                topics: vec![format!("{name}-events")],
                tables: vec![format!("{name}-counts")],
                standbys: it.standbys,
            };
            (name.clone(), group)
        };
        Topology {
            groups: self.facts.groups.iter().map(group).collect(),
            ..Topology::default()
        }
    }

    fn lose(&mut self, member: MemberId) {
        self.facts.nodes.remove(&member);
        for lags in self.facts.lags.values_mut() {
            lags.remove(&member);
        }
    }

    /// The time of [`assign`] as things are.
    fn time(&mut self, what: &str) {
        let runs = (0..RUNS).map(|_| {
            timed(|| {
                let roles = assign(&self.facts, self.view.plan(), &self.policy);
                assert_eq!(roles.len() as u32, GROUPS * PARTITIONS);
            })
        });
        let runs: Vec<Duration> = runs.collect();
        self.report(&format!("assign: {what}"), &runs, ASSIGN_LIMIT);
    }

    fn report(&mut self, what: &str, runs: &[Duration], limit: Duration) {
        let least = runs.iter().min().copied().unwrap_or_default();
        let most = runs.iter().max().copied().unwrap_or_default();
        println!("{what:<44} {:>9.1} to {:>6.1} ms", ms(least), ms(most));
        if least > limit {
            self.too_slow.push(format!(
                "{what}: {:.1} ms, and may take {} ms",
                ms(least),
                limit.as_millis()
            ));
        }
    }

    /// The next plan goes into the log; its copies are made. False if it is no other than the last.
    fn plan(&mut self) -> bool {
        let roles = assign(&self.facts, self.view.plan(), &self.policy);
        let same = self.view.plan().is_some_and(|plan| {
            roles
                .iter()
                .all(|(shard, it)| plan.get(shard).is_some_and(|now| now.roles() == *it))
        });
        if same {
            return false;
        }
        for (shard, it) in &roles {
            let copies = it
                .standbys
                .keys()
                .chain(it.warmups.keys())
                .chain([&it.active]);
            if self.facts.groups[&shard.group].has_tables {
                self.facts
                    .lags
                    .insert(shard.clone(), copies.map(|id| (*id, 0)).collect());
            }
        }
        let draft = Draft {
            author: *self.facts.nodes.keys().next().expect("there are nodes"),
            members: self.facts.nodes.keys().copied().collect(),
            fenced: BTreeMap::new(),
            roles,
        };
        let plan = draft.following(&self.view);
        self.write(Record::Plan(plan));
        true
    }

    fn converge(&mut self) -> usize {
        (0..MAX_PLANS).take_while(|_| self.plan()).count()
    }

    /// What a node reads that joins, once all but the last `plans` are compacted away.
    fn time_joining(&mut self, plans: usize) {
        let is_plan = |key: &str| key.starts_with("plan/");
        let all = self.log.iter().filter(|(_, key, _)| is_plan(key)).count();
        let mut seen = 0;
        let left = self.log.iter().filter(|(_, key, _)| {
            seen += usize::from(is_plan(key));
            !is_plan(key) || seen + plans > all
        });
        let left: Vec<_> = left.cloned().collect();
        let bytes: usize = left
            .iter()
            .map(|(_, key, value)| key.len() + value.len())
            .sum();
        let runs = (0..RUNS).map(|_| {
            timed(|| {
                let mut view = View::default();
                for (at, key, value) in &left {
                    let entry =
                        Entry::decode(key.as_bytes(), Some(value)).expect("it was written so");
                    view.apply(*at, entry.expect("no tombstone"))
                        .expect("offsets rise");
                }
                assert_eq!(view.plan(), self.view.plan());
            })
        });
        let runs: Vec<Duration> = runs.collect();
        let what = format!("join: {} records, {:.1} MB", left.len(), bytes as f64 / 1e6);
        self.report(&what, &runs, JOIN_LIMIT);
    }
}

/// How long it takes, without the time in which others had the CPU.
fn timed(work: impl FnOnce()) -> Duration {
    let (start, before) = (Instant::now(), on_cpu());
    work();
    let elapsed = start.elapsed();
    before
        .zip(on_cpu())
        .map_or(elapsed, |(before, after)| after - before)
}

fn on_cpu() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = stat.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn main() -> ExitCode {
    let mut bench = Bench::new();
    println!(
        "{NODES} nodes, {} shards; the shortest and the longest of {RUNS} runs",
        GROUPS * PARTITIONS
    );
    (0..NODES).for_each(|_| bench.join());
    bench.time("the first plan");
    bench.converge();
    bench.time("nothing to do");
    let lost = *bench.facts.nodes.keys().nth(17).expect("there are 200");
    bench.lose(lost);
    bench.time("a node is lost");
    bench.plan();
    bench.time("its copies are made");
    bench.join();
    bench.time("a node is added");
    let plans = bench.converge();
    println!("{:<44} {plans:>9} plans", "until it has its share");
    bench.time_joining(1);
    bench.time_joining(20);
    let half: Vec<MemberId> = bench.facts.nodes.keys().copied().step_by(2).collect();
    half.into_iter().for_each(|id| bench.lose(id));
    bench.time("half of the nodes are lost");
    bench.plan();
    (0..NODES / 2).for_each(|_| bench.join());
    bench.time("and come back");
    for slow in &bench.too_slow {
        println!("too slow: {slow}");
    }
    match bench.too_slow.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
