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

/// Two members that send a beat each 100 ms, with two under way at most, in a log that gives them back after
/// `latency`. One sleeps when `asleep` says so, and then reads all that is there; the other freezes.
struct Story<'a> {
    latency_ms: u64,
    asleep: &'a dyn Fn(u64) -> bool,
    freezes_ms: u64,
}

impl Story<'_> {
    /// When the other is taken for dead.
    fn noticed(&self, until_ms: u64) -> Option<u64> {
        let (mut liveness, _) = two();
        let mut log: Vec<(MemberId, u64)> = Vec::new();
        let mut read = 0;
        for at in (0..until_ms).step_by(5) {
            let is_back = |(_, sent): &(_, u64)| sent + self.latency_ms <= at;
            let asleep = (self.asleep)(at);
            while let Some((whose, sent)) = log.get(read).copied().filter(is_back)
                && !asleep
            {
                read += 1;
                match whose {
                    ME => liveness.own_came_back(ms(sent), ms(at)),
                    other => liveness.heard(other),
                }
            }
            let sends = [
                (ME, at % 100 == 0 && !asleep),
                (OTHER, at % 100 == 60 && at < self.freezes_ms),
            ];
            for (whose, _) in sends.into_iter().filter(|(_, sends)| *sends) {
                let mine = log.iter().rev().filter(|(of, _)| *of == whose);
                if mine.take_while(|it| !is_back(it)).count() < 2 {
                    log.push((whose, at));
                }
            }
            if liveness.verdict(OTHER) != Verdict::Alive {
                return Some(at);
            }
        }
        None
    }

    /// How long after it has frozen.
    fn noticed_after(&self) -> u64 {
        let story = format!("{} ms, frozen at {}", self.latency_ms, self.freezes_ms);
        let at = self.noticed(self.freezes_ms + 60_000);
        let at = at.unwrap_or_else(|| panic!("never noticed: {story}"));
        let after = at.checked_sub(self.freezes_ms);
        after.unwrap_or_else(|| panic!("taken for dead at {at} while it beats: {story}"))
    }
}

#[test]
fn who_freezes_is_noticed_in_a_slow_log_and_who_beats_is_not_suspected() {
    for latency_ms in [5, 100, 300, 500, 550, 800, 1_500] {
        for freezes_ms in (20_000..22_000).step_by(35) {
            let story = Story {
                latency_ms,
                asleep: &|_| false,
                freezes_ms,
            };
            let after = story.noticed_after();
            // Its last beat is under way for so long, and so is each of ours.
            let limit = match latency_ms {
                ..=300 => 1_200 + 2 * latency_ms,
                _ => 3_000 + 2 * latency_ms,
            };
            assert!(after <= limit, "{latency_ms} ms: after {after} ms");
        }
    }
}

#[test]
fn who_freezes_is_noticed_by_a_node_that_stands_still_every_few_seconds() {
    for (every, stall, limit) in [
        (3_000, 500, 3_000),
        (3_000, 700, 3_000),
        (1_000, 600, 3_100),
        // Here more than half of the time is no evidence.
        (2_000, 1_200, 6_000),
    ] {
        for freezes_ms in (20_000..23_000).step_by(35) {
            let story = Story {
                latency_ms: 5,
                asleep: &|at| at % every < stall,
                freezes_ms,
            };
            let after = story.noticed_after();
            assert!(after <= limit, "{stall} of {every} ms: after {after} ms");
        }
    }
}

#[test]
fn who_wakes_suspects_nobody_that_beats() {
    for latency_ms in [5, 100, 300, 550, 1_500] {
        for slept in [600, 1_000, 1_500, 5_000, 60_000] {
            for begins in (20_000..20_400).step_by(35) {
                let story = Story {
                    latency_ms,
                    // And falls asleep again soon after it woke.
                    asleep: &|at| at >= begins && (at - begins) % (slept + 300) < slept,
                    freezes_ms: u64::MAX,
                };
                let at = story.noticed(100_000);
                assert_eq!(at, None, "{latency_ms} ms, slept {slept} from {begins}");
            }
        }
    }
}

#[test]
fn who_wakes_gives_those_time_whose_beats_were_lost_meanwhile() {
    let (mut liveness, _) = two();
    beat(&mut liveness, 0, 900);
    beat(&mut liveness, 60_000, 61_900);
    assert_eq!(liveness.verdict(OTHER), Verdict::Alive);
    // Once: it is not heard, and the next standstill is no excuse.
    beat(&mut liveness, 64_000, 64_900);
    assert!(matches!(liveness.verdict(OTHER), Verdict::Silent(_)));
}

#[test]
fn who_joins_again_after_an_outage_is_given_time_as_well() {
    let mut world = World::default();
    for name in ["n0", "n1", "n1"] {
        world.start_as(name);
    }
    let again = MemberId(2);
    world.read(0, 2);
    let mut liveness = Liveness::new(ME, ms(1_000));
    liveness.follow(&world.nodes[0].view);
    beat(&mut liveness, 0, 900);
    beat(&mut liveness, 60_000, 60_000);
    world.read(0, 1);
    liveness.follow(&world.nodes[0].view);
    beat(&mut liveness, 60_100, 62_900);
    assert_eq!(liveness.verdict(again), Verdict::Alive);
    beat(&mut liveness, 63_000, 63_000);
    assert_eq!(liveness.verdict(again), Verdict::Silent(ms(1_000)));
}

#[test]
fn what_was_counted_before_a_short_standstill_stands() {
    let (mut liveness, _) = two();
    beat(&mut liveness, 0, 900);
    beat(&mut liveness, 1_500, 2_100);
    assert_eq!(
        liveness.verdict(OTHER),
        Verdict::Alive,
        "it has as long to come back"
    );
    beat(&mut liveness, 2_200, 2_200);
    assert_eq!(liveness.verdict(OTHER), Verdict::Silent(ms(1_000)));
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
