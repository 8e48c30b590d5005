//! Who is alive, as one member judges it for itself. A wrong judgement costs a hand-over, not a record.
//!
//! Time is measured from this process's start, by a clock that never goes back; that of other nodes has no
//! part in it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::ids::MemberId;
use crate::view::View;

/// So many heartbeats prove that a member lives although its connection was refused: one or two may have been
/// under way when it died.
const BEATS_AGAINST_REFUSAL: u32 = 3;

/// After an outage of the broker, members are back in the order in which their clients try again, which is up to a
/// second and a fifth later for one than for another.
const GRACE: Duration = Duration::from_secs(2);

/// What one member has noticed of the others.
#[derive(Debug, Clone)]
pub struct Liveness {
    me: MemberId,
    failure_timeout: Duration,
    last_own: Option<OwnBeat>,
    /// For how long no silence counts, after an outage.
    settling: Duration,
    others: BTreeMap<MemberId, Signs>,
}

#[derive(Debug, Clone, Copy)]
struct OwnBeat {
    sent: Duration,
    came_back: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct Signs {
    /// For how long our own heartbeats came back and none of this member did.
    silence: Duration,
    heard_since_own: bool,
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
            settling: Duration::ZERO,
            others: BTreeMap::new(),
        }
    }

    /// Takes in who is a member now. Call it after every change of the view.
    pub fn follow(&mut self, view: &View) {
        self.others.retain(|id, _| view.member(*id).is_some());
        let members: Vec<_> = view.members().filter(|(id, _)| *id != self.me).collect();
        for (n, (id, member)) in members.iter().enumerate() {
            let mut later = members[n + 1..].iter();
            let successor = later.find(|(_, it)| {
                it.join.node == member.join.node && it.generation > Default::default()
            });
            let signs = self.others.entry(*id).or_default();
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
    /// read by now, so this, and not the passing of time, is when silence grows.
    ///
    /// It grows by the time since the last own beat was sent, or came back, whichever is less: a queue of beats that comes
    /// back in one burst does not count. Where none came back for half the time-out, the log stood still, or we did: then
    /// all begin anew, and are given time to come back.
    pub fn own_came_back(&mut self, sent: Duration, now: Duration) {
        let beat = OwnBeat {
            sent,
            came_back: now,
        };
        let Some(last) = self.last_own.replace(beat) else {
            return;
        };
        let between_sent = sent.saturating_sub(last.sent);
        let between_read = now.saturating_sub(last.came_back);
        let stood_still = between_sent.max(between_read) >= self.failure_timeout / 2;
        let between = between_sent.min(between_read);
        let counts = between.saturating_sub(self.settling);
        self.settling = match stood_still {
            true => GRACE,
            false => self.settling.saturating_sub(between),
        };
        for signs in self.others.values_mut() {
            if !std::mem::take(&mut signs.heard_since_own) {
                signs.silence += counts;
            }
            if stood_still {
                signs.silence = Duration::ZERO;
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    const ME: MemberId = MemberId(0);
    const OTHER: MemberId = MemberId(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Two members, and a time-out of a second.
    fn two() -> (Liveness, View) {
        let mut world = World::default();
        world.start();
        world.start();
        world.read(0, 2);
        let view = world.nodes[0].view.clone();
        let mut liveness = Liveness::new(ME, ms(1_000));
        liveness.follow(&view);
        (liveness, view)
    }

    fn beat(liveness: &mut Liveness, from_ms: u64, to_ms: u64) {
        for at in (from_ms..=to_ms).step_by(100) {
            liveness.own_came_back(ms(at), ms(at + 5));
        }
    }

    #[test]
    fn who_is_silent_for_the_time_out_while_our_own_beats_come_back_is_dead() {
        let (mut liveness, view) = two();
        beat(&mut liveness, 0, 900);
        assert_eq!(liveness.verdict(OTHER), Verdict::Alive);
        assert_eq!(liveness.director(&view), Some(ME));
        assert_eq!(liveness.heir(&view), Some(OTHER));
        beat(&mut liveness, 1_000, 1_000);
        assert_eq!(liveness.verdict(OTHER), Verdict::Silent(ms(1_000)));
        assert_eq!(liveness.heir(&view), None);
        liveness.heard(OTHER);
        assert_eq!(liveness.verdict(OTHER), Verdict::Alive, "it was only slow");
    }

    #[test]
    fn a_broker_that_is_away_kills_nobody() {
        let (mut liveness, _) = two();
        beat(&mut liveness, 0, 500);
        liveness.own_came_back(ms(600), ms(30_600));
        assert_eq!(
            liveness.verdict(OTHER),
            Verdict::Alive,
            "the first beat after it"
        );
        for queued in 7..300 {
            liveness.own_came_back(ms(100 * queued), ms(30_601));
        }
        assert_eq!(
            liveness.verdict(OTHER),
            Verdict::Alive,
            "those queued meanwhile"
        );
        beat(&mut liveness, 30_700, 33_500);
        assert_eq!(
            liveness.verdict(OTHER),
            Verdict::Alive,
            "its client tries again later than ours"
        );
        beat(&mut liveness, 33_600, 33_800);
        assert!(
            matches!(liveness.verdict(OTHER), Verdict::Silent(_)),
            "it did not come back"
        );
    }

    #[test]
    fn who_slept_itself_does_not_take_the_others_for_dead() {
        let (mut liveness, _) = two();
        beat(&mut liveness, 0, 500);
        liveness.heard(OTHER);
        liveness.own_came_back(ms(60_000), ms(60_005));
        assert_eq!(liveness.verdict(OTHER), Verdict::Alive);
    }

    #[test]
    fn a_beat_that_is_lost_in_an_outage_kills_nobody_either() {
        let (mut liveness, _) = two();
        beat(&mut liveness, 0, 500);
        liveness.own_came_back(ms(45_000), ms(60_000));
        assert_eq!(liveness.verdict(OTHER), Verdict::Alive);
    }

    #[test]
    fn a_refused_connection_is_death_at_once_unless_it_goes_on_beating() {
        let (mut liveness, view) = two();
        liveness.refused(OTHER);
        liveness.heard(OTHER);
        liveness.follow(&view);
        liveness.heard(OTHER);
        assert_eq!(
            liveness.verdict(OTHER),
            Verdict::Refused,
            "these were under way"
        );
        liveness.heard(OTHER);
        assert_eq!(liveness.verdict(OTHER), Verdict::Alive);
    }

    #[test]
    fn who_comes_back_under_the_same_name_replaces_itself_once_it_is_armed() {
        let mut world = World::default();
        for name in ["director", "n1", "n1"] {
            world.start_as(name);
        }
        let me = MemberId(0);
        let (before, after) = (MemberId(1), MemberId(2));
        let mut liveness = Liveness::new(me, ms(1_000));
        world.read(0, usize::MAX);
        liveness.follow(&world.nodes[0].view);
        assert_eq!(
            liveness.verdict(before),
            Verdict::Alive,
            "it may not have made sure yet"
        );
        world.read(2, usize::MAX);
        world.arm(2);
        world.read(0, usize::MAX);
        liveness.follow(&world.nodes[0].view);
        assert_eq!(liveness.verdict(before), Verdict::Replaced { by: after });
        assert_eq!(liveness.verdict(after), Verdict::Alive);
    }
}
