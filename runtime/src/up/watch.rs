//! [`watch`]: reads again and again what a node tells of itself.

use std::net::SocketAddr;
use std::time::Duration;

use tanist_actors::port::{Clock, TokioClock};
use tokio::sync::{mpsc, watch as watched};
use tokio::task::{AbortHandle, spawn_blocking};

use super::event::Event;
use super::local::Running;
use super::view::{Fact, Pace};
use crate::http::{AddressFile, ask_app, ask_status, patient};

/// How long a node waits for something to tell before it says that there is nothing.
const EVENTS_WITHIN: Duration = Duration::from_millis(250);
/// How long it is left alone after each answer.
const PAUSE: Duration = Duration::from_millis(20);
/// How often its status is asked for.
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// After how long a node that says nothing is shown as silent.
const PATIENCE: Duration = Duration::from_secs(1);

/// The watch over a process; ends when it is dropped.
pub(crate) struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Watches the node of `app` that runs as `running`, at this `pace`, and says what it tells. Waits while nobody has read
/// what was said before.
pub(crate) fn watch(
    app: &str,
    running: Running,
    pace: watched::Receiver<Pace>,
    facts: mpsc::Sender<Fact>,
) -> Watch {
    let node = Node {
        app: app.to_owned(),
        running,
        pace,
        agent: patient(PATIENCE),
    };
    Watch(tokio::task::spawn_local(node.tell(facts)).abort_handle())
}

#[derive(Clone)]
struct Node {
    app: String,
    running: Running,
    pace: watched::Receiver<Pace>,
    agent: ureq::Agent,
}

impl Node {
    async fn tell(self, facts: mpsc::Sender<Fact>) {
        let clock = TokioClock::system();
        let (mut after, mut status_at) = (0, Duration::ZERO);
        let mut known = None;
        loop {
            clock.sleep(PAUSE).await;
            // The process answers where it did, also when its directory was taken away.
            known = AddressFile::read(&self.running.dir).or(known);
            let Some(address) = known else {
                continue;
            };
            let is_due = clock.elapsed() >= status_at || self.pace.borrow().is_hurried;
            let this = self.clone();
            let asked = spawn_blocking(move || this.ask(address, after, is_due));
            let Ok(asked) = asked.await else {
                return;
            };
            if is_due {
                status_at = clock.elapsed() + STATUS_EVERY;
            }
            for fact in asked.unwrap_or_else(|Silent| vec![self.silent()]) {
                if let Fact::Happened(event) = &fact {
                    after = event.seq;
                }
                if facts.send(fact).await.is_err() {
                    return;
                }
            }
        }
    }

    fn silent(&self) -> Fact {
        Fact::Silent {
            node: self.running.node.clone(),
            pid: self.running.pid,
        }
    }

    /// What has happened after the event `after`, and its status if that `is_due`.
    fn ask(&self, address: SocketAddr, after: u64, is_due: bool) -> Result<Vec<Fact>, Silent> {
        let events = self.events(address, after)?;
        let mut facts: Vec<Fact> = events.into_iter().map(Fact::Happened).collect();
        if is_due {
            let round = self.pace.borrow().round;
            facts.push(Fact::Status {
                round,
                node: self.running.node.clone(),
                pid: self.running.pid,
                address,
                status: Box::new(ask_status(&self.agent, &self.app, address).ok_or(Silent)?),
            });
        }
        Ok(facts)
    }

    fn events(&self, address: SocketAddr, after: u64) -> Result<Vec<Event>, Silent> {
        let wait_ms = match self.pace.borrow().is_hurried {
            true => 0,
            false => EVENTS_WITHIN.as_millis(),
        };
        let url = format!("http://{address}/events?after={after}&wait_ms={wait_ms}");
        let mut response = ask_app(&self.agent, &self.app, &url).ok_or(Silent)?;
        let text = response.body_mut().read_to_string().map_err(|_| Silent)?;
        // Of a line that cannot be understood, nothing can be shown.
        let events = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        Ok(events.collect())
    }
}

/// No answer, or none that a node would give.
struct Silent;
