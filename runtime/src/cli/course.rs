//! [`Course`]: what becomes of a local cluster, from its first node to its last; and [`Summary`], the last word.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tanist_actors::port::{Broker, BrokerError, Clock, TokioClock};
use tokio::sync::watch;

use super::launch::{connect, stopped};
use super::load::Load;
use crate::error::{Error, Result};
use crate::kafka::Kafka;
use crate::node::Wish;
use crate::settings::Settings;
use crate::up::{Host, Pauses, Served, thousands};

/// How long nodes may take to hand their shards over and to end.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(60);
/// The same without a broker, without which they cannot commit what they hold: they lose nothing that is committed.
const STOP_WITHOUT_BROKER: Duration = Duration::from_secs(5);
/// How long they may take to process what was sent.
const DRAIN_WITHIN: Duration = Duration::from_secs(30);
/// How long a broker may take to answer, while all that is left to do waits for it; and how often it is asked.
const BROKER_WITHIN: Duration = Duration::from_secs(3);
const ASK_EVERY: Duration = Duration::from_millis(500);
/// A topic that there is wherever offsets are committed: it is asked for to see whether a broker answers.
const PROBED: &str = "__consumer_offsets";

/// What the first Ctrl-C does, at once.
pub(super) const STOPPING: &str =
    "stopping: when all that was sent is committed; once more ends it at once";
/// What the second one has done.
pub(super) const ENDED_AT_ONCE: &str = "the nodes are killed; what is not committed is processed again when nodes run on the \
                                        same broker, if that keeps it: the in-memory one does not";

/// See the module.
pub(super) struct Course {
    pub(super) host: Host,
    load: Option<Load>,
    settings: Settings,
    /// Why it is not known that all is committed, once that is so.
    doubt: Option<String>,
    /// Somebody has had enough of waiting.
    is_hurried: bool,
    /// The broker does not answer.
    is_alone: bool,
}

impl Course {
    /// Of a cluster whose broker is the one of `settings`.
    pub(super) fn new(host: Host, load: Option<Load>, settings: Settings) -> Self {
        Self {
            host,
            load,
            settings,
            doubt: None,
            is_hurried: false,
            is_alone: false,
        }
    }

    pub(super) async fn run(
        mut self,
        seconds: Option<u64>,
        wish: watch::Receiver<Wish>,
    ) -> Result<Summary> {
        let clock = TokioClock::system();
        let over = async {
            tokio::select! {
                () = stopped(wish) => {}
                () = after(&clock, seconds) => {}
            }
        };
        let failed = self.work(over).await?;
        self.host.count_sent();
        let all_committed = match failed {
            None => self.drain(&clock).await?,
            Some(_) => None,
        };
        let mut summary = Summary {
            seconds: 0.0,
            nodes: self.host.view.len(),
            sent: self.host.view.sent(),
            all_committed,
            doubt: self.doubt.take(),
            pauses: None,
        };
        self.stop().await?;
        summary.seconds = clock.elapsed().as_secs_f64();
        summary.pauses = self.host.view.pauses();
        match failed.or(self.host.surprise()) {
            Some(error) => Err(error),
            None => Ok(summary),
        }
    }

    /// Lets the nodes work, until it is `over` or somebody has had enough; then ends the load. The answer is why it could
    /// not go on.
    pub(super) async fn work(&mut self, over: impl Future<Output = ()>) -> Result<Option<Error>> {
        let mut over = std::pin::pin!(over);
        loop {
            let beside = async {
                tokio::select! {
                    () = &mut over => None,
                    ended = ended(&mut self.load) => Some(ended),
                }
            };
            match self.host.serve(beside, Host::is_deserted).await? {
                Served::Done(None) | Served::Quit => break,
                Served::Enough => return Ok(self.host.surprise()),
                Served::Done(Some(ended)) => self.tell(ended),
            }
        }
        self.host.notice(STOPPING);
        self.end_load().await?;
        Ok(None)
    }

    /// Ends the load when the broker has acknowledged what it has sent, or does not answer.
    async fn end_load(&mut self) -> Result<()> {
        let Some(load) = self.load.as_mut().filter(|load| !load.has_ended()) else {
            return Ok(());
        };
        load.stop();
        let beside = async {
            tokio::select! {
                biased;
                ended = load.ended() => Ok(ended),
                lost = lost(&self.settings) => Err(lost),
            }
        };
        match self.host.serve(beside, |_| false).await? {
            Served::Done(Ok(ended)) => self.tell(ended),
            Served::Done(Err(error)) => {
                load.abort();
                self.give_up_broker(&error);
            }
            Served::Quit | Served::Enough => {
                load.abort();
                self.hurry();
            }
        }
        Ok(())
    }

    /// How many records the generator has sent, and the broker has acknowledged.
    pub(super) fn sent(&self) -> u64 {
        self.load.as_ref().map_or(0, |load| load.counter()())
    }

    fn tell(&mut self, ended: Result<()>) {
        match ended {
            Ok(()) => self.host.tell("generator", "done", ""),
            Err(error) => self.host.tell("generator", "failed", &error.to_string()),
        }
    }

    /// Waits until all that was sent is committed. The answer is whether it is; none if that cannot be known.
    pub(super) async fn drain(&mut self, clock: &TokioClock) -> Result<Option<bool>> {
        if self.doubt.is_some() {
            return Ok(None);
        }
        // What others have sent to a broker that keeps it can wait.
        if self.host.view.sent().unwrap_or_default() == 0 && !self.host.has_own_broker() {
            self.look_for_broker().await?;
            return Ok(None);
        }
        if let Some(why) = self.host.view.hindrance() {
            self.doubt(&why);
            return Ok(None);
        }
        self.host.tell(
            "all",
            "draining",
            "until what was sent is processed and committed",
        );
        self.host.begin_draining();
        let is_over = |host: &Host| host.view.is_drained() || host.view.hindrance().is_some();
        let beside = async {
            tokio::select! {
                () = clock.sleep(DRAIN_WITHIN) => None,
                lost = lost(&self.settings) => Some(lost),
            }
        };
        let served = self.host.serve(beside, is_over).await?;
        if self.host.view.is_drained() {
            return Ok(Some(true));
        }
        match served {
            Served::Done(Some(error)) => {
                self.give_up_broker(&error);
                return Ok(None);
            }
            Served::Done(None) => self.doubt(&format!(
                "the nodes were not done with it after {DRAIN_WITHIN:?}"
            )),
            Served::Quit => self.hurry(),
            Served::Enough => self.doubt(&self.host.view.hindrance().unwrap_or_default()),
        }
        Ok(Some(false))
    }

    /// Without a broker, nodes can commit nothing of what others have sent.
    async fn look_for_broker(&mut self) -> Result<()> {
        let probe = Probe::new(&self.settings);
        match self.host.serve(probe.ask(), |_| false).await? {
            Served::Done(Err(error)) => self.give_up_broker(&error),
            Served::Quit => self.hurry(),
            Served::Done(Ok(())) | Served::Enough => {}
        }
        Ok(())
    }

    async fn stop(&mut self) -> Result<()> {
        let patience = match (self.is_hurried, self.is_alone) {
            (true, _) => Duration::ZERO,
            (false, true) => STOP_WITHOUT_BROKER,
            (false, false) => STOP_WITHIN,
        };
        self.host.stop_all(patience).await
    }

    fn give_up_broker(&mut self, error: &BrokerError) {
        self.is_alone = true;
        self.doubt(&error.to_string());
    }

    fn hurry(&mut self) {
        self.is_hurried = true;
        self.doubt("it was not waited for");
    }

    /// It will not be known that all is committed.
    fn doubt(&mut self, why: &str) {
        let then = match (self.is_hurried, self.is_alone) {
            (true, _) => "the nodes are killed".to_owned(),
            (false, true) => format!(
                "the nodes cannot commit any more, and are killed if they have not ended in {STOP_WITHOUT_BROKER:?}"
            ),
            (false, false) => "the nodes end now".to_owned(),
        };
        self.host
            .tell("all", "not_drained", &format!("{why}; {then}"));
        self.host.notice(&format!("not all is committed: {why}"));
        self.doubt = Some(why.to_owned());
    }
}

/// Until no broker has answered for a while, which is the error.
async fn lost(settings: &Settings) -> BrokerError {
    let (probe, clock) = (Probe::new(settings), TokioClock::system());
    loop {
        if let Err(error) = probe.ask().await {
            return error;
        }
        clock.sleep(ASK_EVERY).await;
    }
}

/// Asks a broker whether it is there, and does not wait for long.
struct Probe {
    address: String,
    kafka: Result<Kafka>,
}

impl Probe {
    fn new(settings: &Settings) -> Self {
        let mut asking = settings.clone();
        asking.broker_timeout = Some(BROKER_WITHIN);
        Self {
            kafka: connect(&asking),
            address: asking.broker,
        }
    }

    async fn ask(&self) -> Result<(), BrokerError> {
        let reason = match &self.kafka {
            Err(error) => error.to_string(),
            Ok(kafka) => match kafka.topics(&[Arc::from(PROBED)]).await {
                Err(BrokerError::Unreachable { .. }) => format!("none has for {BROKER_WITHIN:?}"),
                // A refusal, by its access rules, is an answer.
                _ => return Ok(()),
            },
        };
        Err(BrokerError::Unreachable {
            address: self.address.clone(),
            reason,
        })
    }
}

/// Until the load ends, if there is one.
async fn ended(load: &mut Option<Load>) -> Result<()> {
    match load {
        Some(load) => load.ended().await,
        None => std::future::pending().await,
    }
}

async fn after(clock: &TokioClock, seconds: Option<u64>) {
    match seconds {
        Some(seconds) => clock.sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

/// See the module.
#[derive(Serialize)]
pub(super) struct Summary {
    seconds: f64,
    nodes: usize,
    /// Records that the generator has sent.
    sent: Option<u64>,
    /// Whether they are processed and committed; none if that cannot be known.
    all_committed: Option<bool>,
    /// Why that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    doubt: Option<String>,
    pauses: Option<Pauses>,
}

impl Summary {
    /// An error if not all that was sent is known to be committed.
    pub(super) fn verdict(self) -> Result<()> {
        match self.doubt {
            Some(doubt) => Err(Error::NotCommitted(format!(
                "it is not known that all that was sent is processed and committed: {doubt}"
            ))),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "stopped after {:.1} s, {} nodes",
            self.seconds, self.nodes
        )?;
        if let Some(pauses) = &self.pauses {
            let Pauses {
                moves,
                median_ms,
                longest_ms,
            } = pauses;
            write!(
                f,
                "; {moves} moves of shards: median {median_ms} ms, longest {longest_ms} ms"
            )?;
        }
        let Some(sent) = self.sent.filter(|sent| *sent > 0).map(thousands) else {
            return Ok(());
        };
        match self.all_committed {
            Some(true) => write!(
                f,
                "\nAll of the {sent} records that were sent are processed and committed."
            ),
            _ => write!(f, "\n{sent} records were sent."),
        }
    }
}
