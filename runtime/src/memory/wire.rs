//! [`Wire`]: a client's way to the broker: requests take virtual time, and are repeated as a Kafka client repeats them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tanist_actors::port::Clock;
use tanist_broker::{BrokerError as Refusal, BrokerPort, Millis};
use tokio::sync::Notify;

use super::process::Process;

/// How long a caller waits for a broker that does not answer, or not yet.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a client waits before it repeats what was not answered.
const SILENCE: Duration = Duration::from_millis(50);
/// How long it waits before it repeats what the broker cannot do yet.
const BUSY: Duration = Duration::from_millis(2);

/// A client's way to the broker.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) port: BrokerPort,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) dice: Arc<Mutex<fastrand::Rng>>,
    /// Makes the broker look when it next has something to do: a request may have changed that without changing the log.
    pub(super) upkeep: Arc<Notify>,
    /// Whose requests these are.
    pub(super) process: Arc<Process>,
}

/// What a client does about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// No answer: whether it was done is not known. Ask again.
    Silence,
    /// Not done, and may be later. Ask again.
    Busy,
    /// Asking again will not help.
    Final,
}

fn answer(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::RequestTimedOut | Refusal::NetworkException => Answer::Silence,
        Refusal::ConcurrentTransactions
        | Refusal::UnstableOffsetCommit
        | Refusal::CoordinatorLoadInProgress
        | Refusal::CoordinatorNotAvailable
        | Refusal::NotCoordinator
        | Refusal::NotLeaderOrFollower
        | Refusal::NotEnoughReplicas
        | Refusal::KafkaStorageError => Answer::Busy,
        _ => Answer::Final,
    }
}

/// Whether the request may have been done although it was not answered.
pub(super) fn is_silence(refusal: Refusal) -> bool {
    answer(refusal) == Answer::Silence
}

/// How long to wait before asking again; none if that will not help.
pub(super) fn pause_after(refusal: Refusal) -> Option<Duration> {
    match answer(refusal) {
        Answer::Silence => Some(SILENCE),
        Answer::Busy => Some(BUSY),
        Answer::Final => None,
    }
}

impl Wire {
    /// The broker's time.
    pub(super) fn now(&self) -> Millis {
        Millis(self.clock.now().0)
    }

    /// A number below `end`.
    pub(super) fn chance(&self, end: u64) -> u64 {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        dice.u64(..end)
    }

    /// The time that a message takes, 0 to 2 ms. Never ready at once: here a caller can be killed.
    pub(super) async fn travel(&self) {
        match self.chance(3) {
            0 => tokio::task::yield_now().await,
            millis => tokio::time::sleep(Duration::from_millis(millis)).await,
        }
        self.process.pass().await;
    }

    /// One request, and its answer.
    async fn request<R>(
        &self,
        call: impl FnOnce(&BrokerPort, Millis) -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        self.travel().await;
        let answer = call(&self.port, self.now());
        self.upkeep.notify_one();
        self.travel().await;
        answer
    }

    /// Asks until there is an answer that asking again will not change.
    pub(super) async fn insist<R>(
        &self,
        call: impl Fn(&BrokerPort, Millis) -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        self.repeat(call, pause_after).await
    }

    /// Asks for as long as `pause` says how long to wait before the next time, and for [`LIMIT`] at most.
    pub(super) async fn repeat<R>(
        &self,
        call: impl Fn(&BrokerPort, Millis) -> Result<R, Refusal>,
        pause: impl Fn(Refusal) -> Option<Duration>,
    ) -> Result<R, Refusal> {
        let mut waited = Duration::ZERO;
        loop {
            let refusal = match self.request(&call).await {
                Ok(answer) => return Ok(answer),
                Err(refusal) => refusal,
            };
            let Some(pause) = pause(refusal).filter(|_| waited < LIMIT) else {
                return Err(refusal);
            };
            tokio::time::sleep(pause).await;
            waited += pause;
        }
    }
}
