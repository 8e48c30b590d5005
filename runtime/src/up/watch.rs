//! [`watch`]: reads again and again what a node tells of itself.

use std::net::SocketAddr;
use std::time::Duration;

use tanist_actors::port::{Clock, TokioClock};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_blocking};

use super::event::Event;
use super::local::Running;
use super::view::Fact;
use crate::http::{AddressFile, NodeStatus, is_of_app, patient};

/// How often its events are asked for.
const PERIOD: Duration = Duration::from_millis(250);
/// How often, in periods, its status is.
const STATUS_EVERY: u32 = 2;
/// After how long a node that says nothing is shown as silent.
const PATIENCE: Duration = Duration::from_secs(1);

/// The watch over a process; ends when it is dropped.
pub(crate) struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Watches the node of `app` that runs as `running`, and says what it tells. Waits while nobody has read what was said
/// before.
pub(crate) fn watch(app: &str, running: Running, facts: mpsc::Sender<Fact>) -> Watch {
    let node = Node {
        app: app.to_owned(),
        running,
        agent: patient(PATIENCE),
    };
    Watch(tokio::task::spawn_local(node.tell(facts)).abort_handle())
}

#[derive(Clone)]
struct Node {
    app: String,
    running: Running,
    agent: ureq::Agent,
}

impl Node {
    async fn tell(self, facts: mpsc::Sender<Fact>) {
        let clock = TokioClock::system();
        let (mut round, mut after) = (0u32, 0);
        loop {
            clock.sleep(PERIOD).await;
            let Some(address) = AddressFile::read(&self.running.dir) else {
                continue;
            };
            let this = self.clone();
            let with_status = round.is_multiple_of(STATUS_EVERY);
            round = round.wrapping_add(1);
            let asked = spawn_blocking(move || {
                let events = this.events(address, after)?;
                let status = with_status.then(|| this.status(address)).transpose()?;
                Ok::<_, Silent>((events, status))
            });
            let pid = self.running.pid;
            let node = self.running.node.clone();
            let mut said = Vec::new();
            match asked.await {
                Ok(Ok((events, status))) => {
                    after = events.iter().map(|event| event.seq).max().unwrap_or(after);
                    said.extend(events.into_iter().map(Fact::Happened));
                    said.extend(status.map(|status| Fact::Status {
                        node,
                        pid,
                        address,
                        status: Box::new(status),
                    }));
                }
                Ok(Err(Silent)) => said.push(Fact::Silent { node, pid }),
                Err(_) => return,
            }
            for fact in said {
                if facts.send(fact).await.is_err() {
                    return;
                }
            }
        }
    }

    fn status(&self, address: SocketAddr) -> Result<NodeStatus, Silent> {
        let mut response = self.ask(&format!("http://{address}/status"))?;
        response.body_mut().read_json().map_err(|_| Silent)
    }

    fn events(&self, address: SocketAddr, after: u64) -> Result<Vec<Event>, Silent> {
        let mut response = self.ask(&format!("http://{address}/events?after={after}"))?;
        if response.status() != ureq::http::StatusCode::OK {
            return Ok(Vec::new());
        }
        let text = response.body_mut().read_to_string().map_err(|_| Silent)?;
        // Of a line that cannot be understood, nothing can be shown.
        let events = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        Ok(events.collect())
    }

    fn ask(&self, url: &str) -> Result<ureq::http::Response<ureq::Body>, Silent> {
        let response = self.agent.get(url).call().map_err(|_| Silent)?;
        // Another one's: ours is gone, and its port was given away.
        is_of_app(&response, &self.app)
            .then_some(response)
            .ok_or(Silent)
    }
}

/// No answer, or none that a node would give.
struct Silent;
