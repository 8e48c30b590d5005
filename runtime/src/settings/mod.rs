//! [`Settings`]: how an app is run. Each is given in the program, in a file, in the environment or by a flag; the later
//! of these wins.
//!
//! `rows` is the table of all settings, `layer` what one source says as text, `value` how texts are read. All faults of
//! a configuration come in one message (`fault`).

mod fault;
mod layer;
mod rows;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tanist_actors::worker::{Guarantee, WorkerSettings};
use tanist_cluster::NodeName;

pub use fault::{SettingFault, SettingFaults, Source};
pub(crate) use layer::{CONFIG_VARIABLE, DEFAULT_FILE, Layer};
pub(crate) use rows::{ROWS, Row};

use crate::kafka::KafkaSettings;
use crate::node::ClusterSettings;
use crate::store::StoreOptions;

/// What the names of Kafka's own properties begin with, as settings.
pub(crate) const KAFKA_PREFIX: &str = "kafka.";

/// See the module; each is described in the table of `rows`.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) app: String,
    pub(crate) broker: String,
    pub(crate) broker_timeout: Option<Duration>,
    pub(crate) data_dir: PathBuf,
    pub(crate) node: NodeName,
    pub(crate) http: SocketAddr,
    /// Host and port.
    pub(crate) advertised_http: Option<(String, u16)>,
    pub(crate) workers: u32,
    pub(crate) standbys: Option<u32>,
    pub(crate) cluster: ClusterSettings,
    pub(crate) guarantee: Guarantee,
    pub(crate) commit_interval: Duration,
    pub(crate) finish_timeout: Duration,
    pub(crate) max_poll_interval: Option<Duration>,
    pub(crate) commit_bytes: usize,
    pub(crate) store_bytes: usize,
    pub(crate) cache_bytes: usize,
    pub(crate) max_record_bytes: usize,
    pub(crate) commit_timeout: Duration,
    pub(crate) transaction_timeout: Duration,
    pub(crate) log: Option<String>,
    /// Properties for the Kafka client, by librdkafka's names.
    pub(crate) kafka: BTreeMap<String, String>,
    given: BTreeSet<&'static str>,
}

impl Settings {
    /// What holds where nobody says anything.
    pub(crate) fn defaults(app: &str) -> Self {
        let worker = WorkerSettings::default();
        let kafka = KafkaSettings::new("", app);
        Self {
            app: app.to_owned(),
            broker: "127.0.0.1:9092".to_owned(),
            broker_timeout: None,
            data_dir: PathBuf::from(".tanist").join(app),
            node: NodeName::new(machine()),
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertised_http: None,
            workers: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
            cluster: ClusterSettings::default(),
            standbys: None,
            guarantee: worker.guarantee,
            commit_interval: worker.commit_interval,
            finish_timeout: worker.finish_timeout,
            max_poll_interval: worker.max_poll_interval,
            commit_bytes: worker.commit_bytes,
            store_bytes: StoreOptions::default().memory_bytes,
            cache_bytes: 64 << 20,
            max_record_bytes: worker.max_record_bytes,
            commit_timeout: kafka.commit_timeout,
            transaction_timeout: kafka.transaction_timeout,
            log: None,
            kafka: BTreeMap::new(),
            given: BTreeSet::new(),
        }
    }

    /// What `layers` make of the defaults, the last one winning; or all that is wrong with them.
    pub(crate) fn resolve(app: &str, layers: &[Layer]) -> Result<Self, SettingFaults> {
        let mut settings = Self::defaults(app);
        let mut faults = Vec::new();
        for layer in layers {
            faults.extend(layer.faults.iter().cloned());
            for (key, value) in &layer.entries {
                faults.extend(settings.set(&layer.source, key, value).err());
            }
        }
        let together = settings.kafka().faults().into_iter();
        faults.extend(
            together
                .chain(settings.faults())
                .map(|problem| SettingFault {
                    source: None,
                    key: None,
                    value: None,
                    problem,
                }),
        );
        if faults.is_empty() {
            return Ok(settings);
        }
        Err(SettingFaults(faults))
    }

    /// What is wrong with settings that are right each for itself.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let cluster = &self.cluster;
        if cluster.heartbeat_interval * 3 > cluster.failure_timeout {
            faults.push(format!(
                "`failure_timeout` ({:?}) has to be at least three times `heartbeat_interval` ({:?})",
                cluster.failure_timeout, cluster.heartbeat_interval
            ));
        }
        if self.http.ip().is_unspecified() && self.advertised_http.is_none() {
            faults.push(format!(
                "`http` ({}) is all addresses of this machine: give one of them, or say in `advertised_http` at which one \
                 other nodes reach it",
                self.http
            ));
        }
        faults
    }

    fn set(&mut self, source: &Source, key: &str, value: &str) -> Result<(), SettingFault> {
        let fault = |problem, value| SettingFault {
            source: Some(source.clone()),
            key: Some(key.to_owned()),
            value,
            problem,
        };
        if let Some(property) = key.strip_prefix(KAFKA_PREFIX) {
            self.kafka.insert(property.to_owned(), value.to_owned());
            return Ok(());
        }
        let Some(row) = rows::find(key) else {
            // Its value is not shown: it may have been meant for a password.
            return Err(fault(unknown(key), None));
        };
        (row.set)(self, value).map_err(|problem| fault(problem, Some(value.to_owned())))?;
        self.given.insert(row.flag);
        Ok(())
    }

    /// Whether somebody has given the setting of this flag.
    pub(crate) fn is_given(&self, flag: &str) -> bool {
        self.given.contains(flag)
    }

    /// As the Kafka client takes them.
    pub(crate) fn kafka(&self) -> KafkaSettings {
        KafkaSettings {
            properties: self.kafka.clone(),
            broker_timeout: self.broker_timeout,
            commit_timeout: self.commit_timeout,
            transaction_timeout: self.transaction_timeout,
            max_record_bytes: self.max_record_bytes,
            ..KafkaSettings::new(&self.broker, &self.app)
        }
    }

    /// As each of the node's workers takes them.
    pub(crate) fn worker(&self) -> WorkerSettings {
        WorkerSettings {
            guarantee: self.guarantee,
            commit_interval: self.commit_interval,
            finish_timeout: self.finish_timeout,
            max_poll_interval: self.max_poll_interval,
            commit_bytes: self.commit_bytes,
            cache_bytes: self.cache_bytes / self.workers.max(1) as usize,
            max_record_bytes: self.max_record_bytes,
            ..WorkerSettings::default()
        }
    }

    /// As the stores take them.
    pub(crate) fn stores(&self) -> StoreOptions {
        StoreOptions {
            memory_bytes: self.store_bytes,
            ..StoreOptions::default()
        }
    }
}

/// The name of this machine, as far as it can be used for a node.
fn machine() -> String {
    let host = nix::unistd::gethostname().ok();
    let host = host.and_then(|host| host.into_string().ok());
    host.filter(|host| value::name(host).is_ok())
        .unwrap_or_else(|| "node".to_owned())
}

fn unknown(key: &str) -> String {
    match suggest(key) {
        Some(known) => format!("there is no such setting; did you mean `{known}`?"),
        None => {
            let names: Vec<String> = ROWS.iter().map(rows::Row::key).collect();
            format!(
                "there is no such setting; there are {}, and `{KAFKA_PREFIX}...` for properties of the Kafka client",
                names.join(", ")
            )
        }
    }
}

/// The setting that was meant by `key`, if one is called nearly so.
fn suggest(key: &str) -> Option<String> {
    let key = key.replace('-', "_");
    let distance = |row: &rows::Row| (edits(&key, &row.key()), row.key());
    let (edits, known) = ROWS.iter().map(distance).min()?;
    (edits <= 2.min(known.len() / 3).max(1)).then_some(known)
}

/// How many letters have to be changed, added, removed, or swapped with their neighbour.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for (i, of_a) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, of_b) in b.iter().enumerate() {
            let changed = rows[i][j] + usize::from(of_a != of_b);
            let mut least = changed.min(row[j] + 1).min(rows[i][j + 1] + 1);
            if i > 0 && j > 0 && *of_a == b[j - 1] && a[i - 1] == *of_b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(source: Source, entries: &[(&str, &str)]) -> Layer {
        let entries = entries.iter();
        Layer::new(
            source,
            entries
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn a_flag_wins_over_the_environment_over_the_file_over_the_program() {
        let sources = [
            Source::App,
            Source::File("t.toml".into()),
            Source::Environment,
            Source::Flag,
        ];
        for given in 1..=sources.len() {
            let layers: Vec<Layer> = (1..)
                .zip(&sources[..given])
                .map(|(workers, source)| {
                    layer(source.clone(), &[("workers", &format!("{workers}"))])
                })
                .collect();
            let settings = Settings::resolve("app", &layers).expect("all of it is right");
            assert_eq!(settings.workers as usize, given);
            assert!(settings.is_given("workers") && !settings.is_given("broker"));
        }
    }

    #[test]
    fn all_faults_are_told_at_once_with_source_key_and_remedy() {
        let layers = [
            layer(Source::App, &[("comit_interval", "5ms")]),
            layer(
                Source::File("t.toml".into()),
                &[("workers", "many"), ("nonsense", "secret")],
            ),
            layer(Source::Environment, &[("http", "0.0.0.0:80")]),
            layer(
                Source::Flag,
                &[
                    ("broker", "nowhere"),
                    ("kafka.isolation.level", "read_uncommitted"),
                ],
            ),
        ];
        let text = Settings::resolve("app", &layers).err().unwrap().to_string();
        for expected in [
            "app.setting(\"comit_interval\", ...): there is no such setting; did you mean `commit_interval`?",
            "t.toml: workers = \"many\": give a whole number, 1 or more",
            "t.toml: nonsense: there is no such setting; there are broker, ",
            "`http` (0.0.0.0:80) is all addresses of this machine: give one of them, or say in `advertised_http`",
            "--broker = \"nowhere\": give host:port",
            "isolation.level",
        ] {
            assert!(text.contains(expected), "{expected} in:\n{text}");
        }
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(text.lines().count(), 7, "{text}");
    }

    #[test]
    fn a_transaction_outlives_its_commit() {
        let layers = [layer(Source::Flag, &[("transaction_timeout", "10s")])];
        let text = Settings::resolve("app", &layers).err().unwrap().to_string();
        assert!(text.contains("commit_timeout"), "{text}");
    }

    #[test]
    fn how_long_a_handler_may_finish_is_what_was_set() {
        let finish = |layers: &[Layer]| {
            let settings = Settings::resolve("app", layers).expect("all of it is right");
            settings.worker().finish_timeout
        };
        assert_eq!(finish(&[]), Duration::from_secs(10));
        let given = layer(Source::Environment, &[("finish_timeout", "250ms")]);
        assert_eq!(finish(&[given]), Duration::from_millis(250));
    }

    #[test]
    fn a_handler_that_blocks_its_thread_has_five_minutes_as_in_kafka_or_what_was_set() {
        let limit = |layers: &[Layer]| {
            let settings = Settings::resolve("app", layers).expect("all of it is right");
            settings.worker().max_poll_interval
        };
        assert_eq!(limit(&[]), Some(Duration::from_secs(300)));
        let given = |text| layer(Source::Flag, &[("max_poll_interval", text)]);
        assert_eq!(limit(&[given("250ms")]), Some(Duration::from_millis(250)));
        assert_eq!(limit(&[given("0s")]), None);
    }

    #[test]
    fn a_lost_heartbeat_is_no_death() {
        let layers = [layer(Source::Flag, &[("failure_timeout", "200ms")])];
        let text = Settings::resolve("app", &layers).err().unwrap().to_string();
        assert!(text.contains("heartbeat_interval"), "{text}");
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_another_word_is_not() {
        for (key, meant) in [
            ("brokers", Some("broker")),
            ("brokre", Some("broker")),
            ("data-dir", Some("data_dir")),
            ("commit_intervall", Some("commit_interval")),
            ("htp", Some("http")),
            ("lgo", Some("log")),
            ("service_host", None),
            ("port", None),
        ] {
            assert_eq!(suggest(key).as_deref(), meant, "{key}");
        }
    }

    #[test]
    fn every_setting_has_a_name_of_its_own_and_says_its_default() {
        let flags: BTreeSet<&str> = ROWS.iter().map(|row| row.flag).collect();
        assert_eq!(flags.len(), ROWS.len());
        for row in ROWS {
            assert!(row.help.contains("[default: "), "{}", row.flag);
        }
    }
}
