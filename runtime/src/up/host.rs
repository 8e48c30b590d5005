//! [`Host`]: the process that has a local cluster: carries orders out, watches the nodes, and shows what happens.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tanist_actors::port::{Clock, LocalPortFuture, TokioClock};
use tanist_cluster::{Millis, NodeName};
use tokio::sync::{mpsc, oneshot, watch as watched};

use super::broker::{BROKER, LocalBroker};
use super::event::Event;
use super::face::Face;
use super::local::{Ended, LocalCluster, Running};
use super::order::{Act, Exit, Order, OrderError};
use super::terminal::Key;
use super::view::{Fact, Pace, View};
use super::watch::{Watch, watch};
use crate::error::{Error, Result};

/// How many facts and orders may wait.
const MAX_WAITING: usize = 256;
/// How often it is looked whether there is something to show.
const TICK: Duration = Duration::from_millis(100);
/// How often the generator's counter is looked at, in ticks.
const SENT_EVERY: u32 = 10;
/// How often, in ticks, lines say how much is done, and logs are looked at.
const TOTALS_EVERY: u32 = 50;

type Outcome = oneshot::Sender<Result<NodeName, OrderError>>;

/// See the module.
pub(crate) struct Host {
    app: String,
    cluster: LocalCluster,
    pub(crate) view: View,
    face: Face,
    clock: TokioClock,
    watches: BTreeMap<NodeName, Watch>,
    facts: (mpsc::Sender<Fact>, mpsc::Receiver<Fact>),
    desk: Desk,
    /// Orders that are done when a node has ended.
    ending: BTreeMap<NodeName, Vec<Outcome>>,
    /// How many records were sent, if there is a generator.
    sent: Option<Box<dyn Fn() -> u64>>,
    tick: LocalPortFuture<'static, ()>,
    ticks: u32,
    /// How nodes have ended that nobody had ordered to, and that were not started again.
    surprises: BTreeMap<NodeName, Surprise>,
    /// No orders are taken any more.
    is_ending: bool,
    /// The directory of the nodes is where it was.
    has_dir: bool,
    pace: watched::Sender<Pace>,
}

/// What a host has in common with those who ask it.
#[derive(Clone)]
pub(crate) struct Doors {
    orders: mpsc::Sender<Request>,
    /// Where nodes answer, the likeliest first.
    pub(crate) nodes: watched::Receiver<Vec<SocketAddr>>,
}

/// The host's side of its doors.
pub(crate) struct Desk {
    orders: mpsc::Receiver<Request>,
    nodes: watched::Sender<Vec<SocketAddr>>,
}

/// An order, and where its outcome goes: which node it was about.
struct Request {
    order: Order,
    done: Outcome,
}

impl Doors {
    /// Has an order carried out, and waits until it is; tells which node it was about.
    pub(crate) async fn order(&self, order: Order) -> Result<NodeName, OrderError> {
        let (done, outcome) = oneshot::channel();
        match self.orders.send(Request { order, done }).await {
            Ok(()) => outcome.await.unwrap_or(Err(OrderError::Ending)),
            Err(_) => Err(OrderError::Ending),
        }
    }
}

/// Both sides.
pub(crate) fn doors() -> (Doors, Desk) {
    let (send_order, orders) = mpsc::channel(MAX_WAITING);
    let (nodes, see_nodes) = watched::channel(Vec::new());
    let doors = Doors {
        orders: send_order,
        nodes: see_nodes,
    };
    (doors, Desk { orders, nodes })
}

/// How a node has ended that nobody had ordered to.
struct Surprise {
    exit: Exit,
    /// With its last words.
    text: String,
}

/// The exit code of a process whose nodes have ended so: theirs, if it is one, and an error.
fn shared_code(exits: impl Iterator<Item = Exit>) -> u8 {
    let codes: BTreeSet<Exit> = exits.collect();
    match codes.first() {
        Some(Exit::Code(code)) if codes.len() == 1 => u8::try_from(*code).unwrap_or(1).max(1),
        _ => 1,
    }
}

/// Why a host stopped to serve.
pub(crate) enum Served<T> {
    /// What it served beside has come to its end.
    Done(T),
    /// Somebody wants it to end.
    Quit,
    /// What was waited for holds.
    Enough,
}

impl Host {
    /// Of a cluster without nodes yet.
    pub(crate) fn new(
        app: &str,
        cluster: LocalCluster,
        view: View,
        face: Face,
        desk: Desk,
    ) -> Self {
        Self {
            app: app.to_owned(),
            cluster,
            view,
            face,
            clock: TokioClock::system(),
            watches: BTreeMap::new(),
            facts: mpsc::channel(MAX_WAITING),
            desk,
            ending: BTreeMap::new(),
            sent: None,
            tick: Box::pin(std::future::ready(())),
            ticks: 0,
            surprises: BTreeMap::new(),
            is_ending: false,
            has_dir: true,
            pace: watched::Sender::default(),
        }
    }

    /// What its broker holds is gone when it ends.
    pub(crate) fn has_own_broker(&mut self) -> bool {
        matches!(self.cluster.broker(), LocalBroker::Embedded { .. })
    }

    /// From now on, shows what the generator has sent.
    pub(crate) fn show_sent(&mut self, sent: impl Fn() -> u64 + 'static) {
        self.sent = Some(Box::new(sent));
    }

    /// Something happened beside the nodes.
    pub(crate) fn tell(&mut self, who: &str, kind: &str, text: &str) {
        let event = Event::of(&who.into(), self.clock.now(), kind, text);
        self.fold(Fact::Happened(event));
    }

    /// Says something where there is no place for lines, at once.
    pub(crate) fn notice(&mut self, text: &str) {
        self.face.notice(text.to_owned());
    }

    /// Carries an order out, and says which node it was about.
    pub(crate) fn carry_out(&mut self, order: &Order) -> Result<NodeName, OrderError> {
        if let Order::Node(act, node) = order
            && node.as_str() == BROKER
        {
            self.cluster.broker().carry_out(*act)?;
            self.tell(BROKER, act.done(), "");
            return Ok(node.clone());
        }
        let started = self.cluster.carry_out(order)?;
        let (act, node) = match (order, &started) {
            (Order::Node(act, node), _) => (*act, node.clone()),
            (Order::Add, Some(running)) => (Act::Start, running.node.clone()),
            (Order::Add, None) => return Err(OrderError::Ending),
        };
        self.fold(Fact::Done(node.clone(), act));
        if let Some(running) = started {
            self.started(running);
        }
        Ok(node)
    }

    fn started(&mut self, running: Running) {
        let pace = self.pace.subscribe();
        let watch = watch(&self.app, running.clone(), pace, self.facts.0.clone());
        self.watches.insert(running.node.clone(), watch);
        self.surprises.remove(&running.node);
        self.fold(Fact::Started(running));
    }

    fn ended(&mut self, ended: Ended) {
        // It may be why.
        self.look_at_dir();
        self.watches.remove(&ended.node);
        for outcome in self.ending.remove(&ended.node).unwrap_or_default() {
            // Who asked may have given up.
            let _ = outcome.send(Ok(ended.node.clone()));
        }
        if !ended.is_expected {
            let Ended {
                node,
                exit,
                last_lines,
                ..
            } = &ended;
            let log = self.cluster.log(node);
            let mut text = format!(
                "{node} has ended with {exit}; its log {} ends so:",
                log.display()
            );
            for line in last_lines {
                text.push_str("\n    ");
                text.push_str(line);
            }
            let exit = *exit;
            self.surprises.insert(node.clone(), Surprise { exit, text });
        }
        self.fold(Fact::Ended(ended));
    }

    fn request(&mut self, request: Request) {
        let Request { order, done } = request;
        let outcome = match self.is_ending {
            true => Err(OrderError::Ending),
            false => self.carry_out(&order),
        };
        match (&order, outcome) {
            (Order::Node(act, _), Ok(node)) if act.is_an_end() && node.as_str() != BROKER => {
                self.ending.entry(node).or_default().push(done);
            }
            // Who asked may have given up.
            (_, outcome) => drop(done.send(outcome)),
        }
    }

    fn fold(&mut self, fact: Fact) {
        self.view.fold(self.now(), fact);
        let is_hurried = self.pace.borrow().is_hurried;
        self.set_pace(is_hurried);
        let addresses = self.view.addresses();
        self.desk.nodes.send_if_modified(|known| {
            let is_new = *known != addresses;
            *known = addresses;
            is_new
        });
    }

    fn set_pace(&self, is_hurried: bool) {
        let round = self.view.round();
        self.pace.send_replace(Pace { round, is_hurried });
    }

    /// From now on it is waited until all is committed that was sent before.
    pub(crate) fn begin_draining(&mut self) {
        self.view.restart_rounds();
        self.set_pace(true);
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Serves until `beside` is done, somebody wants it to end, or `enough` holds.
    pub(crate) async fn serve<T>(
        &mut self,
        beside: impl Future<Output = T>,
        enough: impl Fn(&Self) -> bool,
    ) -> Result<Served<T>> {
        let mut beside = std::pin::pin!(beside);
        while !enough(self) {
            tokio::select! {
                done = &mut beside => return Ok(Served::Done(done)),
                ended = self.cluster.ended() => ended.into_iter().for_each(|ended| self.ended(ended)),
                Some(fact) = self.facts.1.recv() => self.fold(fact),
                Some(request) = self.desk.orders.recv() => self.request(request),
                key = self.face.key() => match key {
                    Key::Quit => return Ok(Served::Quit),
                    key => self.pressed(key),
                },
                () = &mut self.tick => self.tick()?,
            }
        }
        Ok(Served::Enough)
    }

    fn tick(&mut self) -> Result<()> {
        self.tick = self.clock.sleep(TICK);
        if self.ticks.is_multiple_of(SENT_EVERY) {
            self.count_sent();
            self.look_at_dir();
        }
        if self.ticks % TOTALS_EVERY == TOTALS_EVERY - 1 {
            self.cluster.bound_logs();
            if self.face.is_lines() {
                self.tell("all", "totals", &self.view.totals());
            }
        }
        self.ticks = self.ticks.wrapping_add(1);
        let settled = self.view.settle(self.now());
        self.face.show(&settled, &self.view)
    }

    /// Says once that the directory of the nodes was taken away.
    fn look_at_dir(&mut self) {
        if self.has_dir && !self.cluster.has_dir() {
            self.has_dir = false;
            let text = format!(
                "{} was deleted or moved away: the nodes end when they notice; start it anew",
                self.cluster.dir().display()
            );
            self.notice(&text);
            self.tell("all", "data_gone", &text);
        }
    }

    /// Looks at the counter of the generator.
    pub(crate) fn count_sent(&mut self) {
        if let Some(sent) = &self.sent {
            let sent = sent();
            self.fold(Fact::Sent(sent));
        }
    }

    fn pressed(&mut self, key: Key) {
        let Some(order) = self.face.order(key, &self.view) else {
            return;
        };
        let notice = match self.carry_out(&order) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        self.face.notice(notice);
    }

    /// Whether no node is left, and all have ended by themselves.
    pub(crate) fn is_deserted(&self) -> bool {
        !self.cluster.is_alive() && self.surprises.len() == self.view.len()
    }

    /// The ends of nodes that nobody had ordered, as an error; none if there were none.
    pub(crate) fn surprise(&self) -> Option<Error> {
        let gone = (!self.has_dir).then(|| {
            let dir = self.cluster.dir().display();
            format!("{dir} was deleted or moved away while the nodes ran; start it anew")
        });
        let told = self.surprises.values().map(|it| it.text.clone());
        let all: Vec<String> = gone.into_iter().chain(told).collect();
        (!all.is_empty()).then(|| Error::NodesEnded {
            code: shared_code(self.surprises.values().map(|it| it.exit)),
            text: all.join("\n"),
        })
    }

    /// Stops all nodes in an orderly way; kills those that have not ended after `patience`, or at once if somebody
    /// wants that.
    pub(crate) async fn stop_all(&mut self, patience: Duration) -> Result<()> {
        self.is_ending = true;
        // Those from here on are another matter: all was to end.
        self.surprises.clear();
        // A frozen one cannot stop; an order that a node's state speaks against is not needed.
        self.order_all(Act::Thaw);
        self.order_all(Act::Stop);
        let none_is_left = |host: &Self| !host.cluster.is_alive();
        let over = self.clock.sleep(patience);
        let mut served = self.serve(over, none_is_left).await?;
        while !matches!(served, Served::Enough) {
            self.order_all(Act::Kill);
            served = self.serve(std::future::pending(), none_is_left).await?;
        }
        let mut settled = self.view.settle(Millis(i64::MAX));
        // What has moved is told when nothing more comes.
        settled.extend(self.view.settle(Millis(i64::MAX)));
        self.face.show(&settled, &self.view)
    }

    fn order_all(&mut self, act: Act) {
        let nodes: Vec<NodeName> = self.cluster.nodes().map(|(node, _)| node.clone()).collect();
        for node in nodes {
            let _ = self.carry_out(&Order::Node(act, node));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_all_nodes_is_that_of_the_process_and_one_that_they_do_not_share_is_1() {
        for (exits, expected) in [
            (&[Exit::Code(2), Exit::Code(2)][..], 2),
            (&[Exit::Code(3)], 3),
            (&[Exit::Code(2), Exit::Code(3)], 1),
            (&[Exit::Code(2), Exit::Signal(9)], 1),
            (&[Exit::Signal(9)], 1),
            (&[Exit::Code(0)], 1),
            (&[], 1),
        ] {
            assert_eq!(shared_code(exits.iter().copied()), expected, "{exits:?}");
        }
    }
}
