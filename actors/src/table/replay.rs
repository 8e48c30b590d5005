//! [`Replay`]: how changelog records change a store. One function for active, standby, restore and test driver (S4).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tanist_cluster::{Millis, Offset, ShardId};

use super::TableShape;
use crate::codec::is_known_format;
use crate::port::{Changes, Store, StoreError, TopicUuid};
use crate::tracker::Progress;

/// The key in a changelog under which a commit writes what it has finished of the shard's inputs. No other key begins
/// with `0xff` and a byte that is not `0xff`: see [`escape`].
pub const INPUTS_KEY: &[u8] = b"\xfftanist.inputs";

/// The key in a store under which [`StoreState`] stands. Table names are not empty, so no table's prefix begins so.
pub const STATE_KEY: &[u8] = b"\0";

/// What a shard has finished of its inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// Whose shard it is, if it has tables: the names of two apps and their tables may come to one changelog (`a` with `b-c`,
    /// `a-b` with `c`). None if an older version wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<Arc<str>>,
    /// When a shard with tables made its first commit: tells it from one of the same name, whose changelogs were deleted,
    /// or were on another broker. 0 if an older version wrote it.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub born: Millis,
    /// Counts the shard's commits: where a shard has several changelogs, the record with the highest is the latest.
    pub commit: u64,
    /// Progress of each agent, by [`agent_input`].
    pub agents: BTreeMap<String, Progress>,
    /// Where a shard has several changelogs, the last commit that wrote to each, by its topic: so one that is lost
    /// alone is missed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changelogs: BTreeMap<Arc<str>, u64>,
    /// Which topics the agents have read, where the broker says: the progress is none in a topic that was made anew.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub topics: BTreeMap<Arc<str>, TopicUuid>,
    /// How the table is written in whose changelog this stands. None if an older version wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Arc<TableShape>>,
}

fn is_unknown(born: &Millis) -> bool {
    *born == Millis::default()
}

impl Inputs {
    /// Whether the two can be of one shard in one life of its changelogs.
    pub(crate) fn is_of_one_life(&self, other: &Self) -> bool {
        is_unknown(&self.born) || is_unknown(&other.born) || self.born == other.born
    }
}

/// How an agent's progress is named: by the agent and its topic, so that an agent that is given another topic begins
/// that one anew.
pub fn agent_input(agent: &str, topic: &str) -> String {
    format!("{agent}@{topic}")
}

/// Where a store stands: in the same batch as the data that it tells of (S3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreState {
    /// The app that the store belongs to.
    pub app: String,
    /// The shard.
    pub shard: ShardId,
    /// The inputs that it contains.
    pub inputs: Inputs,
    /// How far each changelog, by its topic, has been replayed: the next offset to read.
    pub changelogs: BTreeMap<Arc<str>, Offset>,
    /// When it was last known to hold all that its changelogs held, or began to be filled: what was deleted since then
    /// can still be read. 0 if an older version wrote it.
    #[serde(default)]
    pub current_at: Millis,
    /// The last commit that was seen in each changelog.
    #[serde(default)]
    pub commits: BTreeMap<Arc<str>, u64>,
    /// How the table of each changelog is written, as its last commit has it.
    #[serde(default)]
    pub shapes: BTreeMap<Arc<str>, Arc<TableShape>>,
}

/// A changelog that lacks what was committed to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) topic: Arc<str>,
    /// The last commit that it was written to in.
    pub(crate) committed: u64,
    /// The last commit that was found in it; 0 if none was.
    pub(crate) found: u64,
}

impl StoreState {
    /// The state of a store that nothing has been written to.
    pub fn new(app: &str, shard: &ShardId) -> Self {
        Self {
            app: app.to_owned(),
            shard: shard.clone(),
            inputs: Inputs::default(),
            changelogs: BTreeMap::new(),
            commits: BTreeMap::new(),
            shapes: BTreeMap::new(),
            current_at: Millis::default(),
        }
    }

    /// What is missing, now that `changelogs` have been read to their ends: by what they tell of each other, and by
    /// `committed`, the shard's last commit as the consumer group knows it.
    pub(crate) fn lost(&self, changelogs: &[Changelog], committed: u64) -> Option<Lost> {
        let inputs = &self.inputs;
        let all = inputs.commit < committed;
        changelogs.iter().find_map(|changelog| {
            let topic = changelog.topic.clone();
            let written = inputs.changelogs.get(&topic).copied().unwrap_or(0);
            let lost = Lost {
                committed: if all { committed } else { written },
                found: self.commits.get(&topic).copied().unwrap_or(0),
                topic,
            };
            (lost.found < lost.committed).then_some(lost)
        })
    }

    /// Reads it from `store`; `path` is what to call the store in an error. Refuses a store of another app or shard.
    pub fn load(
        store: &dyn Store,
        app: &str,
        shard: &ShardId,
        path: &str,
    ) -> Result<Self, StoreError> {
        let corrupt = |reason: String| StoreError::Corrupt {
            path: path.to_owned(),
            reason,
        };
        let Some(bytes) = store.get(STATE_KEY)? else {
            return Ok(Self::new(app, shard));
        };
        let state: Self = serde_json::from_slice(&bytes).map_err(|error| {
            corrupt(format!(
                "its position cannot be read ({error}); it was written by a newer version, or damaged: move it away \
                 and it is rebuilt from the changelog"
            ))
        })?;
        if state.app != app || state.shard != *shard {
            return Err(corrupt(format!(
                "it belongs to shard {} of app `{}`, not to {shard} of `{app}`: give each app a data directory of \
                 its own",
                state.shard, state.app
            )));
        }
        Ok(state)
    }
}

/// A changelog of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changelog {
    /// Its topic.
    pub topic: Arc<str>,
    /// The prefix of its table's keys in the store.
    pub prefix: Vec<u8>,
    /// How the app writes the table, if what another wrote is to be refused.
    pub shape: Option<Arc<TableShape>>,
}

impl Changelog {
    /// Refuses what was written as `then`, if the app's types would read something else from it.
    fn check(&self, then: &TableShape) -> Result<(), StoreError> {
        let change = self.shape.as_ref().and_then(|now| now.change_since(then));
        change.map_or(Ok(()), |change| {
            let table = String::from_utf8_lossy(self.prefix.get(1..).unwrap_or_default());
            Err(StoreError::OtherShape {
                table: table.into_owned(),
                change,
            })
        })
    }
}

/// The prefix of a table's keys in a store: the name's length and the name, which is stable whatever other tables come
/// and go, and which no other table's prefix begins with.
pub fn table_prefix(name: &str) -> Vec<u8> {
    debug_assert!(
        !name.is_empty() && name.len() < 256,
        "table names are 1 to 255 bytes"
    );
    let mut prefix = vec![name.len() as u8];
    prefix.extend_from_slice(name.as_bytes());
    prefix
}

/// Turns a table's key into a changelog key: the same bytes, but that a leading `0xff` is doubled.
pub fn escape(key: &[u8], into: &mut Vec<u8>) {
    if key.first() == Some(&0xff) {
        into.push(0xff);
    }
    into.extend_from_slice(key);
}

/// Turns a changelog key back into a table's; `None` if it is a reserved one.
fn unescape(key: &[u8]) -> Option<&[u8]> {
    match key {
        [0xff, 0xff, ..] => Some(&key[1..]),
        [0xff, ..] => None,
        _ => Some(key),
    }
}

/// Reads changelog records and collects what they mean for the store.
pub struct Replay {
    changelogs: Arc<[Changelog]>,
    state: StoreState,
    changes: Changes,
}

impl Replay {
    /// Goes on from `state`.
    pub fn new(changelogs: Arc<[Changelog]>, state: StoreState) -> Self {
        Self {
            changelogs,
            state,
            changes: Changes::default(),
        }
    }

    /// Refuses a store with tables that the app would read otherwise than they were written.
    pub(crate) fn check_shapes(&self) -> Result<(), StoreError> {
        self.changelogs.iter().try_for_each(|changelog| {
            let then = self.state.shapes.get(&changelog.topic);
            then.map_or(Ok(()), |then| changelog.check(then))
        })
    }

    /// Takes in a record of the changelog at `changelog` in the list given to [`Replay::new`].
    pub fn record(
        &mut self,
        changelog: usize,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let Changelog { topic, prefix, .. } = &self.changelogs[changelog];
        let Some(key) = unescape(key) else {
            return self.inputs(changelog, key, value);
        };
        match value {
            None => self.changes.delete(prefix, key),
            Some(value) if is_known_format(value) => self.changes.put(prefix, key, value),
            Some(_) => return Err(foreign(topic, "a value in no format of a Tanist table")),
        }
        Ok(())
    }

    fn inputs(
        &mut self,
        changelog: usize,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let topic = &self.changelogs[changelog].topic;
        let Some(value) = value.filter(|_| key == INPUTS_KEY) else {
            return Err(foreign(
                topic,
                "a reserved key that this version does not know",
            ));
        };
        let inputs: Inputs = serde_json::from_slice(value).map_err(|error| {
            foreign(
                topic,
                &format!("input positions that cannot be read ({error})"),
            )
        })?;
        if let Some(app) = inputs.app.as_ref().filter(|app| ***app != self.state.app) {
            return Err(foreign(topic, &format!("a table of app `{app}`")));
        }
        if !inputs.is_of_one_life(&self.state.inputs) {
            return Err(StoreError::Corrupt {
                path: format!("changelog {topic}"),
                reason: format!(
                    "it is not the one that the store of shard {} here was filled from, but a later one of that name. \
                     Move the data directory away to rebuild tables from this changelog",
                    self.state.shard
                ),
            });
        }
        if let Some(table) = &inputs.table
            && self.state.shapes.get(topic) != Some(table)
        {
            self.changelogs[changelog].check(table)?;
            self.state.shapes.insert(topic.clone(), table.clone());
        }
        match self.state.commits.get_mut(topic) {
            Some(commit) => *commit = inputs.commit.max(*commit),
            None => {
                self.state.commits.insert(topic.clone(), inputs.commit);
            }
        }
        if inputs.commit >= self.state.inputs.commit {
            self.state.inputs = inputs;
        }
        Ok(())
    }

    /// Whether `value` can be the input positions that were last taken in from a changelog.
    pub(crate) fn has_seen_last(&self, changelog: usize, value: Option<&[u8]>) -> bool {
        let read = |value| serde_json::from_slice::<Inputs>(value).ok();
        let seen = self.state.commits.get(&self.changelogs[changelog].topic);
        value.and_then(read).is_some_and(|inputs| {
            inputs.is_of_one_life(&self.state.inputs)
                && seen.is_none_or(|commit| *commit == inputs.commit)
        })
    }

    /// The store's key for a changelog record; `None` if it is about no key of a table.
    pub(crate) fn store_key(&self, changelog: usize, key: &[u8]) -> Option<Vec<u8>> {
        let key = unescape(key)?;
        Some([&self.changelogs[changelog].prefix, key].concat())
    }

    /// All of that changelog below `next` has been taken in.
    pub fn reached(&mut self, changelog: usize, next: Offset) {
        let topic = &self.changelogs[changelog].topic;
        match self.state.changelogs.get_mut(topic) {
            Some(offset) => *offset = next.max(*offset),
            None => {
                self.state.changelogs.insert(topic.clone(), next);
            }
        }
    }

    /// The same of what was just written there: behind all that was, unless it is another changelog by now.
    pub(crate) fn written(&mut self, changelog: usize, next: Offset) -> Result<(), StoreError> {
        let topic = &self.changelogs[changelog].topic;
        let before = self.state.changelogs.get(topic);
        if let Some(before) = before.filter(|before| next <= **before) {
            return Err(StoreError::ChangelogWentBack {
                changelog: topic.to_string(),
                next,
                before: *before,
            });
        }
        self.reached(changelog, next);
        Ok(())
    }

    /// What has been taken in so far is all that there is `now`.
    pub(crate) fn is_current(&mut self, now: Millis) {
        self.state.current_at = now.max(self.state.current_at);
    }

    /// Where the store stands when what has been taken in so far is applied.
    pub fn state(&self) -> &StoreState {
        &self.state
    }

    /// The changelogs, in the order by which [`Replay::record`] counts them.
    pub fn changelogs(&self) -> &Arc<[Changelog]> {
        &self.changelogs
    }

    /// Bytes that wait to be taken.
    pub fn pending_bytes(&self) -> usize {
        self.changes.size_bytes()
    }

    /// What has been taken in since the last time, with the position: to be applied in one batch.
    pub fn take(&mut self) -> Changes {
        let state = serde_json::to_vec(&self.state).expect("plain values become JSON");
        self.changes.put(STATE_KEY, &[], &state);
        std::mem::take(&mut self.changes)
    }
}

fn foreign(topic: &str, what: &str) -> StoreError {
    StoreError::Corrupt {
        path: format!("changelog {topic}"),
        reason: format!(
            "it holds {what}: another program has written to it, or a newer version of this app. Give the app an id \
             of its own, or remove the foreign records"
        ),
    }
}
