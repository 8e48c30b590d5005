//! Ctrl-C and SIGTERM: the first is a wish to stop in an orderly way, the second ends the process at once.

use std::io::{Write, stderr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tanist_actors::port::{Clock, TokioClock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::launch::stopped;
use crate::client::Progress;
use crate::error::{Error, Result};
use crate::node::Wish;
use crate::up::restore;

const INTERRUPT: u8 = 2;
const TERMINATE: u8 = 15;
/// How long nothing may be acknowledged, once somebody wants the command to end.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(2);

/// The first signal that has come.
static FIRST: AtomicU8 = AtomicU8::new(INTERRUPT);

/// How it is said what the first signal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// On stderr: nothing else would tell.
    Plainly(&'static str),
    /// In the log, which tells what happens.
    InLog(&'static str),
}

/// Listens from now on.
pub(super) fn listen(say: Say) -> Result<watch::Receiver<Wish>> {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let (wish, wishes) = watch::channel(Wish::Run);
    tokio::spawn(async move {
        let mut come = async || {
            tokio::select! {
                _ = interrupt.recv() => INTERRUPT,
                _ = terminate.recv() => TERMINATE,
            }
        };
        FIRST.store(come().await, Ordering::Relaxed);
        match say {
            // If nobody can read it, nothing is lost.
            Say::Plainly(text) => drop(writeln!(stderr(), "{text}")),
            Say::InLog(text) => tracing::info!("{text}"),
        }
        // An error means that the command has ended by itself.
        let _ = wish.send(Wish::Stop);
        let signal = come().await;
        restore();
        std::process::exit(ended_by(signal).into());
    });
    Ok(wishes)
}

/// The exit code, as a shell counts processes that a signal has ended.
fn ended_by(signal: u8) -> u8 {
    128 + signal
}

/// The error of a command that a signal has ended before it was done.
pub(super) fn interrupted(text: String) -> Error {
    let signal = FIRST.load(Ordering::Relaxed);
    Error::Interrupted {
        code: ended_by(signal),
        text,
    }
}

/// Does what nothing is sent in yet, unless somebody wants the command to end first.
pub(super) async fn before_sending<T>(
    wish: &watch::Receiver<Wish>,
    broker: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        biased;
        done = work => done,
        () = stopped(wish.clone()) => Err(interrupted(format!(
            "interrupted while it waited for a Kafka broker at {broker}: nothing was sent"
        ))),
    }
}

/// Until somebody wants the command to end, and what is on its way is not acknowledged any more; or for ever.
pub(super) async fn in_vain(wish: watch::Receiver<Wish>, progress: impl Fn() -> Progress) {
    stopped(wish).await;
    let clock = TokioClock::system();
    loop {
        let before = progress();
        clock.sleep(ACKNOWLEDGED_WITHIN).await;
        let now = progress();
        if now.is_waiting() && now.acknowledged == before.acknowledged {
            return;
        }
    }
}
