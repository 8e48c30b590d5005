//! What moves, and why: see the wanted properties in `mod.rs`.
//!
//! *Deviation* is what a node has beyond its share, times the sum of all weights so as to stay in whole
//! numbers. Two nodes are balanced while their deviations differ by at most one shard (times that sum).

use super::problem::{G, N, S};
use super::spread;
use super::state::State;
use crate::ids::MemberId;
use crate::plan::Why;

/// Enough for each kind of move to make place for the others; a plan that is not yet perfect then is made
/// better by the next.
const MAX_ROUNDS: usize = 16;

/// How many pairs of nodes are looked at for one move. Where every copy may be filled, the first pair has
/// one; while the budget is used up or racks are in the way, there may be none, and looking for it longer is
/// not worth the time.
const MAX_PAIRS: usize = 64;

/// Turns what was into what should be.
pub(super) fn settle(state: &mut State<'_>) {
    place(state);
    trim(state);
    for _ in 0..MAX_ROUNDS {
        let mut moved = evacuate(state);
        fill(state);
        moved |= balance_actives(state);
        moved |= balance_replicas(state);
        moved |= separate_racks(state);
        moved |= spread::spread_groups(state);
        if !moved {
            break;
        }
    }
}

/// Finds an active for every shard that has none.
fn place(state: &mut State<'_>) {
    let mut orphans: Vec<S> = (0..state.shards.len()).collect();
    orphans.retain(|&s| state.shards[s].now.is_none());
    // Those with few nodes to choose from choose first; those without any copy can go anywhere.
    let choices = |it: &S| state.problem.shards[*it].lags.len();
    orphans.sort_by_key(|s| (choices(s) == 0, choices(s), *s));
    orphans.into_iter().for_each(|s| take_over(state, s));
    state.charge_what_is_pending();
}

/// The active is gone: the best copy takes over, on the spot. If need be that is one on a node that is about to
/// stop, until [`evacuate`] has found another.
fn take_over(state: &mut State<'_>, s: S) {
    let problem = state.problem;
    let slice = &problem.shards[s];
    let lag = |n: N| match problem.lag(n, s) {
        _ if !problem.groups[slice.group].has_tables => 0,
        Some(lag) if lag <= problem.acceptable_lag => 0,
        lag => lag.unwrap_or(u64::MAX),
    };
    let nodes = (0..problem.nodes.len()).filter(|n| !slice.broken.contains(n));
    let best = nodes.min_by_key(|&n| {
        let leaves = problem.nodes[n].weight == 0;
        let in_group = state.of_group(n, slice.group);
        // Of those that count as caught up.
        let is_closed = slice.closed.contains(&n);
        let balance = (state.active_deviation(n), in_group, n);
        (lag(n), leaves, is_closed, state.is_behind(n, s), balance)
    });
    let Some(best) = best else { return };
    let before = state.shards[s].before;
    let why = match before {
        None => Why::First,
        Some(from) if problem.node(from).is_some() => Why::Broken { from },
        Some(from) => Why::Failover {
            from,
            lag_records: problem.lag(best, s),
        },
    };
    // A shard that nobody ever had has no data to wait for, so that it may still be moved at will.
    if before.is_some() || !slice.lags.is_empty() {
        state.set_now(s, best, why);
    }
    if state.shards[s].home.is_none() && problem.is_fit(best, s) {
        state.set_home(s, best, why);
    }
}

/// Finds another home for what is on a node that is about to stop. The active keeps the shard until that one
/// is ready.
fn evacuate(state: &mut State<'_>) -> bool {
    let mut moved = false;
    for s in 0..state.shards.len() {
        let (Some(now), None) = (state.shards[s].now, state.shards[s].home) else {
            continue;
        };
        let group = state.group(s);
        let takers = state.problem.takers.iter().copied();
        let fit = takers.filter(|&n| state.problem.is_fit(n, s));
        let best = fit.min_by_key(|&n| {
            let (actives, in_group) = (state.active_deviation(n), state.of_group(n, group));
            (state.effort(n, s), !state.holds(n, s), actives, in_group, n)
        });
        let from = state.problem.nodes[now].id;
        moved |= best.is_some_and(|best| state.try_home(s, best, Why::Leaving { from }));
    }
    moved
}

/// Drops standbys that are too many.
fn trim(state: &mut State<'_>) {
    for s in 0..state.shards.len() {
        while state.shards[s].standbys.len() > state.wanted(s) {
            let standbys = state.shards[s].standbys.keys().copied();
            let worst =
                standbys.max_by_key(|&n| (!state.is_ready(n, s), state.replica_deviation(n), n));
            worst.map(|worst| state.drop_standby(s, worst));
        }
    }
}

/// Adds standbys that are missing. Not within the budget: a shard without its heir is what we are here to
/// avoid.
fn fill(state: &mut State<'_>) {
    for s in 0..state.shards.len() {
        while state.shards[s].standbys.len() < state.wanted(s) {
            let takers = state.problem.takers.iter().copied();
            let fit = takers.filter(|&n| state.problem.is_fit(n, s) && !state.holds(n, s));
            let best = fit.min_by_key(|&n| {
                let rack = state.on_rack_of(n, s, None);
                (rack, state.effort(n, s), state.replica_deviation(n), n)
            });
            let Some(best) = best else { break };
            let former = state.shards[s].now == Some(best);
            state.add_standby(s, best, if former { Why::Former } else { Why::Missing });
        }
    }
}

fn balance_actives(state: &mut State<'_>) -> bool {
    level(
        state,
        |state, n| state.active_deviation(n),
        |state, i, j| {
            let best = best_home_move(state, i, j, |_| true);
            best.is_some_and(|s| move_home(state, s, j, |from| Why::Balance { from }))
        },
    )
}

/// Brings replicas within one, without a change to the balance of actives.
///
/// There is always a move, nodes being of one weight: let `i` have two copies more than `j`. Then `i` holds
/// at least two shards that `j` does not. If it is a standby of one of them, that one moves. Else it is the
/// active of all of them. If `i` has more actives than `j`, one of them moves. Else `j` has at least as many
/// actives, of which at least two are held by `i`, hence as their standby: the two swap roles in one of
/// those, and then `i` gives an active to `j` as before.
fn balance_replicas(state: &mut State<'_>) -> bool {
    level(
        state,
        |state, n| state.replica_deviation(n),
        |state, i, j| {
            move_standby(state, i, j) || move_active(state, i, j) || swap_and_move(state, i, j)
        },
    )
}

fn move_standby(state: &mut State<'_>, i: N, j: N) -> bool {
    best_standby(state, i, j).is_some_and(|s| state.try_relieve(s, i, j))
}

/// Which of the standbys of `i` costs least to move to `j`, if any can be moved.
pub(super) fn best_standby(state: &State<'_>, i: N, j: N) -> Option<S> {
    let movable = |&s: &S| {
        state.problem.is_fit(j, s)
            && !state.holds(j, s)
            && !state.is_bound(i, s)
            && (state.budget > 0 || state.is_ready(j, s))
    };
    let standbys = state.kept[i].iter().copied().filter(movable);
    standbys.min_by_key(|&s| (!state.keeps_racks(s, i, j), state.effort(j, s), s))
}

fn move_active(state: &mut State<'_>, i: N, j: N) -> bool {
    if state.active_deviation(i) - state.active_deviation(j) < state.problem.total_weight {
        return false;
    }
    let best = best_home_move(state, i, j, |s| !state.holds(j, s));
    best.is_some_and(|s| move_home(state, s, j, |from| Why::Balance { from }))
}

fn swap_and_move(state: &mut State<'_>, i: N, j: N) -> bool {
    let swapped = best_home_move(state, j, i, |s| state.holds(i, s));
    let given = best_home_move(state, i, j, |s| !state.holds(j, s));
    let (Some(swapped), Some(given)) = (swapped, given) else {
        return false;
    };
    swap_homes(state, given, swapped, |from| Why::Balance { from })
}

/// Puts standbys onto racks that do not have the shard yet, as far as replicas stay balanced.
fn separate_racks(state: &mut State<'_>) -> bool {
    let mut moved = false;
    for s in 0..state.shards.len() {
        let standbys: Vec<N> = state.shards[s].standbys.keys().copied().collect();
        for i in standbys {
            let now = state.on_rack_of(i, s, None);
            if now == 0 || state.budget == 0 || state.is_bound(i, s) {
                continue;
            }
            let better = |&j: &N| {
                let free = state.problem.is_fit(j, s) && !state.holds(j, s);
                free && state.on_rack_of(j, s, Some(i)) < now
            };
            let better: Vec<N> = state
                .problem
                .takers
                .iter()
                .copied()
                .filter(better)
                .collect();
            moved |= better.into_iter().any(|j| move_and_refill(state, s, i, j));
        }
    }
    moved
}

/// Moves a standby from `i` to `j`. If `i` had no more than `j` to begin with, then it gets another one: of
/// `j`, or of a node that has more than `j`.
fn move_and_refill(state: &mut State<'_>, s: S, i: N, j: N) -> bool {
    let more_than_j = |state: &State<'_>, n: N| {
        state.replica_deviation(n) - state.replica_deviation(j) >= state.problem.total_weight
    };
    if more_than_j(state, i) {
        return state.try_relieve(s, i, j);
    }
    let donors = state
        .problem
        .takers
        .iter()
        .copied()
        .filter(|&k| k == j || more_than_j(state, k));
    let refill = donors.into_iter().find_map(|k| {
        let given = state.kept[k].iter().copied().find(|&other| {
            other != s
                && state.problem.is_fit(i, other)
                && !state.holds(i, other)
                && !state.is_bound(k, other)
                && state.on_rack_of(i, other, Some(k)) <= state.on_rack_of(k, other, None)
        });
        given.map(|other| (other, k))
    });
    match refill {
        Some((other, k)) if state.budget >= 2 => {
            state.try_relieve(s, i, j) && state.try_relieve(other, k, i)
        }
        _ => false,
    }
}

/// Moves from those that have too much to those that have too little until that is nobody, or no move is left.
pub(super) fn level(
    state: &mut State<'_>,
    deviation: impl Fn(&State<'_>, N) -> i64,
    mut try_move: impl FnMut(&mut State<'_>, N, N) -> bool,
) -> bool {
    let mut moved = false;
    while level_once(state, &deviation, &mut try_move) {
        moved = true;
    }
    moved
}

/// One such move, between the two that differ most if possible.
fn level_once(
    state: &mut State<'_>,
    deviation: impl Fn(&State<'_>, N) -> i64,
    mut try_move: impl FnMut(&mut State<'_>, N, N) -> bool,
) -> bool {
    let takers = state.problem.takers.iter();
    let mut nodes: Vec<(i64, N)> = takers.map(|&n| (deviation(state, n), n)).collect();
    let one = state.problem.total_weight;
    match (nodes.iter().min(), nodes.iter().max()) {
        (Some(&(least, j)), Some(&(most, i))) if most - least > one => {
            if try_move(state, i, j) {
                return true;
            }
        }
        _ => return false,
    }
    nodes.sort_unstable();
    let pairs = nodes.iter().rev().flat_map(|(most, i)| {
        let less = nodes
            .iter()
            .take_while(move |(least, _)| most - least > one);
        less.map(|(_, j)| (*i, *j))
    });
    pairs.take(MAX_PAIRS).any(|(i, j)| try_move(state, i, j))
}

/// Which of the shards of `i` costs least to move to `j`, if any can be moved.
fn best_home_move(state: &State<'_>, i: N, j: N, suits: impl Fn(S) -> bool) -> Option<S> {
    let groups = 0..state.problem.groups.len();
    let best = groups.filter_map(|group| {
        let s = in_group(state, group, i, j, &suits)?;
        let spread = state.of_group(j, group) - state.of_group(i, group);
        Some((cost(state, s, j), spread, s))
    });
    best.min().map(|(.., s)| s)
}

/// The same for one group.
pub(super) fn in_group(
    state: &State<'_>,
    group: G,
    i: N,
    j: N,
    suits: impl Fn(S) -> bool,
) -> Option<S> {
    let shards = state.homes[i][group].iter().copied();
    let mut fit = shards.filter(|&s| state.problem.is_fit(j, s) && suits(s) && state.can_pay(s, j));
    let first = fit.next()?;
    if !state.has_tables(first) {
        return Some(first);
    }
    fit.chain([first]).min_by_key(|&s| (cost(state, s, j), s))
}

/// What it would cost to make `j` the home of `s`: nothing if it is there already; little if it is ready, and least if
/// it is a standby at the end; more if its copy has to be opened, or has but begun.
fn cost(state: &State<'_>, s: S, j: N) -> u8 {
    if state.shards[s].now == Some(j) {
        0
    } else if state.is_ready(j, s) {
        let is_warm = state.holds(j, s) && !state.is_behind(j, s);
        // It has its heir already.
        let failed_over = state.has_lost_active(s);
        1 + u8::from(state.has_tables(s) && (!is_warm || failed_over))
    } else if state.is_filled(j, s) {
        3
    } else if state.holds(j, s) {
        4
    } else {
        5 + u8::from(state.is_warming(s))
    }
}

pub(super) fn move_home(state: &mut State<'_>, s: S, j: N, why: impl Fn(MemberId) -> Why) -> bool {
    let Some(from) = state.shards[s]
        .home
        .map(|home| state.problem.nodes[home].id)
    else {
        return false;
    };
    state.try_home(s, j, why(from))
}

/// `a` goes to where `b` is and `b` to where `a` was, if the budget allows both.
fn swap_homes(state: &mut State<'_>, a: S, b: S, why: impl Fn(MemberId) -> Why) -> bool {
    let (Some(i), Some(j)) = (state.shards[a].home, state.shards[b].home) else {
        return false;
    };
    let price = |s: S, n: N| usize::from(state.would_warm(s, n));
    if price(a, j) + price(b, i) > state.budget {
        return false;
    }
    move_home(state, a, j, &why) && move_home(state, b, i, &why)
}
