//! Who is alive, as one member judges it for itself. A wrong judgement costs a hand-over, not a record.
//!
//! Time is measured from this process's start, by a clock that never goes back; that of other nodes has no
//! part in it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

#[cfg(test)]
mod tests;

use crate::ids::MemberId;
use crate::view::View;

/// So many heartbeats prove that a member lives although its connection was refused: one or two may have been
/// under way when it died.
const BEATS_AGAINST_REFUSAL: u32 = 3;

/// After an outage of the broker, members are back in the order in which their clients try again, which is up to a
/// second and a fifth later for one than for another. After a short one sooner: they wait about as long as it took.
const GRACE: Duration = Duration::from_secs(2);

/// What one member has noticed of the others.
#[derive(Debug, Clone)]
pub struct Liveness {
    me: MemberId,
    failure_timeout: Duration,
    last_own: Option<OwnBeat>,
    others: BTreeMap<MemberId, Signs>,
}

#[derive(Debug, Clone, Copy)]
struct OwnBeat {
    sent: Duration,
    came_back: Duration,
}

/// From one own beat to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    /// How much longer they are silent of whom nothing was heard in it.
    counts: Duration,
    /// For how long the log stood still, or we did.
    stood_still: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Signs {
    /// For how long our own heartbeats came back and none of this member did.
    silence: Duration,
    heard_since_own: bool,
    /// For how long its silence does not count yet, after a standstill.
    settling: Duration,
    /// There was a standstill, and since then it was not heard. The next one is no excuse any more.
    excused: bool,
    /// Heartbeats still needed before a refused connection is forgotten; 0: none was refused.
    refused: u32,
    replaced_by: Option<MemberId>,
}

/// What is thought of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It lives, as far as one can tell.
    Alive,
    /// Nothing was heard of it for too long.
    Silent(Duration),
    /// Its connection broke, and a new one was refused: the process is gone.
    Refused,
    /// A later member has its name and has armed its producers, which it does only after it has made sure.
    Replaced {
        /// That one.
        by: MemberId,
    },
}

impl Liveness {
    /// Nothing noticed yet.
    #[must_use]
    pub fn new(me: MemberId, failure_timeout: Duration) -> Self {
        Self {
            me,
            failure_timeout,
            last_own: None,
            others: BTreeMap::new(),
        }
    }

    /// Takes in who is a member now. Call it after every change of the view.
    pub fn follow(&mut self, view: &View) {
        // To a newcomer the standstill happened as well, under another id perhaps.
        let settling = self.others.values().map(|it| it.settling).max();
        let newcomer = Signs {
            settling: settling.unwrap_or_default(),
            ..Signs::default()
        };
        self.others.retain(|id, _| view.member(*id).is_some());
        let members: Vec<_> = view.members().filter(|(id, _)| *id != self.me).collect();
        for (n, (id, member)) in members.iter().enumerate() {
            let mut later = members[n + 1..].iter();
            let successor = later.find(|(_, it)| {
                it.join.node == member.join.node && it.generation > Default::default()
            });
            let signs = self.others.entry(*id).or_insert(newcomer);
            signs.replaced_by = successor.map(|(id, _)| *id);
        }
    }

    /// A heartbeat of another was read.
    pub fn heard(&mut self, member: MemberId) {
        if let Some(signs) = self.others.get_mut(&member) {
            signs.silence = Duration::ZERO;
            signs.heard_since_own = true;
            signs.refused = signs.refused.saturating_sub(1);
        }
    }

    /// A heartbeat of one's own, sent at `sent`, was read back. What others had written before it has been
    /// read by now, so this, and not the passing of time, is when silence grows: see [`Interval::between`].
    pub fn own_came_back(&mut self, sent: Duration, now: Duration) {
        let beat = OwnBeat {
            sent,
            came_back: now,
        };
        let Some(last) = self.last_own.replace(beat) else {
            return;
        };
        let interval = Interval::between(last, beat, self.failure_timeout);
        for signs in self.others.values_mut() {
            signs.own_came_back(interval, self.failure_timeout);
        }
    }

    /// The connection to a member broke, and a new one was refused.
    pub fn refused(&mut self, member: MemberId) {
        if let Some(signs) = self.others.get_mut(&member) {
            signs.refused = BEATS_AGAINST_REFUSAL;
        }
    }

    /// What is thought of a member.
    #[must_use]
    pub fn verdict(&self, member: MemberId) -> Verdict {
        let signs = self.others.get(&member).copied().unwrap_or_default();
        if let Some(by) = signs.replaced_by {
            Verdict::Replaced { by }
        } else if signs.refused > 0 {
            Verdict::Refused
        } else if signs.silence >= self.failure_timeout {
            Verdict::Silent(signs.silence)
        } else {
            Verdict::Alive
        }
    }

    /// The members that live, in the order of joining; oneself among them.
    pub fn alive<'a>(&'a self, view: &'a View) -> impl Iterator<Item = MemberId> + 'a {
        let members = view.members().map(|(id, _)| id);
        members.filter(|id| self.verdict(*id) == Verdict::Alive)
    }

    /// Who writes plans: the member that joined first, of those that live.
    #[must_use]
    pub fn director(&self, view: &View) -> Option<MemberId> {
        self.alive(view).next()
    }

    /// Who would be next.
    #[must_use]
    pub fn heir(&self, view: &View) -> Option<MemberId> {
        self.alive(view).nth(1)
    }
}

impl Interval {
    /// Silence grows by the time since the last own beat was sent, or came back, whichever is less: a queue of beats that
    /// comes back in one burst does not count. And by half the time-out at most, so that one interval makes nobody dead:
    /// in a log so slow that own beats are that far apart, those of others are, too.
    ///
    /// Where none came back for half the time-out it was a standstill, unless the log is no quicker anyhow: no more beats
    /// are sent than it takes, so that in a slow one they are as far apart as each is under way.
    fn between(last: OwnBeat, beat: OwnBeat, failure_timeout: Duration) -> Self {
        let half = failure_timeout / 2;
        let between_sent = beat.sent.saturating_sub(last.sent);
        let between_read = beat.came_back.saturating_sub(last.came_back);
        let gap = between_sent.max(between_read);
        let under_way = last.came_back.saturating_sub(last.sent);
        let stood_still = gap >= half && gap >= 2 * under_way;
        Self {
            counts: between_sent.min(between_read).min(half),
            stood_still: stood_still.then_some(gap),
        }
    }
}

impl Signs {
    /// A standstill does not count against a member, and it is given time to come back: once, until it is heard again.
    /// Else nobody would ever be dead to a node that stands still every few seconds.
    fn own_came_back(&mut self, interval: Interval, failure_timeout: Duration) {
        let heard = std::mem::take(&mut self.heard_since_own);
        self.excused &= !heard;
        let stood_still = interval.stood_still.filter(|_| !self.excused);
        if let Some(gap) = stood_still {
            self.excused = true;
            self.settling = self.settling.max(gap.min(GRACE));
            // What was counted before stands, unless its beats of that time may be lost as well.
            if gap >= failure_timeout {
                self.silence = Duration::ZERO;
            }
            return;
        }
        if !heard {
            self.silence += interval.counts.saturating_sub(self.settling);
        }
        self.settling = self.settling.saturating_sub(interval.counts);
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alive => f.write_str("alive"),
            Self::Silent(since) => write!(f, "silent for {} ms", since.as_millis()),
            Self::Refused => f.write_str("its connection broke and a new one was refused"),
            Self::Replaced { by } => write!(f, "replaced by {by}, which has its name"),
        }
    }
}
