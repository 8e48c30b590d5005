//! The broker that a test runs against: the embedded one, or the one that `TANIST_TEST_BROKER` names.

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};

use tanist_broker::{Config, EmbeddedBroker, Millis, Settings};

use crate::raw::RawClient;

/// Bootstrap address of a broker to test against in place of the embedded one.
pub const ENVIRONMENT: &str = "TANIST_TEST_BROKER";

/// A broker for one test.
pub struct TestBroker {
    bootstrap: String,
    embedded: Option<EmbeddedBroker>,
}

impl TestBroker {
    /// The broker that the environment names, or an embedded one that ends with the test.
    pub fn start() -> Self {
        match env::var(ENVIRONMENT) {
            Ok(bootstrap) => Self {
                bootstrap,
                embedded: None,
            },
            Err(_) => Self::embedded(),
        }
    }

    /// An embedded broker, whatever the environment says: for tests that order faults.
    pub fn embedded() -> Self {
        // As quick as `bin/kafka` makes Apache Kafka.
        let settings = Settings {
            transaction_check_interval: Millis(500),
            ..Settings::default()
        };
        let broker = EmbeddedBroker::start(Config {
            settings,
            ..Config::default()
        });
        let broker = broker.expect("an embedded broker starts on any free port");
        Self {
            bootstrap: broker.address().to_string(),
            embedded: Some(broker),
        }
    }

    /// For `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Whether other tests, and former runs, use it too.
    pub fn is_shared(&self) -> bool {
        self.embedded.is_none()
    }

    /// The embedded broker behind it.
    pub fn inner(&self) -> &EmbeddedBroker {
        self.embedded
            .as_ref()
            .expect("only tests on the embedded broker reach into it")
    }

    /// A name that no other test has used, here or in former runs against the same broker.
    pub fn unique(&self, prefix: &str) -> String {
        static USED: AtomicU64 = AtomicU64::new(0);
        let number = USED.fetch_add(1, Ordering::Relaxed);
        let started = std::time::UNIX_EPOCH
            .elapsed()
            .map_or(0, |since| since.as_millis());
        format!("{prefix}-{}-{started}-{number}", std::process::id())
    }

    /// Creates a topic and returns its name.
    pub fn topic(&self, partitions: i32, config: &[(&str, &str)]) -> String {
        let name = self.unique("topic");
        self.raw().create_topic(&name, partitions, config);
        name
    }

    /// A connection that speaks the protocol without a client library.
    pub fn raw(&self) -> RawClient {
        RawClient::connect(&self.bootstrap)
    }
}
