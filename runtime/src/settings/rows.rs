//! The table of all settings: what each is called, what it means, and how its text is read. Flags, the keys of the file
//! and the variables of the environment all come from here.

use tanist_cluster::NodeName;

use super::{Settings, value};

/// A setting.
pub(crate) struct Row {
    /// Its flag; the key in a file has underscores for its dashes, the variable is the key in upper case behind `TANIST_`.
    pub(crate) flag: &'static str,
    /// What stands for its value in the help.
    pub(crate) value: &'static str,
    /// What it means, and what it is unless it is given.
    pub(crate) help: &'static str,
    /// Whether the short help (`-h`) shows it.
    pub(crate) common: bool,
    /// Reads a value; the error says what would be right.
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
}

/// All of them, in the order of the help.
pub(crate) const ROWS: &[Row] = &[
    Row {
        flag: "broker",
        value: "HOST:PORT,...",
        help: "Kafka's bootstrap addresses [default: 127.0.0.1:9092]",
        common: true,
        set: |settings, text| put(&mut settings.broker, value::brokers(text)),
    },
    Row {
        flag: "broker-timeout",
        value: "TIME",
        help: "Give up when no broker has answered for so long [default: wait for ever]",
        common: true,
        set: |settings, text| {
            put(
                &mut settings.broker_timeout,
                value::positive_duration(text).map(Some),
            )
        },
    },
    Row {
        flag: "data-dir",
        value: "DIR",
        help: "Where the node keeps its tables [default: .tanist/{app id}]",
        common: true,
        set: |settings, text| put(&mut settings.data_dir, value::path(text)),
    },
    Row {
        flag: "node",
        value: "NAME",
        help: "What this node is called [default: the name of the machine]",
        common: false,
        set: |settings, text| put(&mut settings.node, value::name(text).map(NodeName::new)),
    },
    Row {
        flag: "http",
        value: "ADDRESS:PORT",
        help: "Where the node answers people and other nodes, without access control; port 0 is any free one, written \
               to a file in the data directory [default: 127.0.0.1:0]",
        common: false,
        set: |settings, text| put(&mut settings.http, value::listened(text)),
    },
    Row {
        flag: "advertised-http",
        value: "HOST:PORT",
        help: "Where other nodes reach this one, as Kafka's advertised.listeners; port 0 is the one that it listens on \
               [default: where it listens]",
        common: false,
        set: |settings, text| {
            put(
                &mut settings.advertised_http,
                value::advertised(text).map(Some),
            )
        },
    },
    Row {
        flag: "workers",
        value: "N",
        help: "Threads that process records [default: as many as there are cores, at most one a shard]",
        common: false,
        set: |settings, text| put(&mut settings.workers, value::count(text)),
    },
    Row {
        flag: "standbys",
        value: "N",
        help: "How many standbys every table has on other nodes; equal on all nodes [default: what the app declares]",
        common: false,
        set: |settings, text| put(&mut settings.standbys, value::whole(text).map(Some)),
    },
    Row {
        flag: "failure-timeout",
        value: "TIME",
        help: "How long a node may be silent before the others take its shards; equal on all nodes [default: 1s]",
        common: false,
        set: |settings, text| {
            put(
                &mut settings.cluster.failure_timeout,
                value::positive_duration(text),
            )
        },
    },
    Row {
        flag: "heartbeat-interval",
        value: "TIME",
        help: "How often a node says that it lives [default: 100ms]",
        common: false,
        set: |settings, text| {
            put(
                &mut settings.cluster.heartbeat_interval,
                value::positive_duration(text),
            )
        },
    },
    Row {
        flag: "leave-timeout",
        value: "TIME",
        help: "How long a node that is to stop waits for others to take its shards over [default: 30s]",
        common: false,
        set: |settings, text| put(&mut settings.cluster.leave_timeout, value::duration(text)),
    },
    Row {
        flag: "finish-timeout",
        value: "TIME",
        help: "How long a handler may go on when its shard is to move or its node to stop; then it is cut off, and leaves no \
               trace [default: 10s]",
        common: false,
        set: |settings, text| put(&mut settings.finish_timeout, value::duration(text)),
    },
    Row {
        flag: "max-poll-interval",
        value: "TIME",
        help: "How long a handler may block its thread, as Kafka's max.poll.interval.ms; then the process of the node ends \
               (exit code 5), and others take its shards; 0s: for ever [default: 5m]",
        common: false,
        set: |settings, text| {
            let limit = value::duration(text).map(|limit| Some(limit).filter(|it| !it.is_zero()));
            put(&mut settings.max_poll_interval, limit)
        },
    },
    Row {
        flag: "weight",
        value: "N",
        help: "How much this node can carry, compared with the others; 0: no shards [default: 100]",
        common: false,
        set: |settings, text| put(&mut settings.cluster.weight, value::whole(text)),
    },
    Row {
        flag: "rack",
        value: "NAME",
        help: "Where this node stands: standbys are put on other racks first [default: none]",
        common: false,
        set: |settings, text| put(&mut settings.cluster.rack, value::name(text).map(Some)),
    },
    Row {
        flag: "max-warmups",
        value: "N",
        help: "How many copies may be filled at a time only to balance the nodes [default: 8]",
        common: false,
        set: |settings, text| {
            let count = value::count(text).map(|count| count as usize);
            put(&mut settings.cluster.policy.max_warmups, count)
        },
    },
    Row {
        flag: "guarantee",
        value: "WHICH",
        help: "exactly_once, at_least_once or at_most_once [default: exactly_once]",
        common: false,
        set: |settings, text| put(&mut settings.guarantee, value::guarantee(text)),
    },
    Row {
        flag: "commit-interval",
        value: "TIME",
        help: "The longest time that something finished waits for a commit [default: 100ms]",
        common: false,
        set: |settings, text| {
            put(
                &mut settings.commit_interval,
                value::positive_duration(text),
            )
        },
    },
    Row {
        flag: "commit-bytes",
        value: "BYTES",
        help: "Uncommitted output and table writes of a worker after which it commits at once [default: 2MiB]",
        common: false,
        set: |settings, text| put(&mut settings.commit_bytes, value::bytes(text)),
    },
    Row {
        flag: "store-bytes",
        value: "BYTES",
        help: "Memory of all tables' stores for their caches and write buffers [default: 64MiB]",
        common: false,
        set: |settings, text| put(&mut settings.store_bytes, value::bytes(text)),
    },
    Row {
        flag: "cache-bytes",
        value: "BYTES",
        help: "Memory of all workers for decoded values of tables [default: 64MiB]",
        common: false,
        set: |settings, text| put(&mut settings.cache_bytes, value::bytes(text)),
    },
    Row {
        flag: "max-record-bytes",
        value: "BYTES",
        help: "The largest record, key, value and headers, that may be sent; for more than the default, a topic's \
               max.message.bytes has to be larger, too [default: 1000000]",
        common: false,
        set: |settings, text| put(&mut settings.max_record_bytes, value::bytes(text)),
    },
    Row {
        flag: "commit-timeout",
        value: "TIME",
        help: "How long a commit may take before its outcome counts as unknown [default: 20s]",
        common: false,
        set: |settings, text| put(&mut settings.commit_timeout, value::positive_duration(text)),
    },
    Row {
        flag: "transaction-timeout",
        value: "TIME",
        help: "After how long the broker rolls back a transaction that nobody ends [default: 30s]",
        common: false,
        set: |settings, text| {
            put(
                &mut settings.transaction_timeout,
                value::positive_duration(text),
            )
        },
    },
    Row {
        flag: "log",
        value: "FILTER",
        help: "What is logged to stderr: off, error, warn, info, debug, trace, or `target=level,...` [default: info for \
               nodes and brokers, else warn]",
        common: true,
        set: |settings, text| put(&mut settings.log, value::log_filter(text).map(Some)),
    },
];

fn put<T>(setting: &mut T, value: Result<T, String>) -> Result<(), String> {
    *setting = value?;
    Ok(())
}

impl Row {
    /// What it is called in a file and in the program.
    pub(crate) fn key(&self) -> String {
        self.flag.replace('-', "_")
    }
}

/// The setting with this key.
pub(super) fn find(key: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.key() == key)
}
