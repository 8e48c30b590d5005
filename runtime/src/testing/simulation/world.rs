//! [`World`]: carries out a [`Schedule`], and lets the cluster come to rest after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tanist_broker::{FaultRule, RuleId, TopicConfig};
use tanist_cluster::NodeName;

use super::app::{COUNTS, ORDERS, Order, PARTITIONS, app};
use super::schedule::{Event, MAX_NODES, Schedule};
use crate::memory::End;
use crate::testing::EPOCH;
use crate::testing::TestTopic;
use crate::testing::drive::{Choices, Driver};
use crate::testing::node::TestNode;

/// Products and accounts.
const KEYS: u32 = 5;
/// How long the cluster may take to come to rest. A request may be repeated for half a minute before it is given up.
const REST: Duration = Duration::from_secs(100);
/// How often it looks whether it has.
const STEP: Duration = Duration::from_millis(25);

pub(super) struct World {
    pub(super) driver: Driver,
    /// How many records were sent of each product, and of each account.
    pub(super) sent: [BTreeMap<String, u64>; 2],
    dice: fastrand::Rng,
    /// What ends by itself, and when.
    lasting: Vec<(Duration, Lasting)>,
    /// What was done and what happened, for people, by the milliseconds since the start.
    story: Vec<(u128, String)>,
}

#[derive(Clone, Debug)]
enum Lasting {
    Frozen(NodeName),
    Outage,
    Cut(RuleId),
}

impl World {
    pub(super) fn new(schedule: &Schedule) -> Self {
        let shape = &schedule.shape;
        let app = app(shape);
        let choices = Choices {
            nodes: shape.nodes.len(),
            seed: schedule.seed,
            workers: shape.workers,
            ..Choices::of(&app)
        };
        let mut driver = Driver::new(Arc::new(app), choices);
        let names: Vec<NodeName> = driver.nodes().iter().map(|it| it.name.clone()).collect();
        for (name, shape) in names.iter().zip(&shape.nodes) {
            let node = driver.node_mut(name);
            node.clock_ahead_ms = shape.clock_ahead_ms;
            node.is_linked = shape.is_linked;
        }
        let topics = COUNTS.map(|(_, out)| out);
        for topic in topics.into_iter().chain([ORDERS]) {
            let now = driver.broker_now();
            let created =
                driver
                    .broker()
                    .create_topic(topic, PARTITIONS, TopicConfig::default(), now);
            created.expect("a new broker takes topics");
        }
        driver.start_all();
        Self {
            driver,
            sent: Default::default(),
            dice: fastrand::Rng::with_seed(schedule.seed),
            lasting: Vec::new(),
            story: Vec::new(),
        }
    }

    /// Carries out all of it, lets what lasts come to its end, and waits until nothing is left to do.
    pub(super) fn run(&mut self, schedule: &Schedule) -> Result<(), String> {
        for (pause, event) in &schedule.events {
            self.pass(*pause);
            self.carry_out(*event);
        }
        while let Some((until, _)) = self.lasting.first() {
            let left = until.saturating_sub(self.driver.elapsed());
            self.pass(left);
        }
        self.driver.broker().faults().clear();
        self.come_to_rest()
    }

    /// Lets time pass, in which what does not last for ever ends.
    fn pass(&mut self, time: Duration) {
        let until = self.driver.elapsed() + time;
        loop {
            let next = self.lasting.iter().map(|(at, _)| *at).min();
            let next = next.filter(|at| *at <= until);
            let now = self.driver.elapsed();
            self.driver
                .advance(next.unwrap_or(until).saturating_sub(now));
            let Some(next) = next else { return };
            let (over, lasting) = std::mem::take(&mut self.lasting)
                .into_iter()
                .partition(|(at, _)| *at <= next);
            self.lasting = lasting;
            for (_, over) in Vec::<(Duration, Lasting)>::from_iter(over) {
                self.end(&over);
            }
        }
    }

    fn end(&mut self, lasting: &Lasting) {
        self.tell(&format!("{lasting:?} ends"));
        match lasting {
            Lasting::Frozen(node) => self.driver.node(node).process.thaw(),
            Lasting::Outage => self.driver.broker().resume(),
            Lasting::Cut(rule) => self.driver.broker().faults().remove(*rule),
        }
    }

    fn tell(&mut self, what: &str) {
        let now = self.driver.elapsed();
        self.story.push((now.as_millis(), what.to_owned()));
    }

    /// What was done, and what the nodes tell of their last start, in its order.
    pub(super) fn story(&self) -> Vec<(u128, String)> {
        let mut story = self.story.clone();
        for node in self.driver.nodes() {
            let begin = EPOCH.0 + node.clock_ahead_ms;
            story.extend(node.board.events(0).into_iter().map(|it| {
                let shard = it.shard.map(|shard| shard.to_string());
                let of = [shard, it.epoch.map(|epoch| format!("plan {epoch}"))];
                let of = of.into_iter().flatten().collect::<Vec<_>>().join(", ");
                let text = format!("    {}: {:?} {of} {}", node.name, it.kind, it.text);
                ((it.at_ms.0 - begin) as u128, text)
            }));
        }
        story.sort_by_key(|(ms, _)| *ms);
        let now = self.driver.elapsed().as_millis();
        let plan = self.driver.view().plan().map(ToString::to_string);
        story.push((now, format!("the end: {}", plan.unwrap_or_default())));
        for node in self.driver.nodes() {
            for status in node.board.shards() {
                let text = format!("{} has {} {}", node.name, status.shard, status.state);
                story.push((now, text));
            }
        }
        story
    }

    fn last(&mut self, ms: u64, lasting: Lasting) {
        let until = self.driver.elapsed() + Duration::from_millis(ms);
        self.lasting.push((until, lasting));
    }

    /// The `node`-th of those that are so.
    fn pick(&self, node: usize, so: impl Fn(&TestNode) -> bool) -> Option<NodeName> {
        let nodes: Vec<_> = self.driver.nodes().iter().filter(|it| so(it)).collect();
        let picked = nodes.get(node.checked_rem(nodes.len())?)?;
        Some(picked.name.clone())
    }

    fn carry_out(&mut self, event: Event) {
        self.tell(&format!("{event:?}"));
        let runs = TestNode::is_running;
        match event {
            Event::Send { records, takes_ms } => self.send(records, takes_ms),
            Event::Kill { node, disk } => {
                if let Some(node) = self.pick(node, runs) {
                    self.driver.kill(&node);
                    if disk {
                        self.driver.lose_disk(&node);
                    }
                }
            }
            Event::KillAtPoint { node, points } => {
                if let Some(node) = self.pick(node, runs) {
                    self.driver.node(&node).process.end_after(points, End::Dies);
                }
            }
            Event::KillAll => {
                while let Some(node) = self.pick(0, runs) {
                    self.driver.kill(&node);
                }
            }
            Event::Freeze { node, ms } => {
                if let Some(node) = self.pick(node, TestNode::lives) {
                    self.driver.node(&node).process.freeze();
                    self.last(ms, Lasting::Frozen(node));
                }
            }
            Event::FreezeAtPoint { node, points, ms } => {
                if let Some(node) = self.pick(node, TestNode::lives) {
                    let process = &self.driver.node(&node).process;
                    process.end_after(points, End::Freezes);
                    self.last(ms, Lasting::Frozen(node));
                }
            }
            Event::Stop { node } => {
                if let Some(node) = self.pick(node, TestNode::lives) {
                    self.driver.begin_to_stop(&node);
                }
            }
            Event::Start { node } => {
                self.collect();
                if let Some(node) = self.pick(node, |it| !it.is_running()) {
                    self.driver.start(&node);
                }
            }
            Event::Add => {
                if self.driver.nodes().len() < MAX_NODES {
                    let node = self.driver.add();
                    self.driver.start(&node);
                }
            }
            Event::Outage { ms, is_silent } => {
                let broker = self.driver.broker();
                match is_silent {
                    true => broker.pause(),
                    false => broker.stop(),
                }
                self.last(ms, Lasting::Outage);
            }
            Event::Cut { node, ms } => {
                if let Some(node) = self.pick(node, runs) {
                    let cut = FaultRule::new(tanist_broker::Fault::CutBefore);
                    let cut = cut.client(node.as_str()).times(u64::MAX);
                    let rule = self.driver.broker().faults().add(cut);
                    self.last(ms, Lasting::Cut(rule));
                }
            }
            Event::Fault {
                node,
                api,
                fault,
                times,
            } => {
                if let Some(node) = self.pick(node, runs) {
                    let rule = FaultRule::new(fault).api(api).client(node.as_str());
                    self.driver.broker().faults().add(rule.times(times));
                }
            }
        }
    }

    fn send(&mut self, records: u32, takes_ms: u64) {
        let now = self.driver.broker_now();
        if self.driver.broker().topics(now).is_err() {
            return; // it is away
        }
        for _ in 0..records {
            let [product, account] = ["p", "a"].map(|it| format!("{it}{}", self.dice.u32(..KEYS)));
            let order = Order {
                account: account.clone(),
                takes_ms,
            };
            let codec = self.driver.app().topic_codec(ORDERS);
            TestTopic::new(&mut self.driver, ORDERS, codec).send(&product, order);
            for (sent, key) in self.sent.iter_mut().zip([product, account]) {
                *sent.entry(key).or_default() += 1;
            }
        }
    }

    /// Processes that have ended by themselves are gone.
    fn collect(&mut self) {
        while let Some(node) = self.pick(0, |it| it.ended().is_some()) {
            let ended = self.driver.collect(&node);
            self.tell(&format!("{node} had ended: {ended:?}"));
        }
    }

    /// All nodes run, and have nothing left to do.
    fn come_to_rest(&mut self) -> Result<(), String> {
        self.tell("no more of that");
        let begun = self.driver.elapsed();
        loop {
            // One that dies at a point may still do so.
            self.collect();
            while let Some(node) = self.pick(0, |it| !it.is_running()) {
                self.driver.start(&node);
            }
            let settled = self.driver.settle(REST, STEP);
            let all_run = self.driver.nodes().iter().all(TestNode::lives);
            match settled {
                Ok(()) if all_run => return Ok(()),
                Err(rest) if all_run => return Err(rest),
                _ => {}
            }
            if self.driver.elapsed() - begun > 2 * REST {
                return Err("nodes end again and again".to_owned());
            }
        }
    }
}
