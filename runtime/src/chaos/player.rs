//! [`Player`]: does to a local cluster what a schedule says, as somebody at another terminal would, and notes when.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tanist_actors::port::{Clock, TokioClock};
use tanist_cluster::NodeName;
use tanist_cluster::topology::Topology;
use tokio::process::Command;

use super::pauses::{Happened, Step};
use super::schedule::{Event, Kind};
use super::whole::{Actives, actives, missing};
use crate::http::{NodeStatus, ask_status};
use crate::up::{Act, BROKER, Doors, Order, OrderError};

/// How often it is looked whether the cluster is whole.
const LOOK: Duration = Duration::from_millis(50);

/// See the module.
pub(crate) struct Player {
    pub(crate) app: String,
    /// Asks the nodes how they are.
    pub(crate) agent: ureq::Agent,
    pub(crate) topology: Topology,
    pub(crate) doors: Doors,
    /// Where nodes keep their tables, each in a folder of its name.
    pub(crate) dir: PathBuf,
    /// How a broker is restarted that is not ours.
    pub(crate) restart_broker: Option<String>,
    /// The nodes that are to run.
    pub(crate) nodes: BTreeSet<NodeName>,
    pub(crate) clock: TokioClock,
    /// How long the cluster may take to be whole again.
    pub(crate) patience: Duration,
    /// So many events come before those that are measured.
    pub(crate) warm_up: usize,
    pub(crate) happened: Vec<Happened>,
}

/// Why a player could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stuck {
    /// It did not become whole again.
    #[error("{} s after event {event} ({kind}) the cluster is not whole: {missing}", .patience.as_secs())]
    NotWhole {
        /// Which event of the schedule, from 1.
        event: usize,
        /// What it was.
        kind: Kind,
        /// How long was waited.
        patience: Duration,
        /// What it lacks.
        missing: String,
    },
    /// An order was refused.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// The command that restarts the broker failed.
    #[error("cannot restart the broker: {0}")]
    Restart(String),
    /// A data directory cannot be deleted.
    #[error("cannot delete the data of {node}: {reason}")]
    Disk {
        /// Whose.
        node: NodeName,
        /// What the system says.
        reason: String,
    },
}

impl Player {
    /// Waits for the cluster to be whole, then plays `schedule`. `tell` hears of each event before it is done.
    pub(crate) async fn play(
        &mut self,
        schedule: &[Event],
        tell: impl Fn(usize, &Event),
    ) -> Result<(), Stuck> {
        let mut was_early = false;
        for (number, event) in (1..).zip(schedule) {
            if !event.early {
                self.until_whole(number, event).await?;
                self.clock.sleep(event.after).await;
            }
            tell(number, event);
            let begun = self.happened.len();
            self.carry_out(number, event).await?;
            // An event that comes early blurs what the one before did, too.
            let next_is_early = schedule.get(number).is_some_and(|next| next.early);
            for happened in &mut self.happened[begun..] {
                happened.is_measured =
                    number > self.warm_up && !event.early && !was_early && !next_is_early;
            }
            was_early = event.early;
        }
        if let Some(last) = schedule.last() {
            self.until_whole(schedule.len(), last).await?;
        }
        Ok(())
    }

    async fn carry_out(&mut self, number: usize, event: &Event) -> Result<(), Stuck> {
        let before = self.actives().await;
        let began = self.clock.now().0;
        match event.kind {
            Kind::Add => {
                let added = self.doors.order(Order::Add).await?;
                self.nodes.insert(added.clone());
                self.until_whole(number, event).await?;
                let after = self.actives().await;
                self.note(Step::Done(event.kind), began, moved(&before, &after));
                let began = self.clock.now().0;
                self.doors
                    .order(Order::Node(Act::Stop, added.clone()))
                    .await?;
                self.nodes.remove(&added);
                self.until_whole(number, event).await?;
                self.note(Step::Back(event.kind), began, of(&after, &[added]));
            }
            Kind::RollingRestart => {
                for node in self.nodes.clone() {
                    let (before, began) = (self.actives().await, self.clock.now().0);
                    self.doors
                        .order(Order::Node(Act::Stop, node.clone()))
                        .await?;
                    self.doors
                        .order(Order::Node(Act::Start, node.clone()))
                        .await?;
                    self.until_whole(number, event).await?;
                    let after = self.actives().await;
                    let mut concerned = of(&before, &[node]);
                    concerned.extend(moved(&before, &after));
                    self.note(Step::Done(event.kind), began, concerned);
                }
            }
            Kind::BrokerRestart => {
                self.restart_broker(event).await?;
                self.until_whole(number, event).await?;
                self.note(Step::Done(event.kind), began, partitions(before.keys()));
            }
            kind => self.take_away(number, event, kind, &before, began).await?,
        }
        Ok(())
    }

    /// Nodes go, and come back.
    async fn take_away(
        &mut self,
        number: usize,
        event: &Event,
        kind: Kind,
        before: &Actives,
        began: i64,
    ) -> Result<(), Stuck> {
        let victims = self.victims(event).await;
        let (act, back) = match kind {
            Kind::FreezeShort | Kind::FreezeLong => (Act::Freeze, Act::Thaw),
            Kind::Stop => (Act::Stop, Act::Start),
            _ => (Act::Kill, Act::Start),
        };
        let orders = victims
            .iter()
            .map(|node| self.doors.order(Order::Node(act, node.clone())));
        for done in futures_util::future::join_all(orders).await {
            done?;
        }
        if kind == Kind::KillWithDisk {
            for node in &victims {
                self.lose_disk(node)?;
            }
        }
        self.clock.sleep(event.away).await;
        self.note(Step::Done(kind), began, of(before, &victims));
        let began = self.clock.now().0;
        for node in &victims {
            self.doors.order(Order::Node(back, node.clone())).await?;
        }
        if event.early {
            return Ok(());
        }
        // Not before: who is frozen takes its time to answer. What it says before it knows better does not count.
        let mut before = self.actives().await;
        before.retain(|_, node| !victims.contains(node));
        self.until_whole(number, event).await?;
        let after = self.actives().await;
        self.note(Step::Back(kind), began, moved(&before, &after));
        Ok(())
    }

    /// The embedded one by orders, which keep what it holds; another by the command that was given for it.
    async fn restart_broker(&self, event: &Event) -> Result<(), Stuck> {
        let Some(command) = self.restart_broker.clone() else {
            let broker = || NodeName::from(BROKER);
            self.doors.order(Order::Node(Act::Stop, broker())).await?;
            self.clock.sleep(event.away).await;
            self.doors.order(Order::Node(Act::Start, broker())).await?;
            return Ok(());
        };
        let mut restart = Command::new("sh");
        restart.args(["-c", &command]).stdin(Stdio::null());
        match restart.status().await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Stuck::Restart(format!("{command}: {status}"))),
            Err(error) => Err(Stuck::Restart(format!("{command}: {error}"))),
        }
    }

    fn lose_disk(&self, node: &NodeName) -> Result<(), Stuck> {
        match fs::remove_dir_all(self.dir.join(node.as_str())) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Stuck::Disk {
                node: node.clone(),
                reason: error.to_string(),
            }),
            _ => Ok(()),
        }
    }

    async fn victims(&self, event: &Event) -> Vec<NodeName> {
        let nodes: Vec<NodeName> = self.nodes.iter().cloned().collect();
        let pick = |n: usize| nodes[(event.pick + n) % nodes.len()].clone();
        match event.kind {
            Kind::KillAll => nodes,
            Kind::KillTwo if nodes.len() > 1 => vec![pick(0), pick(1)],
            Kind::KillDirector => {
                let told = self.ask().await;
                let joined = told.iter().filter(|node| node.member.is_some());
                let director = joined.min_by_key(|node| node.member);
                vec![director.map_or_else(|| pick(0), |node| node.node.clone())]
            }
            _ => vec![pick(0)],
        }
    }

    fn note(&mut self, kind: Step, at_ms: i64, concerned: BTreeSet<i32>) {
        self.happened.push(Happened {
            kind,
            at_ms,
            until_ms: self.clock.now().0,
            concerned,
            is_measured: true,
        });
    }

    /// What the nodes say that answer.
    async fn ask(&self) -> Vec<NodeStatus> {
        let addresses = self.doors.nodes.borrow().clone();
        let asked = addresses.into_iter().map(|address| {
            let (agent, app) = (self.agent.clone(), self.app.clone());
            tokio::task::spawn_blocking(move || ask_status(&agent, &app, address))
        });
        let answers = futures_util::future::join_all(asked).await;
        answers.into_iter().flatten().flatten().collect()
    }

    async fn actives(&self) -> Actives {
        actives(&self.ask().await, &self.topology)
    }

    async fn until_whole(&self, number: usize, event: &Event) -> Result<(), Stuck> {
        let begun = self.clock.elapsed();
        loop {
            let told = self.ask().await;
            let Some(missing) = missing(&told, self.nodes.len(), &self.topology) else {
                return Ok(());
            };
            if self.clock.elapsed() - begun > self.patience {
                return Err(Stuck::NotWhole {
                    event: number,
                    kind: event.kind,
                    patience: self.patience,
                    missing,
                });
            }
            self.clock.sleep(LOOK).await;
        }
    }
}

fn partitions<'a>(shards: impl Iterator<Item = &'a tanist_cluster::ShardId>) -> BTreeSet<i32> {
    shards.map(|shard| shard.partition.0).collect()
}

/// The partitions of the shards that `nodes` have.
fn of(actives: &Actives, nodes: &[NodeName]) -> BTreeSet<i32> {
    let theirs = actives.iter().filter(|(_, node)| nodes.contains(node));
    partitions(theirs.map(|(shard, _)| shard))
}

/// The partitions of the shards that are elsewhere now, or had no active before.
fn moved(before: &Actives, after: &Actives) -> BTreeSet<i32> {
    let moved = after
        .iter()
        .filter(|(shard, node)| before.get(*shard) != Some(node));
    partitions(moved.map(|(shard, _)| shard))
}
