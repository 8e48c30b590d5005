//! [`Search`]: whom to ask for each shard of a table, and whom next when that did not help: pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tanist_cluster::plan::Plan;
use tanist_cluster::{MemberId, Partition, ShardId};

use super::question::Part;

/// What a node knows of the others.
pub(crate) struct Around<'a> {
    pub(crate) plan: &'a Plan,
    /// This node, if it is a member.
    pub(crate) me: Option<MemberId>,
    /// The other members that are alive; empty if that is not known.
    pub(crate) others: &'a BTreeSet<MemberId>,
}

/// See the module.
pub(crate) struct Search {
    /// The shards without an answer.
    open: BTreeMap<Partition, Open>,
}

#[derive(Default)]
struct Open {
    to_ask: VecDeque<MemberId>,
    /// Who could not answer, and why.
    tried: Vec<String>,
    /// It is broken where one of them has it.
    is_broken: bool,
}

impl Around<'_> {
    /// Who may answer for `shard`, the best first: the active, then the copies, what is here before what is elsewhere, and
    /// who is thought to be dead last. If a copy will do, what is here is the best.
    fn candidates(&self, shard: &ShardId, stale_ok: bool) -> VecDeque<MemberId> {
        let Some(it) = self.plan.get(shard) else {
            return VecDeque::new();
        };
        let rank = |id: &MemberId| {
            let is_here = self.me == Some(*id);
            let is_dead = !is_here && !self.others.is_empty() && !self.others.contains(id);
            let is_other = *id != it.active && !(stale_ok && is_here);
            (is_dead, is_other, !is_here)
        };
        let copies = it.standbys.keys().chain(it.warmups.keys());
        let mut all: Vec<MemberId> = copies.copied().chain([it.active]).collect();
        all.sort_by_key(rank);
        all.dedup();
        all.into()
    }
}

impl Search {
    /// For these shards.
    pub(crate) fn new<'s>(
        around: &Around<'_>,
        shards: impl IntoIterator<Item = &'s ShardId>,
        stale_ok: bool,
    ) -> Self {
        let open = shards.into_iter().map(|shard| {
            let open = Open {
                to_ask: around.candidates(shard, stale_ok),
                ..Open::default()
            };
            (shard.partition, open)
        });
        Self {
            open: open.collect(),
        }
    }

    /// Whom to ask now, and for which shards. Nobody if all have answered or nobody is left; never anybody twice for the
    /// same.
    pub(crate) fn round(&mut self) -> BTreeMap<MemberId, BTreeSet<Partition>> {
        let mut round: BTreeMap<MemberId, BTreeSet<Partition>> = BTreeMap::new();
        for (partition, open) in &mut self.open {
            if let Some(next) = open.to_ask.pop_front() {
                round.entry(next).or_default().insert(*partition);
            }
        }
        round
    }

    /// Whether all of what somebody was asked for can be asked of others, too.
    pub(crate) fn has_others(&self, asked: &BTreeSet<Partition>) -> bool {
        let open = |partition| self.open.get(partition);
        asked
            .iter()
            .all(|partition| open(partition).is_some_and(|it| !it.to_ask.is_empty()))
    }

    /// Takes in what `node` has answered, or why it has not.
    pub(crate) fn heard(
        &mut self,
        node: &str,
        asked: &BTreeSet<Partition>,
        answer: &Result<Part, String>,
    ) {
        for partition in asked {
            let reason = match answer {
                Ok(part) => part.missing.get(partition),
                Err(reason) => Some(reason),
            };
            match (reason, self.open.get_mut(partition)) {
                (Some(reason), Some(open)) => {
                    open.tried.push(format!("{node}: {reason}"));
                    let broken = answer.as_ref().map(|part| &part.broken);
                    open.is_broken |= broken.is_ok_and(|it| it.contains(partition));
                }
                (None, _) => {
                    self.open.remove(partition);
                }
                (Some(_), None) => {}
            }
        }
    }

    /// A shard that has no answer, a broken one if there is one; why, and whether it is broken.
    pub(crate) fn missing(&self) -> Option<(Partition, String, bool)> {
        let broken = self.open.iter().find(|(_, open)| open.is_broken);
        let (partition, open) = broken.or_else(|| self.open.first_key_value())?;
        let why = match open.tried.is_empty() {
            true => "nobody has it, as far as this node knows".to_owned(),
            false => open.tried.join("; "),
        };
        Some((*partition, why, open.is_broken))
    }
}

#[cfg(test)]
mod tests {
    use tanist_cluster::plan::{Draft, Roles, Why};
    use tanist_cluster::view::View;

    use super::*;

    const SHARDS: i32 = 2;

    fn shards() -> Vec<ShardId> {
        (0..SHARDS).map(|n| ShardId::new("orders", n)).collect()
    }

    /// Shard 0 on member 1, shard 1 on member 2, and the standby of both on 3.
    fn plan() -> Plan {
        let roles = shards().into_iter().map(|shard| {
            let roles = Roles {
                active: MemberId(i64::from(shard.partition.0) + 1),
                why: Why::First,
                standbys: [(MemberId(3), Why::Missing)].into(),
                warmups: BTreeMap::new(),
            };
            (shard, roles)
        });
        let draft = Draft {
            author: MemberId(1),
            members: [1, 2, 3].map(MemberId).into(),
            fenced: BTreeMap::new(),
            roles: roles.collect(),
        };
        draft.following(&View::default())
    }

    fn round(search: &mut Search) -> Vec<(i64, Vec<i32>)> {
        let round = search.round().into_iter();
        let plain = |partitions: BTreeSet<Partition>| partitions.iter().map(|it| it.0).collect();
        round.map(|(id, it)| (id.0, plain(it))).collect()
    }

    #[test]
    fn the_active_is_asked_and_a_copy_only_if_it_is_away_or_will_do() {
        for (me, others, stale_ok, first, then) in [
            (
                1,
                &[2, 3][..],
                false,
                vec![(1, vec![0]), (2, vec![1])],
                vec![(3, vec![0, 1])],
            ),
            (
                3,
                &[1, 2],
                false,
                vec![(1, vec![0]), (2, vec![1])],
                vec![(3, vec![0, 1])],
            ),
            (
                3,
                &[1, 2],
                true,
                vec![(3, vec![0, 1])],
                vec![(1, vec![0]), (2, vec![1])],
            ),
            (
                1,
                &[2, 3],
                true,
                vec![(1, vec![0]), (2, vec![1])],
                vec![(3, vec![0, 1])],
            ),
            // 2 is dead, and there is no new plan yet.
            (
                1,
                &[3],
                false,
                vec![(1, vec![0]), (3, vec![1])],
                vec![(2, vec![1]), (3, vec![0])],
            ),
            // Nothing is known yet of who lives.
            (
                1,
                &[],
                false,
                vec![(1, vec![0]), (2, vec![1])],
                vec![(3, vec![0, 1])],
            ),
        ] {
            let others: BTreeSet<MemberId> = others.iter().map(|id| MemberId(*id)).collect();
            let around = Around {
                plan: &plan(),
                me: Some(MemberId(me)),
                others: &others,
            };
            let mut search = Search::new(&around, &shards(), stale_ok);
            let what = format!("{me} among {others:?}, {stale_ok}");
            assert_eq!(round(&mut search), first, "{what}");
            assert!(search.has_others(&[0, 1].map(Partition).into()), "{what}");
            assert_eq!(round(&mut search), then, "{what}");
            assert!(!search.has_others(&[Partition(0)].into()), "{what}");
            assert_eq!(round(&mut search), [], "{what}");
        }
    }

    #[test]
    fn what_has_an_answer_is_not_asked_for_again_and_what_has_none_says_why() {
        let (plan, others) = (plan(), BTreeSet::new());
        let around = Around {
            plan: &plan,
            me: None,
            others: &others,
        };
        let mut search = Search::new(&around, &shards(), false);
        for (id, asked) in search.round() {
            let answer = match id.0 {
                1 => Ok(Part::default()),
                _ => Err("connection refused".to_owned()),
            };
            search.heard(&format!("n{id}"), &asked, &answer);
        }
        assert_eq!(round(&mut search), [(3, vec![1])]);
        let filling = Part {
            missing: [(Partition(1), "it is being filled".to_owned())].into(),
            ..Part::default()
        };
        search.heard("n3", &[Partition(1)].into(), &Ok(filling));
        assert_eq!(round(&mut search), []);
        let why = "n2: connection refused; n3: it is being filled".to_owned();
        assert_eq!(search.missing(), Some((Partition(1), why, false)));
    }

    #[test]
    fn of_what_has_no_answer_the_broken_is_told_first() {
        let (plan, others) = (plan(), BTreeSet::new());
        let around = Around {
            plan: &plan,
            me: None,
            others: &others,
        };
        let mut search = Search::new(&around, &shards(), false);
        let broken = Part {
            missing: [(Partition(1), "broken there: the disk".to_owned())].into(),
            broken: [Partition(1)].into(),
            ..Part::default()
        };
        search.heard("n1", &[Partition(0)].into(), &Err("gone".to_owned()));
        search.heard("n2", &[Partition(1)].into(), &Ok(broken));
        let why = "n2: broken there: the disk".to_owned();
        assert_eq!(search.missing(), Some((Partition(1), why, true)));
    }

    #[test]
    fn a_shard_that_no_plan_has_is_with_nobody() {
        let others = BTreeSet::new();
        let around = Around {
            plan: &plan(),
            me: None,
            others: &others,
        };
        let unknown = ShardId::new("orders", SHARDS);
        let mut search = Search::new(&around, [&unknown], false);
        assert_eq!(round(&mut search), []);
        assert_eq!(search.missing().map(|(it, ..)| it), Some(Partition(SHARDS)));
    }
}
