//! Kafka behind the ports: [`Kafka`] is the node's [`Broker`], and makes the worker's [`Log`]s.
//!
//! The way of a record: `consumer` has its partition assigned with a queue of its own → `source` hands out batches of
//! it → (agents, tables) → `transaction` carries out the worker's commit, on a thread of its own, or `publisher` sends
//! outputs at once. `fence` shuts out the producers of others. `raw` holds the calls of librdkafka that the crate
//! `rdkafka` has no form of, and all that is `unsafe`. `link` knows whether the brokers answer; `upkeep` looks.
//!
//! Every setting and every order of calls here comes from a measurement or a trap: `libraries.md` of the design.
//!
//! [`Broker`]: tanist_actors::port::Broker
//! [`Log`]: tanist_actors::port::Log

mod admin;
mod ask;
mod clock;
mod connection;
mod consumer;
mod context;
mod error;
mod failures;
mod fence;
mod group;
mod link;
mod log;
mod outgoing;
mod publisher;
mod raw;
mod security;
mod sender;
mod settings;
mod source;
mod transaction;
mod upkeep;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use tanist_actors::port::BrokerError;
use tokio::sync::watch;

use consumer::Consumer;
use context::Context;
use error::refused;
use link::Link;
use publisher::Publisher;
use raw::Producer;

pub use link::Contact;
pub use sender::Sender;
pub use settings::KafkaSettings;

/// How long a broker waits for something that the node reads for itself, before it answers that there is nothing.
const OWN_FETCH_WAIT: Duration = Duration::from_millis(200);

/// A node's access to Kafka.
pub struct Kafka {
    shared: Arc<Shared>,
}

/// What the logs of the workers have in common.
struct Shared {
    settings: KafkaSettings,
    link: Arc<Link>,
    /// Asks, and reads nothing: questions on a client that fetches wait behind its long polls.
    admin: BaseConsumer<Context>,
    /// Asks for high watermarks: a client has one isolation level, for its questions too.
    ends: BaseConsumer<Context>,
    /// Those whose common queues are served by [`upkeep`].
    consumers: Mutex<Vec<Arc<Consumer>>>,
    /// Reads for the node itself. Made when it is first needed, as is the publisher.
    own: Mutex<Option<Arc<Consumer>>>,
    appender: Mutex<Option<Arc<Publisher>>>,
    publisher: Mutex<Option<Arc<Publisher>>>,
}

impl Kafka {
    /// Takes up the clients that every node needs. Does not wait for a broker: that is for the calls of
    /// [`Broker`](tanist_actors::port::Broker), which need a tokio runtime around them.
    ///
    /// # Errors
    /// If the settings are wrong; all their faults are in the one error.
    pub fn new(settings: KafkaSettings) -> Result<Self, BrokerError> {
        let faults = settings.faults();
        if !faults.is_empty() {
            return Err(refused("start the Kafka client", faults.join("; ")));
        }
        let link = Arc::new(Link::new(&settings.brokers));
        let client = |config: ClientConfig, name| {
            let client = config.create_with_context(Context::new(name, link.clone()));
            client.map_err(|error| refused("start the Kafka client", error))
        };
        let admin = client(settings.admin(&settings.group), "admin")?;
        let ends = client(settings.watermarks(), "ends")?;
        let shared = Arc::new(Shared {
            settings,
            link,
            admin,
            ends,
            consumers: Mutex::default(),
            own: Mutex::default(),
            appender: Mutex::default(),
            publisher: Mutex::default(),
        });
        upkeep::start(&shared).map_err(|error| refused("start a thread", error))?;
        Ok(Self { shared })
    }

    /// Whether the brokers answer; changes are seen within about a second.
    pub fn contact(&self) -> watch::Receiver<Contact> {
        self.shared.link.contact()
    }
}

impl Shared {
    /// A new consumer, whose common queue is served from now on.
    fn consumer(&self, name: &'static str) -> Result<Arc<Consumer>, BrokerError> {
        self.consumer_with(&self.settings, name)
    }

    fn consumer_with(
        &self,
        settings: &KafkaSettings,
        name: &'static str,
    ) -> Result<Arc<Consumer>, BrokerError> {
        let consumer = Arc::new(Consumer::new(settings, self.link.clone(), name)?);
        locked(&self.consumers).push(consumer.clone());
        Ok(consumer)
    }

    /// The consumers that somebody reads from. Of the others this is the end, here where closing one, which takes a
    /// while, holds up nobody.
    fn consumers_in_use(&self) -> Vec<Arc<Consumer>> {
        let mut consumers = locked(&self.consumers);
        let (used, unused): (Vec<_>, Vec<_>) = consumers
            .drain(..)
            .partition(|consumer| Arc::strong_count(consumer) > 1);
        consumers.clone_from(&used);
        drop(consumers);
        drop(unused);
        used
    }

    /// The consumer of the node itself.
    fn own_consumer(&self) -> Result<Arc<Consumer>, BrokerError> {
        let mut own = locked(&self.own);
        if let Some(consumer) = &*own {
            return Ok(consumer.clone());
        }
        // It begins to read once, and then waits for others: a short poll would only cost.
        let settings = KafkaSettings {
            fetch_wait: OWN_FETCH_WAIT,
            ..self.settings.clone()
        };
        let consumer = self.consumer_with(&settings, "node")?;
        *own = Some(consumer.clone());
        Ok(consumer)
    }

    /// The producer for records of the node itself.
    fn appender(&self) -> Result<Arc<Publisher>, BrokerError> {
        self.sender(&self.appender, "appender", KafkaSettings::appender)
    }

    /// The producer for outputs that go outside of transactions.
    fn publisher(&self) -> Result<Arc<Publisher>, BrokerError> {
        self.sender(&self.publisher, "publisher", KafkaSettings::producer)
    }

    fn sender(
        &self,
        slot: &Mutex<Option<Arc<Publisher>>>,
        name: &'static str,
        config: impl Fn(&KafkaSettings) -> ClientConfig,
    ) -> Result<Arc<Publisher>, BrokerError> {
        let mut slot = locked(slot);
        if let Some(publisher) = &*slot
            && !publisher.is_broken()
        {
            return Ok(publisher.clone());
        }
        let producer = self.producer(name, &config(&self.settings))?;
        let publisher =
            Publisher::start(producer).map_err(|error| refused("start a thread", error))?;
        let publisher = Arc::new(publisher);
        *slot = Some(publisher.clone());
        Ok(publisher)
    }

    fn producer(&self, name: &'static str, config: &ClientConfig) -> Result<Producer, BrokerError> {
        let client = config
            .create_with_context(Context::new(name, self.link.clone()))
            .map_err(|error| refused("start a producer", error))?;
        Producer::new(client).ok_or_else(|| refused("start a producer", "it has no queue"))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Under these locks whole values are put in and taken out, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
