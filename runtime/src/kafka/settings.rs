//! [`KafkaSettings`]: how to reach Kafka, and the limits of all that waits for it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use super::security;

/// How a node talks to Kafka.
#[derive(Clone)]
pub struct KafkaSettings {
    /// Bootstrap addresses, `host:port`, separated by commas.
    pub brokers: String,
    /// The consumer group under which input offsets are committed: the app's id.
    pub group: String,
    /// Client properties by librdkafka's names, given to every client: TLS, SASL, socket options and the like.
    pub properties: BTreeMap<String, String>,
    /// How long a call waits for a broker that does not answer; `None` is for ever.
    pub broker_timeout: Option<Duration>,
    /// How long a commit may take in all before its outcome counts as unknown. Below `transaction_timeout`.
    pub commit_timeout: Duration,
    /// After how long the broker rolls back a transaction that nobody ends.
    pub transaction_timeout: Duration,
    /// The largest record that is sent, in bytes. Brokers take a little more than a million unless a topic's
    /// `max.message.bytes` says otherwise.
    pub max_record_bytes: usize,
    /// How long a fetch waits at the broker for records. What is short here is how soon a newly opened or sought
    /// partition delivers: its fetch waits behind the one that is under way.
    pub fetch_wait: Duration,
    /// How many records of a partition are read ahead. As soon as there are fewer, one more fetch is made, of at most a
    /// quarter of a megabyte. A small record takes half a kilobyte of memory. Twice of both makes small records 3 %
    /// cheaper, and takes 26 MB more for 16 partitions.
    pub read_ahead_records: usize,
    /// How many kilobytes of a partition are read ahead.
    pub read_ahead_kb: usize,
}

/// What correctness rests on, or what has a setting of its own.
const RESERVED: &[(&str, &str)] = &[
    (
        "bootstrap.servers",
        "name the brokers in the setting `broker`",
    ),
    (
        "metadata.broker.list",
        "name the brokers in the setting `broker`",
    ),
    ("group.id", "the consumer group is the app's id"),
    ("transactional.id", "every worker has one of its own"),
    ("enable.idempotence", "exactly-once rests on it"),
    ("retries", "what may be repeated is decided by what is sent"),
    (
        "message.send.max.retries",
        "what may be repeated is decided by what is sent",
    ),
    ("acks", "exactly-once rests on all replicas"),
    (
        "request.required.acks",
        "exactly-once rests on all replicas",
    ),
    ("isolation.level", "only committed records are processed"),
    (
        "enable.auto.commit",
        "offsets are committed in transactions",
    ),
    (
        "enable.auto.offset.store",
        "offsets are committed in transactions",
    ),
    (
        "auto.offset.reset",
        "where to read is decided by the state alone",
    ),
    (
        "enable.partition.eof",
        "the end of a changelog is seen by it",
    ),
    (
        "transaction.timeout.ms",
        "there is a setting `transaction_timeout`",
    ),
    ("message.timeout.ms", "there is a setting `commit_timeout`"),
    ("delivery.timeout.ms", "there is a setting `commit_timeout`"),
    ("log_level", "the log filter decides it"),
];

/// How long a client that has lost a broker waits until it tries again, at first and at most. librdkafka's default goes
/// up to ten seconds, which is how long everything would stand after the broker is back; and half of the first value
/// (11 ms at least) passes between any two connections that a new client makes.
const RECONNECT: Range<Duration> = Duration::from_millis(20)..Duration::from_secs(1);
/// How long a request waits that the broker wants repeated, the first time. Mostly that is because the transaction before
/// is only just being completed, which takes a few milliseconds; with librdkafka's default, 100, every other transaction
/// that followed another closely took a tenth of a second.
const RETRY_BACKOFF: Duration = Duration::from_millis(5);
/// How long one request may stay unanswered; no longer than a transaction, or librdkafka refuses to make a producer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// librdkafka's default for the largest record, which is for batches, too, and its most.
const MESSAGE_BYTES: RangeInclusive<usize> = 1_000_000..=1_000_000_000;

/// The largest record that is sent outside of transactions, where its topic takes so much: a plan for very many shards.
const APPENDED_BYTES: u128 = 8 << 20;

impl KafkaSettings {
    /// The settings of an app, with the defaults.
    pub fn new(brokers: impl Into<String>, group: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            group: group.into(),
            properties: BTreeMap::new(),
            broker_timeout: None,
            commit_timeout: Duration::from_secs(20),
            transaction_timeout: Duration::from_secs(30),
            max_record_bytes: *MESSAGE_BYTES.start(),
            fetch_wait: Duration::from_millis(10),
            read_ahead_records: 2000,
            read_ahead_kb: 1024,
        }
    }

    /// What is wrong with them, one text per fault; empty if nothing is.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self
            .brokers
            .split(',')
            .any(|address| address.trim().is_empty())
        {
            faults.push(format!(
                "`broker` is {:?}: give host:port, several separated by commas",
                self.brokers
            ));
        }
        let unsecured = security::fault(&self.properties);
        for (name, value) in &self.properties {
            let reserved = RESERVED.iter().find(|(reserved, _)| reserved == name);
            let reserved = reserved.map(|(_, why)| (*why).to_owned());
            // Without TLS, librdkafka says of each property for it what is said once.
            let unfit = || unfit(name, value).filter(|_| unsecured.is_none());
            if let Some(why) = reserved.or_else(unfit) {
                faults.push(format!("the Kafka property `{name}` cannot be set: {why}"));
            }
        }
        faults.extend(unsecured);
        if self.commit_timeout >= self.transaction_timeout {
            faults.push(format!(
                "`commit_timeout` ({:?}) has to be shorter than `transaction_timeout` ({:?})",
                self.commit_timeout, self.transaction_timeout
            ));
        }
        if self.read_ahead_records == 0 || self.read_ahead_kb == 0 {
            faults.push("`read_ahead_records` and `read_ahead_kb` have to be above 0".into());
        }
        faults
    }

    /// For a client that reads partitions. Every value is from a measurement or a trap: see `libraries.md` of the design.
    pub(super) fn consumer(&self) -> ClientConfig {
        let mut config = self.client();
        self.tune(
            &mut config,
            &[
                ("fetch.wait.max.ms", self.fetch_wait.as_millis()),
                // The default, 1000, idles a consumer that is faster than its fetches.
                ("fetch.queue.backoff.ms", 2),
                ("fetch.error.backoff.ms", 100),
                // How long a topic that nobody knows may yet appear; the default is 30 s.
                ("topic.metadata.propagation.max.ms", 5000),
                ("fetch.message.max.bytes", 256 * 1024),
                ("queued.min.messages", self.read_ahead_records as u128),
                ("queued.max.messages.kbytes", self.read_ahead_kb as u128),
            ],
        );
        config
            .set("group.id", &self.group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true");
        config
    }

    /// For a client that only asks.
    pub(super) fn admin(&self, group: &str) -> ClientConfig {
        let mut config = self.client();
        config
            .set("group.id", group)
            // The ends of partitions and the committed offsets are asked for at this level, too.
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false");
        config
    }

    /// For a client that only asks for high watermarks.
    pub(super) fn watermarks(&self) -> ClientConfig {
        let mut config = self.admin(&self.group);
        config.set("isolation.level", "read_uncommitted");
        config
    }

    /// For a producer that sends each record once and answers with its fate. An idempotent one would begin half a second
    /// after it was made, and that at the start of every node.
    pub(super) fn appender(&self) -> ClientConfig {
        let mut config = self.sender();
        self.tune(&mut config, &[("message.max.bytes", APPENDED_BYTES)]);
        config.set("acks", "all").set("retries", "0");
        config
    }

    /// For an idempotent producer without transactions.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.sender();
        config.set("enable.idempotence", "true");
        config
    }

    /// For the transactional producer of a worker.
    pub(super) fn transactional(&self, id: &str) -> ClientConfig {
        let mut config = self.producer();
        config.set("transactional.id", id).set(
            "transaction.timeout.ms",
            self.transaction_timeout.as_millis().to_string(),
        );
        // Each broken connection has to be heard of, see `Context::troubles`; at the other levels, one that broke like
        // the last one does not appear within half a minute.
        let debug = self.properties.get("debug").map_or("", String::as_str);
        config
            .set("debug", format!("broker,{debug}").trim_end_matches(','))
            .set_log_level(RDKafkaLogLevel::Debug);
        config
    }

    fn sender(&self) -> ClientConfig {
        let mut config = self.client();
        let (least, most) = MESSAGE_BYTES.into_inner();
        let message_bytes = self.max_record_bytes.clamp(least, most);
        self.tune(
            &mut config,
            &[
                // What is produced together is enqueued in one go, so there is nothing to wait for.
                ("linger.ms", 0),
                ("message.max.bytes", message_bytes as u128),
                // Bounded by the commits that the workers may have under way, whose size is bounded.
                ("queue.buffering.max.messages", 0),
            ],
        );
        let limit_ms = self.commit_timeout.as_millis();
        config.set("message.timeout.ms", limit_ms.to_string());
        config
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        self.tune(
            &mut config,
            &[
                ("reconnect.backoff.ms", RECONNECT.start.as_millis()),
                ("reconnect.backoff.max.ms", RECONNECT.end.as_millis()),
                ("retry.backoff.ms", RETRY_BACKOFF.as_millis()),
                (
                    "socket.timeout.ms",
                    REQUEST_TIMEOUT.min(self.transaction_timeout).as_millis(),
                ),
            ],
        );
        config.extend(self.properties.clone());
        config
            .set("bootstrap.servers", &self.brokers)
            // `Context` decides what of it is shown, and needs all of it to see broken connections.
            .set_log_level(RDKafkaLogLevel::Info);
        if config.get("client.id").is_none() {
            config.set("client.id", &self.group);
        }
        config
    }

    /// Sets what the user has not set.
    fn tune(&self, config: &mut ClientConfig, values: &[(&str, u128)]) {
        for (name, value) in values {
            if !self.properties.contains_key(*name) {
                config.set(*name, value.to_string());
            }
        }
    }
}

/// Why librdkafka does not take the property; none if it does.
fn unfit(name: &str, value: &str) -> Option<String> {
    let mut config = ClientConfig::new();
    config.set(name, value);
    match config.create_native_config() {
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
            Some("librdkafka knows none of this name (its CONFIGURATION.md lists them)".to_owned())
        }
        Err(KafkaError::ClientConfig(_, why, ..)) => Some(why),
        Err(error) => Some(error.to_string()),
        Ok(_) => None,
    }
}

impl fmt::Debug for KafkaSettings {
    /// Without the values of the properties: there are passwords among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("properties", &self.properties.keys())
            .field("broker_timeout", &self.broker_timeout)
            .field("commit_timeout", &self.commit_timeout)
            .field("transaction_timeout", &self.transaction_timeout)
            .field("max_record_bytes", &self.max_record_bytes)
            .field("fetch_wait", &self.fetch_wait)
            .field("read_ahead_records", &self.read_ahead_records)
            .field("read_ahead_kb", &self.read_ahead_kb)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::producer::BaseProducer;

    use super::*;

    #[test]
    fn defaults_have_no_fault_and_each_wrong_setting_is_named() {
        let good = KafkaSettings::new("localhost:9092", "orders");
        assert_eq!(good.faults(), Vec::<String>::new());
        let mut bad = KafkaSettings::new("a:1,,b:2", "orders");
        bad.properties.insert("acks".into(), "1".into());
        bad.commit_timeout = bad.transaction_timeout;
        bad.read_ahead_kb = 0;
        let faults = bad.faults().join("\n");
        for word in ["`broker`", "`acks`", "commit_timeout", "read_ahead_kb"] {
            assert!(faults.contains(word), "{word} is not in:\n{faults}");
        }
    }

    #[test]
    fn a_property_that_librdkafka_does_not_take_is_named_with_the_reason() {
        for (name, value, why) in [
            ("foo", "bar", "librdkafka knows none of this name"),
            ("security.protocol", "tls", "Invalid value"),
            ("socket.keepalive.enable", "true", ""),
            ("compression.type", "lz4", ""),
        ] {
            let mut settings = KafkaSettings::new("localhost:9092", "orders");
            settings.properties.insert(name.into(), value.into());
            let faults = settings.faults().join("\n");
            let expected = match why {
                "" => String::new(),
                why => format!("the Kafka property `{name}` cannot be set: {why}"),
            };
            assert!(faults.starts_with(&expected), "{faults}");
            assert_eq!(faults.is_empty(), why.is_empty(), "{faults}");
        }
    }

    #[test]
    fn producers_take_the_largest_record_that_may_be_sent() {
        let mut settings = KafkaSettings::new("localhost:9092", "orders");
        for (max_record_bytes, taken) in [(500, "1000000"), (5 << 20, "5242880")] {
            settings.max_record_bytes = max_record_bytes;
            for config in [settings.transactional("orders-0-0"), settings.producer()] {
                assert_eq!(config.get("message.max.bytes"), Some(taken));
            }
        }
    }

    #[test]
    fn a_short_transaction_has_shorter_requests() {
        let mut settings = KafkaSettings::new("localhost:9092", "orders");
        settings.commit_timeout = Duration::from_secs(1);
        settings.transaction_timeout = Duration::from_secs(2);
        assert_eq!(settings.faults(), Vec::<String>::new());
        let made: Result<BaseProducer, _> = settings.transactional("orders-0-0").create();
        assert!(made.is_ok(), "{:?}", made.err());
    }

    #[test]
    fn the_users_property_wins_over_a_tuned_one_and_stays_out_of_the_log() {
        let mut settings = KafkaSettings::new("localhost:9092", "orders");
        for (name, value) in [("fetch.queue.backoff.ms", "7"), ("sasl.password", "hush")] {
            settings.properties.insert(name.into(), value.into());
        }
        assert_eq!(settings.consumer().get("fetch.queue.backoff.ms"), Some("7"));
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
