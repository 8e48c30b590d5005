//! The shards of each group are spread over the nodes, as far as neither the balance of actives nor that of
//! replicas suffers.

use super::balance::{best_standby, in_group, level, move_home};
use super::problem::{G, N, S};
use super::state::State;
use crate::plan::Why;

pub(super) fn spread_groups(state: &mut State<'_>) -> bool {
    let mut moved = false;
    for group in 0..state.problem.groups.len() {
        moved |= level(
            state,
            |state, n| state.group_deviation(n, group),
            |state, i, j| spread_one(state, group, i, j) || spread_two(state, group, i, j),
        );
    }
    moved
}

/// `i` has more actives than `j`, so that one of this group may simply go over.
fn spread_one(state: &mut State<'_>, group: G, i: N, j: N) -> bool {
    if state.active_deviation(i) - state.active_deviation(j) < state.problem.total_weight {
        return false;
    }
    [true, false].into_iter().any(|held| {
        let s = to_move(state, group, i, j, held);
        s.is_some_and(|s| exchange(state, s, None, i, j))
    })
}

/// One of this group goes over, and one of a group of which `j` has more comes back.
fn spread_two(state: &mut State<'_>, group: G, i: N, j: N) -> bool {
    let difference = |g: G, i: N, j: N| state.group_deviation(i, g) - state.group_deviation(j, g);
    let gain = difference(group, i, j) - state.problem.total_weight;
    let worth =
        |&other: &G| other != group && difference(other, j, i) + gain > state.problem.total_weight;
    let others: Vec<G> = (0..state.problem.groups.len()).filter(worth).collect();
    // First those that leave every node with as many copies as it has.
    let held = [(true, true), (false, false), (true, false), (false, true)];
    held.into_iter().any(|(there, here)| {
        let Some(s) = to_move(state, group, i, j, there) else {
            return false;
        };
        let mut others = others.iter();
        let back = others.find_map(|&other| to_move(state, other, j, i, here));
        back.is_some_and(|back| exchange(state, s, Some(back), i, j))
    })
}

/// One of a group that may move its home from `i` to `j`, which holds a copy of it already or does not.
fn to_move(state: &State<'_>, group: G, i: N, j: N, held: bool) -> Option<S> {
    in_group(state, group, i, j, |s| {
        state.holds(j, s) == held && (held || state.keeps_racks(s, i, j))
    })
}

/// `s` goes from `i` to `j` and `back` the other way. Where that gives one of the two a copy more which it has
/// no room for, a standby goes with them. All of it if the budget allows it, else nothing.
fn exchange(state: &mut State<'_>, s: S, back: Option<S>, i: N, j: N) -> bool {
    let gained = |s: S, n: N| i64::from(!state.holds(n, s));
    let on_j = gained(s, j) - back.map_or(0, |back| gained(back, i));
    let (gains, loses) = if on_j > 0 { (j, i) } else { (i, j) };
    let room = state.replica_deviation(loses) - state.replica_deviation(gains);
    let fits = on_j == 0 || room >= state.problem.total_weight;
    let standby = if fits {
        None
    } else {
        let found = best_standby(state, gains, loses);
        let found = found.filter(|&it| state.keeps_racks(it, gains, loses));
        if found.is_none() {
            return false;
        }
        found
    };
    let price = usize::from(state.would_warm(s, j))
        + back.map_or(0, |back| usize::from(state.would_warm(back, i)))
        + standby.map_or(0, |it| usize::from(!state.is_ready(loses, it)));
    let spread = |from| Why::Spread { from };
    price <= state.budget
        && move_home(state, s, j, spread)
        && back.is_none_or(|back| move_home(state, back, i, spread))
        && standby.is_none_or(|it| state.try_relieve(it, gains, loses))
}
