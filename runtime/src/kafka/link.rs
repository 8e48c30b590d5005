//! [`Link`]: whether the brokers answer, as far as this node has seen.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::error::KafkaResult;
use tokio::sync::watch;

/// Whether the brokers answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// None has been asked yet.
    Unknown,
    /// They answered when they were last asked.
    Reachable,
    /// None answers; everything that needs one waits.
    Lost,
}

/// What all clients of a node know of the brokers. Says each change of it once.
pub(super) struct Link {
    brokers: String,
    contact: watch::Sender<Contact>,
    /// A client has lost all its connections. That may be an idle one whose connection was closed: to be looked into.
    suspected: AtomicBool,
    trouble: Mutex<Trouble>,
    /// What was last asked for in vain.
    waiting: Mutex<String>,
}

/// The last that went wrong with a connection.
#[derive(Clone, Default)]
pub(super) struct Trouble {
    pub(super) reason: String,
    /// It was the login or the certificate, which waiting does not mend.
    pub(super) refused: bool,
}

impl Link {
    pub(super) fn new(brokers: &str) -> Self {
        Self {
            brokers: brokers.to_owned(),
            contact: watch::Sender::new(Contact::Unknown),
            suspected: AtomicBool::new(false),
            trouble: Mutex::default(),
            waiting: Mutex::new("read and commit".into()),
        }
    }

    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }

    pub(super) fn contact(&self) -> watch::Receiver<Contact> {
        self.contact.subscribe()
    }

    pub(super) fn is_lost(&self) -> bool {
        *self.contact.borrow() == Contact::Lost
    }

    /// A connection broke or could not be made.
    pub(super) fn note(&self, trouble: Trouble) {
        *locked(&self.trouble) = trouble;
    }

    pub(super) fn trouble(&self) -> Trouble {
        locked(&self.trouble).clone()
    }

    /// Something that a broker has to do has to wait.
    pub(super) fn waits(&self, what: &str) {
        *locked(&self.waiting) = what.to_owned();
        self.suspect();
    }

    /// A client has no connection left.
    pub(super) fn suspect(&self) {
        self.suspected.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_suspected(&self) -> bool {
        self.suspected.load(Ordering::Relaxed)
    }

    /// Done when the brokers are not known to be away.
    pub(super) async fn found(&self) {
        let mut contact = self.contact();
        // An error would mean that there is no sender any more, which is here.
        let _ = contact.wait_for(|contact| *contact != Contact::Lost).await;
    }

    /// A broker has answered.
    pub(super) fn answered(&self) {
        self.suspected.store(false, Ordering::Relaxed);
        *locked(&self.trouble) = Trouble::default();
        if *self.contact.borrow() == Contact::Reachable {
            return;
        }
        if self.contact.send_replace(Contact::Reachable) == Contact::Lost {
            tracing::info!(brokers = self.brokers, "Kafka answers again");
        }
    }

    /// None answers, for `reason` if no broken connection tells more.
    pub(super) fn lost(&self, reason: &str) {
        if self.contact.send_replace(Contact::Lost) == Contact::Lost {
            return;
        }
        let trouble = self.trouble().reason;
        tracing::warn!(
            brokers = self.brokers,
            reason = if trouble.is_empty() { reason } else { &trouble },
            "no Kafka broker answers; waiting for one to {}",
            locked(&self.waiting)
        );
    }
}

/// Asks a broker whether it is there, for something that is small and there wherever offsets are committed.
pub(super) fn probe<C: ClientContext>(client: &Client<C>, limit: Duration) -> KafkaResult<()> {
    client.fetch_metadata(Some("__consumer_offsets"), limit)?;
    Ok(())
}

/// Waits until `client` is connected. What a client does when it is not is often done again only half a second later.
pub(super) fn connect<C: ClientContext>(client: &Client<C>, limit: Duration) -> KafkaResult<()> {
    // Answered by a bootstrap server, to which the connection is closed when the brokers are known by it; then by a
    // broker.
    probe(client, limit / 2)?;
    probe(client, limit / 2)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole values are put in and taken out, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contact_is_lost_and_found_and_a_suspicion_alone_changes_nothing() {
        let link = Link::new("localhost:1");
        let contact = link.contact();
        assert_eq!(*contact.borrow(), Contact::Unknown);
        link.answered();
        link.suspect();
        assert!(link.is_suspected());
        assert_eq!(*contact.borrow(), Contact::Reachable);
        link.lost("refused");
        assert_eq!(*contact.borrow(), Contact::Lost);
        link.answered();
        assert!(!link.is_suspected());
        assert_eq!(*contact.borrow(), Contact::Reachable);
    }
}
