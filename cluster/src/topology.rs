//! What an app is made of, as far as its nodes have to agree on it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{GroupName, ShardId};

/// The readable summary of an app's agents, tables and topics that a node puts into its `Join`.
///
/// Nodes may run different builds of one topology at a time (a rolling upgrade), but not two topologies: a
/// record that one of them repartitions would be read by the other by other rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Topology {
    /// The groups of co-partitioned topics; one shard for each of their partitions.
    pub groups: BTreeMap<GroupName, Group>,
    /// Everything else that must be equal, as `what it is -> what it is made of`,
    /// for example `agent count-orders` -> `orders by account, table order_count`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, String>,
    /// How tables, and topics between two steps, are written, where that is known: has to be equal for those of which both
    /// know it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub written: BTreeMap<String, String>,
}

/// One group of co-partitioned topics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Group {
    /// The number of partitions that each of its topics has.
    pub partitions: u32,
    /// Its input and repartition topics, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    /// Its tables, sorted. A group without tables has nothing to keep warm, hence no standbys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    /// How many standbys each of its shards should have. Not part of what has to be equal: it may change in a
    /// rolling upgrade, and the director's number counts.
    #[serde(default)]
    pub standbys: u32,
}

impl Topology {
    /// All shards, sorted.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.groups.iter().flat_map(|(name, group)| {
            (0..i32::try_from(group.partitions).unwrap_or(i32::MAX))
                .map(|partition| ShardId::new(name.clone(), partition))
        })
    }

    /// A short form of all that has to be equal, for people and logs.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Fnv::default();
        for (what, made_of) in self.lines() {
            hash.line(&what);
            hash.line(&made_of);
        }
        for (what, written) in &self.written {
            hash.line(what);
            hash.line(written);
        }
        Fingerprint(hash.0)
    }

    /// What differs between `self` ("here") and `other` ("there"), a sentence each; empty if nodes of both
    /// may work together.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let (here, there) = (self.lines(), other.lines());
        let mut found = Vec::new();
        for (what, made_of) in &here {
            match there.get(what) {
                None => found.push(format!("{what} is only here")),
                Some(other) if other != made_of => {
                    found.push(format!("{what} is {made_of} here and {other} there"));
                }
                Some(_) => {}
            }
        }
        let only_there = there.keys().filter(|what| !here.contains_key(*what));
        found.extend(only_there.map(|what| format!("{what} is only there")));
        found.extend(self.written.iter().filter_map(|(what, here)| {
            let there = other.written.get(what).filter(|there| *there != here)?;
            Some(format!("{what} is {here} here and {there} there"))
        }));
        found
    }

    fn lines(&self) -> BTreeMap<String, String> {
        let list = |kind: &str, names: &[String]| match names {
            [] => String::new(),
            names => format!(", {kind} {}", names.join(" and ")),
        };
        let groups = self.groups.iter().map(|(name, group)| {
            let made_of = format!(
                "{} partitions{}{}",
                group.partitions,
                list("topics", &group.topics),
                list("tables", &group.tables)
            );
            (format!("group {name}"), made_of)
        });
        groups.chain(self.parts.clone()).collect()
    }
}

/// The short form of a [`Topology`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// FNV-1a: the same on every machine and in every build, which the standard library's hasher does not promise.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn line(&mut self, text: &str) {
        for byte in text.bytes().chain([b'\n']) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(partitions: u32, tables: &[&str]) -> Topology {
        let group = Group {
            partitions,
            topics: vec!["orders".to_owned()],
            tables: tables.iter().map(|&name| name.to_owned()).collect(),
            standbys: 1,
        };
        Topology {
            groups: [(GroupName::from("orders"), group)].into(),
            ..Topology::default()
        }
    }

    #[test]
    fn a_mismatch_says_what_differs() {
        let here = orders(8, &["order_count"]);
        let mut there = orders(4, &["order_count"]);
        there.parts.insert("agent audit".into(), "orders".into());
        assert_eq!(
            here.differences(&there),
            [
                "group orders is 8 partitions, topics orders, tables order_count here and \
                 4 partitions, topics orders, tables order_count there",
                "agent audit is only there",
            ]
        );
        let from_there = there.differences(&here);
        assert!(from_there.contains(&"agent audit is only here".to_owned()));
        assert_ne!(here.fingerprint(), there.fingerprint());
    }

    #[test]
    fn the_number_of_standbys_may_differ() {
        let here = orders(8, &["order_count"]);
        let mut there = here.clone();
        there
            .groups
            .values_mut()
            .for_each(|group| group.standbys = 2);
        assert_eq!(here.differences(&there), [""; 0]);
        assert_eq!(here.fingerprint(), there.fingerprint());
    }

    #[test]
    fn a_table_that_is_written_in_two_ways_is_a_mismatch_unless_one_of_them_is_not_known() {
        let with = |written: &[&str]| {
            let mut topology = orders(8, &["order_count"]);
            let tables = written
                .iter()
                .map(|it| ("table order_count".to_owned(), (*it).to_owned()));
            topology.written = tables.collect();
            topology
        };
        let (narrow, wide, unknown) = (with(&["u32"]), with(&["u64"]), with(&[]));
        assert_eq!(
            narrow.differences(&wide),
            ["table order_count is u32 here and u64 there"]
        );
        assert_ne!(narrow.fingerprint(), wide.fingerprint());
        assert_eq!(narrow.differences(&narrow), [""; 0]);
        assert_eq!(narrow.differences(&unknown), [""; 0]);
        assert_eq!(unknown.differences(&narrow), [""; 0]);
    }

    #[test]
    fn every_partition_of_every_group_is_a_shard() {
        let shards: Vec<String> = orders(3, &[])
            .shards()
            .map(|shard| shard.to_string())
            .collect();
        assert_eq!(shards, ["orders/0", "orders/1", "orders/2"]);
    }

    #[test]
    fn a_fingerprint_is_the_same_in_every_build() {
        assert_eq!(orders(8, &[]).fingerprint().to_string(), "2942ccf51df0eaa7");
    }
}
