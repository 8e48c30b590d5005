//! The one place that both faces share: the core behind a lock, what was put off by faults, and who has to be woken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kafka_protocol::messages::ApiKey;
use tokio::sync::{Notify, watch};

use crate::core::{Core, Millis, Settings};
use crate::faults::{Faults, Held};

/// Whether the broker takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Running,
    /// Requests wait; connections stay.
    Paused,
    /// Nobody listens.
    Stopped,
}

/// When a request that was put off is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    AfterNext,
    At(Millis),
}

type Work = Box<dyn FnOnce(&mut Core, Millis) + Send>;

/// A request that is done later than it came.
struct PutOff {
    api: ApiKey,
    client: Arc<str>,
    when: When,
    work: Work,
}

struct State {
    core: Core,
    put_off: Vec<PutOff>,
}

/// The broker without a face.
pub(crate) struct Hub {
    state: Mutex<State>,
    pub(crate) faults: Faults,
    /// The core's version: changes when a waiting reader should look again.
    changed: watch::Sender<u64>,
    mode: watch::Sender<Mode>,
    /// The next tick has to come earlier than it was planned.
    timers: Notify,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Hub")
            .field("mode", &self.mode())
            .finish_non_exhaustive()
    }
}

impl Hub {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            state: Mutex::new(State {
                core: Core::new(settings),
                put_off: Vec::new(),
            }),
            faults: Faults::default(),
            changed: watch::Sender::new(0),
            mode: watch::Sender::new(Mode::Running),
            timers: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the core, and wakes readers if that changed something.
    pub(crate) fn with<R>(&self, call: impl FnOnce(&mut Core) -> R) -> R {
        let mut state = self.lock();
        let before = state.core.version();
        let result = call(&mut state.core);
        self.announce(before, &state.core);
        result
    }

    fn announce(&self, before: u64, core: &Core) {
        if core.version() != before {
            self.changed.send_replace(core.version());
        }
    }

    /// Calls the core, with the markers of transactions that end meanwhile held back.
    pub(crate) fn with_markers_held<R>(&self, held: Held, call: impl FnOnce(&mut Core) -> R) -> R {
        let result = self.with(|core| core.with_markers_held(held, call));
        self.timers.notify_one();
        result
    }

    /// Returns when [`wake_at`](Self::wake_at) may have become earlier.
    pub(crate) async fn timers_changed(&self) {
        self.timers.notified().await;
    }

    /// Puts a request off.
    pub(crate) fn put_off(
        &self,
        api: ApiKey,
        client: &Arc<str>,
        when: When,
        work: impl FnOnce(&mut Core, Millis) + Send + 'static,
    ) {
        let client = Arc::clone(client);
        self.lock().put_off.push(PutOff {
            api,
            client,
            when,
            work: Box::new(work),
        });
        self.timers.notify_one();
    }

    /// How many requests wait for the next one of this API and client.
    pub(crate) fn waiting_for(&self, api: ApiKey, client: &str) -> usize {
        let state = self.lock();
        state
            .put_off
            .iter()
            .filter(|put_off| put_off.follows(api, client))
            .count()
    }

    /// Does the first `count` requests that waited for this one.
    pub(crate) fn do_waiting(&self, api: ApiKey, client: &str, count: usize, now: Millis) {
        let mut left = count;
        self.do_put_off(now, |put_off| {
            let follows = left > 0 && put_off.follows(api, client);
            left -= usize::from(follows);
            follows
        });
    }

    /// Does what was put off until now.
    pub(crate) fn do_due(&self, now: Millis) {
        self.do_put_off(
            now,
            |put_off| matches!(put_off.when, When::At(at) if at <= now),
        );
    }

    fn do_put_off(&self, now: Millis, is_due: impl FnMut(&mut PutOff) -> bool) {
        let mut state = self.lock();
        if state.put_off.is_empty() {
            return;
        }
        let before = state.core.version();
        let due: Vec<PutOff> = state.put_off.extract_if(.., is_due).collect();
        for put_off in due {
            (put_off.work)(&mut state.core, now);
        }
        self.announce(before, &state.core);
    }

    /// Lets time pass.
    pub(crate) fn tick(&self, now: Millis) {
        self.do_due(now);
        self.with(|core| core.tick(now));
    }

    /// The earliest moment at which a tick would do something that somebody may wait for.
    pub(crate) fn wake_at(&self) -> Option<Millis> {
        let state = self.lock();
        let put_off = state
            .put_off
            .iter()
            .filter_map(|put_off| match put_off.when {
                When::At(at) => Some(at),
                When::AfterNext => None,
            });
        put_off.chain(state.core.wake_at()).min()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(crate) fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub(crate) fn modes(&self) -> watch::Receiver<Mode> {
        self.mode.subscribe()
    }
}

impl PutOff {
    fn follows(&self, api: ApiKey, client: &str) -> bool {
        self.when == When::AfterNext && self.api == api && *self.client == *client
    }
}
