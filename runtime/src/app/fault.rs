//! [`Fault`]: what is wrong with an app's declarations, or does not fit the topics that exist.

use std::fmt;
use std::sync::Arc;

/// What is wrong with an app's declarations, or does not fit the topics that exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A name that Kafka would not take.
    #[error("{what} {name:?}: a name has 1 to 200 letters, digits, `-`, `_` or `.`")]
    Name {
        /// What is called so.
        what: &'static str,
        /// The name.
        name: Arc<str>,
    },
    /// One name for two things.
    #[error("two {what}s are called {name:?}: rename one")]
    Twice {
        /// What they are.
        what: &'static str,
        /// The name.
        name: Arc<str>,
    },
    /// Topics of one group that have different partition counts.
    #[error(
        "topics that are used together must have equal partition counts: {} (agents that share a table, or a topic, must \
         see a key in the same partition number); create them anew, or bring one into shape with `group_by`",
        counts(topics)
    )]
    PartitionCounts {
        /// The topics and how many partitions each has.
        topics: Vec<(Arc<str>, i32)>,
    },
    /// A topic exists with another count than the app declares.
    #[error(
        "topic {topic} has {existing} partitions, but the app declares {declared}: correct one of them"
    )]
    DeclaredCount {
        /// The topic.
        topic: Arc<str>,
        /// How many it has.
        existing: i32,
        /// How many it should have.
        declared: i32,
    },
    /// Topics that a table is divided as were given partitions.
    #[error(
        "topic {changelog}, from which a table is restored, has {existing} partitions, and the topics that the table is \
         divided as have {inputs}: {} (were partitions added? Keys are in other partitions then, where nothing is known of \
         them: begin anew under another app id, or with a new topic; behind `group_by` a table keeps its own count)",
        topics.join(", ")
    )]
    TableCount {
        /// The changelog.
        changelog: Arc<str>,
        /// How many partitions it has.
        existing: i32,
        /// How many the inputs have.
        inputs: i32,
        /// The inputs.
        topics: Vec<Arc<str>>,
    },
    /// An internal topic that forgets what it is there to keep.
    #[error(
        "topic {topic} has cleanup.policy={policy}, but {why}: set it to `{needed}` (kafka-configs --alter --entity-type \
         topics --entity-name {topic} --add-config cleanup.policy={needed}), unless it has lost something already: then \
         begin anew under another app id"
    )]
    Cleanup {
        /// The topic.
        topic: Arc<str>,
        /// What it has.
        policy: String,
        /// What it should have.
        needed: &'static str,
        /// What it is there for.
        why: &'static str,
    },
    /// An internal topic that would refuse what the settings allow.
    #[error(
        "topic {topic} takes records of up to {existing} bytes (max.message.bytes), and the setting `max_record_bytes` needs \
         {needed}: raise it (kafka-configs --alter --entity-type topics --entity-name {topic} --add-config \
         max.message.bytes={needed}), or lower the setting"
    )]
    MessageBytes {
        /// The topic.
        topic: Arc<str>,
        /// What it takes.
        existing: usize,
        /// What it should take.
        needed: usize,
    },
    /// A table with keys or values that nobody could read.
    #[error(
        "table {table}: its {what}s could be written, but not read again: their type asks the bytes what they are (as serde's \
         `tag`, `untagged` and `flatten` do, and `serde_json::Value`), and the table's codec does not write that: give it \
         another, such as `.{what}_codec(Json)`"
    )]
    NotReadBack {
        /// The table.
        table: Arc<str>,
        /// `key` or `value`.
        what: &'static str,
    },
    /// Neither an agent nor a timer.
    #[error("nothing to run: the app has no agents and no timers")]
    Nothing,
}

fn counts(topics: &[(Arc<str>, i32)]) -> String {
    let each: Vec<String> = topics
        .iter()
        .map(|(topic, count)| format!("{topic} has {count}"))
        .collect();
    each.join(", ")
}

/// All faults of an app, in one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<String> = self.0.iter().map(Fault::to_string).collect();
        f.write_str(&each.join("\n"))
    }
}

impl std::error::Error for Faults {}
