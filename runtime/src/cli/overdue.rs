//! [`watch`]: a handler that blocks its thread cannot be cut off, and its node would neither go on nor end: its process does,
//! as if it had been killed, and the others fence it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use super::signals::end_at_once;
use crate::error::{Error, Result};
use crate::node::{Board, Wish};
use crate::settings::Settings;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);

/// What an orderly end takes at most beside the waits that have settings.
const MARGIN: Duration = Duration::from_secs(15);

/// How long things may take.
#[derive(Clone, Copy)]
struct Limits {
    /// Longer than any orderly end takes: the shards go elsewhere, what is in hand is finished and committed, and once more
    /// by new producers.
    ending: Duration,
    /// For a thread that does not answer.
    silence: Option<Duration>,
}

impl Limits {
    fn of(settings: &Settings) -> Self {
        Self {
            ending: settings.cluster.leave_timeout
                + 2 * (settings.finish_timeout + settings.commit_timeout)
                + MARGIN,
            silence: settings.max_poll_interval,
        }
    }
}

/// What is seen at a look.
struct Seen {
    /// The node is to end.
    is_ending: bool,
    /// What is so much overdue at one of its workers that the process has to end.
    overdue: Option<String>,
    /// How often the node's own thread has had its turn.
    turns: u64,
}

/// Since when, in looks: so a process that was frozen, or a machine that slept, has not waited meanwhile.
#[derive(Default)]
struct Waits {
    ending: Duration,
    silence: Duration,
    turns: u64,
}

impl Waits {
    /// Why the process has to end, if it has to.
    fn look(&mut self, seen: Seen, limits: Limits) -> Option<String> {
        if seen.is_ending {
            self.ending += LOOK;
        }
        self.silence = match seen.turns == self.turns {
            true => self.silence + LOOK,
            false => Duration::ZERO,
        };
        self.turns = seen.turns;
        let Limits { ending, silence } = limits;
        if self.ending >= ending {
            return Some(format!(
                "the node has not ended within {ending:?}, as when a handler blocks its thread"
            ));
        }
        let silence = silence.filter(|silence| self.silence >= *silence);
        seen.overdue.or_else(|| {
            Some(format!(
                "the node has done nothing for {:?}, as when it was put out, and a handler that blocks its thread keeps it \
                 from dropping its shards",
                silence?
            ))
        })
    }
}

/// A node that is looked after.
#[must_use]
pub(super) struct Watched {
    _node: mpsc::Sender<Infallible>,
}

/// Looks after the node of this process, until the answer is dropped. From a thread of its own: a node that drops its workers
/// waits for theirs.
pub(super) fn watch(
    settings: &Settings,
    wish: watch::Receiver<Wish>,
    board: Arc<Board>,
) -> Result<Watched> {
    let limits = Limits::of(settings);
    let turns = Arc::new(AtomicU64::new(0));
    let counted = turns.clone();
    tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(LOOK).await;
        }
    });
    let mut waits = Waits::default();
    let (watched, ended) = mpsc::channel();
    let look = move || {
        while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            let seen = Seen {
                // An error means that nobody is left who could say so: that is a wish, too.
                is_ending: *wish.borrow() == Wish::Stop || wish.has_changed().is_err(),
                overdue: board.overdue(),
                turns: turns.load(Ordering::Relaxed),
            };
            if let Some(why) = waits.look(seen, limits) {
                end(&why);
            }
        }
    };
    thread::Builder::new().name("overdue".into()).spawn(look)?;
    Ok(Watched { _node: watched })
}

fn end(why: &str) -> ! {
    let overdue = Error::NotCommitted(format!(
        "{why}: the process ends as if it had been killed, and what was not committed is processed again, by the nodes that \
         take its shards over"
    ));
    tracing::error!("{overdue}");
    end_at_once(overdue.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it looks until the process ends, of a hundred times; and why that is.
    fn looks(limits: Limits, seen: impl Fn(u64) -> Seen) -> Option<(u64, String)> {
        let mut waits = Waits::default();
        (1..=100).find_map(|look| Some((look, waits.look(seen(look), limits)?)))
    }

    #[test]
    fn a_process_is_ended_when_it_does_not_end_answer_or_go_on_and_never_else() {
        let second = Duration::from_secs(1);
        let limits = Limits {
            ending: 2 * second,
            silence: Some(3 * second),
        };
        let patient = Limits {
            silence: None,
            ..limits
        };
        let seen = |is_ending, overdue: Option<&str>, turns| Seen {
            is_ending,
            overdue: overdue.map(str::to_owned),
            turns,
        };
        assert_eq!(looks(limits, |look| seen(false, None, look)), None);
        let (at, why) = looks(limits, |look| seen(look > 5, None, look)).unwrap();
        assert!(
            at == 25 && why.starts_with("the node has not ended within 2s"),
            "{at}: {why}"
        );
        let (at, why) = looks(limits, |look| seen(false, None, look.min(10))).unwrap();
        assert!(
            at == 40 && why.starts_with("the node has done nothing for 3s"),
            "{at}: {why}"
        );
        assert_eq!(looks(patient, |look| seen(false, None, look.min(10))), None);
        let overdue = |look| seen(false, (look == 7).then_some("worker 1"), look);
        assert_eq!(looks(patient, overdue), Some((7, "worker 1".to_owned())));
    }
}
