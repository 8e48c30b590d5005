//! The records of topic `{app}.heartbeat`: one partition, minutes of retention, written by every member some
//! ten times a second.
//!
//! They say that a member lives and how far its copies are. Nothing that has to be right depends on them: a
//! heartbeat that is lost or late costs time, never a record.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::codec::{DecodeError, from_json, to_json};
use crate::ids::{MemberId, Offset, ShardId};
use crate::placement::Policy;
use crate::view::View;

/// One sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Whose.
    pub member: MemberId,
    /// The how-manieth, from 0: how a member knows its own when it comes back.
    pub beat: u64,
    /// Its operator has asked it to stop: its shards are to go elsewhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// What it has. Left out while nothing has changed that a plan depends on: with many shards it is by far
    /// the larger part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

/// What a member has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// The copies on its disk, also those for which it has no role at present: a node that comes back after a
    /// restart takes up where it was.
    pub copies: BTreeMap<ShardId, Copy>,
    /// The shards that it cannot run.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub broken: BTreeSet<ShardId>,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// Its position in the changelog.
    pub position: Offset,
    /// How many records the changelog goes on after that.
    pub lag_records: u64,
    /// It only lies on the disk: whoever is to process the shard there has to open it first.
    // Builds that do not say so are taken to have it open.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_closed: bool,
}

/// What was heard last of each member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reports(pub(crate) BTreeMap<MemberId, (Report, bool)>);

/// A report is repeated so often although nothing has changed that a plan depends on: for who joined lately, and for
/// people, who want to see lags.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

impl Report {
    /// Whether the next heartbeat should carry this report, the last one that did having been `last`, so long ago.
    #[must_use]
    pub fn is_due(&self, last: &Self, since_last: Duration, policy: &Policy) -> bool {
        let caught_up = |copy: &Copy| copy.lag_records <= policy.acceptable_lag_records;
        let kind = |copy: &Copy| (caught_up(copy), copy.is_closed);
        let same = |(shard, copy): (&ShardId, &Copy)| {
            let before = last.copies.get(shard);
            before.is_some_and(|before| kind(before) == kind(copy))
        };
        since_last >= REPORT_INTERVAL
            || self.broken != last.broken
            || self.copies.len() != last.copies.len()
            || !self.copies.iter().all(same)
    }
}

impl Reports {
    /// Takes in a heartbeat.
    pub fn heard(&mut self, heartbeat: Heartbeat) {
        let leaving = heartbeat.leaving;
        if let Some(report) = heartbeat.report {
            self.0.insert(heartbeat.member, (report, leaving));
        } else if let Some(known) = self.0.get_mut(&heartbeat.member) {
            known.1 = leaving;
        }
    }

    /// Forgets those that are no members any more.
    pub fn follow(&mut self, view: &View) {
        self.0.retain(|id, _| view.member(*id).is_some());
    }

    /// What a member has, and whether it is leaving; none if it has not said yet what it has.
    #[must_use]
    pub fn get(&self, member: MemberId) -> Option<&(Report, bool)> {
        self.0.get(&member)
    }

    /// Whether a member has said that it is leaving.
    #[must_use]
    pub fn leaves(&self, member: MemberId) -> bool {
        self.get(member).is_some_and(|(_, leaving)| *leaving)
    }

    /// Whether all of these are leaving: then nobody is there to take over, and nobody has to be waited for.
    #[must_use]
    pub fn all_leave(&self, members: impl IntoIterator<Item = MemberId>) -> bool {
        members.into_iter().all(|id| self.leaves(id))
    }
}

impl Heartbeat {
    /// The key under which it is written.
    #[must_use]
    pub fn key(&self) -> String {
        format!("heartbeat/{}", self.member)
    }

    /// The value to be written.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        to_json(self)
    }

    /// Reads a record of the topic.
    ///
    /// # Errors
    /// A record of a newer build, or of another program. The reader may go on: one sign of life less.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, DecodeError> {
        from_json(&String::from_utf8_lossy(key), value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_without_news_is_short_and_one_with_news_is_read_as_written() {
        let mut heartbeat = Heartbeat {
            member: MemberId(40),
            beat: 7,
            leaving: false,
            report: None,
        };
        let short = heartbeat.encode();
        assert_eq!(
            String::from_utf8_lossy(&short),
            r#"{"format":1,"record":{"member":40,"beat":7}}"#
        );
        let copy = Copy {
            position: Offset(17),
            lag_records: 3,
            is_closed: true,
        };
        heartbeat.leaving = true;
        heartbeat.report = Some(Report {
            copies: [(ShardId::new("orders", 3), copy)].into(),
            broken: [ShardId::new("orders", 4)].into(),
        });
        let read = |it: &[u8]| Heartbeat::decode(heartbeat.key().as_bytes(), it).unwrap();
        assert_eq!(read(&heartbeat.encode()), heartbeat);
        // A build that does not know of closed copies.
        let text = String::from_utf8(heartbeat.encode()).unwrap();
        let report = read(text.replace(r#","is_closed":true"#, "").as_bytes()).report;
        let copies = report.unwrap().copies;
        assert!(!copies[&ShardId::new("orders", 3)].is_closed);
    }

    #[test]
    fn a_report_is_due_when_a_plan_could_depend_on_it_and_else_once_a_second() {
        const ON_DISK: u64 = 7;
        let with = |lag_records: u64, broken: &[i32]| Report {
            copies: [(
                ShardId::new("orders", 3),
                Copy {
                    position: Offset(17),
                    lag_records,
                    is_closed: lag_records == ON_DISK,
                },
            )]
            .into(),
            broken: broken.iter().map(|n| ShardId::new("orders", *n)).collect(),
        };
        let policy = Policy::default();
        let far = policy.acceptable_lag_records + 1;
        let soon = Duration::from_millis(100);
        for (last, now, since, due) in [
            (with(5, &[]), with(0, &[]), soon, false),
            (with(5, &[]), with(0, &[]), REPORT_INTERVAL, true),
            (with(far, &[]), with(5, &[]), soon, true),
            (with(far, &[]), with(far + 1, &[]), soon, false),
            (with(ON_DISK, &[]), with(5, &[]), soon, true),
            (with(0, &[]), with(0, &[4]), soon, true),
            (Report::default(), with(0, &[]), soon, true),
            (with(0, &[]), Report::default(), soon, true),
        ] {
            assert_eq!(now.is_due(&last, since, &policy), due, "{last:?} {now:?}");
        }
    }

    #[test]
    fn a_member_is_leaving_as_soon_as_it_says_so_and_known_once_it_has_reported() {
        let beat = |report: Option<Report>, leaving| Heartbeat {
            member: MemberId(40),
            beat: 0,
            leaving,
            report,
        };
        let mut reports = Reports::default();
        reports.heard(beat(None, true));
        assert_eq!(reports.get(MemberId(40)), None);
        reports.heard(beat(Some(Report::default()), false));
        assert!(!reports.all_leave([MemberId(40)]));
        reports.heard(beat(None, true));
        assert!(reports.all_leave([MemberId(40)]));
        assert!(!reports.all_leave([MemberId(40), MemberId(41)]));
        reports.follow(&View::default());
        assert_eq!(reports.get(MemberId(40)), None);
    }
}
