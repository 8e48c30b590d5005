//! [`cut`]: breaks connections of producers that are idle, and knows from their log when they have noticed.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use tanist_tests::broker::TestBroker;
use tanist_tests::raw::poll_until;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::support::GROUP;

/// What the client library says of the connections of transactional producers.
static LOG: Mutex<Vec<Line>> = Mutex::new(Vec::new());

#[derive(Default)]
struct Line {
    client: String,
    facility: String,
    message: String,
}

struct Listener;

/// Listens from now on.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing_subscriber::registry().with(Listener).init());
}

/// Cuts all connections, and waits until the producer that [`listen`] has heard of since its start has noticed.
pub(crate) fn cut(broker: &TestBroker) {
    let address = broker.bootstrap();
    let mut connected = BTreeSet::new();
    let before = {
        let log = log();
        for line in &*log {
            match line.connection(address) {
                Some((connection, true)) => connected.insert(connection.to_owned()),
                Some((connection, false)) => connected.remove(connection),
                None => false,
            };
        }
        log.len()
    };
    assert!(!connected.is_empty(), "the producer has no connection");
    assert!(broker.inner().cut_connections(Some(GROUP)) > 0);
    poll_until("the notice of each broken connection", || {
        let log = log();
        let news = log[before..]
            .iter()
            .filter_map(|line| line.connection(address));
        let lost: BTreeSet<&str> = news
            .filter_map(|(connection, is_up)| (!is_up).then_some(connection))
            .collect();
        connected
            .iter()
            .all(|connection| lost.contains(connection.as_str()))
            .then_some(())
    });
}

fn log() -> MutexGuard<'static, Vec<Line>> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// Which connection to `address` it tells of, by the name of its thread, and whether that comes or goes.
    fn connection(&self, address: &str) -> Option<(&str, bool)> {
        let (thread, said) = self.message.strip_prefix("[thrd:")?.split_once("]: ")?;
        let is_meant = said.contains(address);
        match &*self.facility {
            "CONNECT" if is_meant && said.contains("Connecting to") => Some((thread, true)),
            "FAIL" if is_meant => Some((thread, false)),
            _ => None,
        }
    }
}

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        if line.client == "transactions" {
            log().push(line);
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let into = match field.name() {
            "client" => &mut self.client,
            "facility" => &mut self.facility,
            "message" => &mut self.message,
            _ => return,
        };
        *into = format!("{value:?}");
    }
}
