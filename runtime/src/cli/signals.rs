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

/// What is said of the two signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Say {
    /// What the first one does.
    pub(super) first: &'static str,
    /// That is said in the log, which tells what happens; else on stderr.
    pub(super) in_log: bool,
    /// What the second one means, which has ended the command when it is said.
    pub(super) second: &'static str,
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
        match say.in_log {
            // If nobody can read it, nothing is lost.
            false => drop(writeln!(stderr(), "{}", say.first)),
            true => tracing::info!("{}", say.first),
        }
        // An error means that the command has ended by itself.
        let _ = wish.send(Wish::Stop);
        let signal = come().await;
        restore();
        let _ = writeln!(stderr(), "ended at once: {}", say.second);
        end_at_once(ended_by(signal))
    });
    Ok(wishes)
}

/// Ends the process as if it had been killed, but with an exit code of its own: the threads of RocksDB and of librdkafka are at
/// work, and what `std::process::exit` destroys first is taken from under them.
pub(super) fn end_at_once(code: u8) -> ! {
    signal_hook::low_level::exit(code.into())
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
