use proptest::prelude::*;

use super::*;
use crate::control::Begun;
use crate::permit::Review;
use crate::plan::Draft;
use crate::testing::{Log, Node, World, join, shard, topology};

type Steps = Vec<(u8, usize, usize)>;

fn histories() -> impl Strategy<Value = Steps> {
    proptest::collection::vec((0..16u8, 0..6usize, 0..256usize), 1..250)
}

fn run(
    steps: &Steps,
    mut each: impl FnMut(&World) -> Result<(), TestCaseError>,
) -> Result<World, TestCaseError> {
    let mut world = World::default();
    for (what, who, choice) in steps {
        world.step(*what, *who, *choice);
        each(&world)?;
    }
    Ok(world)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// S1, over nodes that read late, sleep, fence each other wrongly, arm anew, plan at the same time and
    /// clean up.
    #[test]
    fn no_shard_ever_has_two_writers(steps in histories()) {
        run(&steps, |world| {
            for shard in topology(2).shards() {
                let writers = world.writers(&shard);
                prop_assert!(writers.len() <= 1, "{shard} can be written by {writers:?}:\n{}", world.show());
            }
            Ok(())
        })?;
    }

    /// Whatever happened: once all nodes read and do what is asked of them, every active has its permit.
    #[test]
    fn no_shard_waits_for_ever(steps in histories(), choice in 0..256usize) {
        let mut world = run(&steps, |_| Ok(()))?;
        world.settle();
        let inside = |it: &Node| it.me.is_some_and(|me| it.view.member(me).is_some());
        let Some(author) = world.nodes.iter().position(inside) else {
            return Ok(());
        };
        world.plan(author, choice);
        world.settle();
        let view = world.nodes[author].view.clone();
        for (shard, it) in view.plan().expect("just planned").shards() {
            prop_assert_eq!(world.writers(shard), [it.active], "{}:\n{}", shard, world.show());
        }
    }

    /// S9: a node that starts after a compaction sees what the others see.
    #[test]
    fn a_compacted_log_folds_to_the_same_views(
        steps in histories(),
        horizon in 0..300usize,
        tombstones: bool,
    ) {
        let world = run(&steps, |_| Ok(()))?;
        let horizon = horizon % world.log.len();
        let views = world.views_after_compaction(horizon, tombstones);
        let whole = world.views_after_compaction(0, true).split_off(horizon);
        for (view, whole) in views.iter().zip(&whole) {
            prop_assert_eq!(view, whole, "compacted up to {}:\n{}", horizon, world.show());
        }
        prop_assert_eq!(views.len(), whole.len());
    }
}

#[test]
fn of_two_plans_that_follow_the_same_one_the_first_counts() {
    let mut log = Log::default();
    let (a, b) = (log.join("a"), log.join("b"));
    let (of_a, of_b) = (log.plan(a, a, &[]), log.plan(b, b, &[]));
    assert_eq!(log.write(of_b), Applied::Planned(Epoch(1)));
    let ignored = Applied::PlanIgnored {
        epoch: Epoch(1),
        author: a,
    };
    assert_eq!(log.write(of_a), ignored);
    assert_eq!(log.permitted(), [b]);
}

#[test]
fn a_permit_waits_for_everybody_who_may_hold_it() {
    let mut log = Log::default();
    let [a, b, c] = ["a", "b", "c"].map(|node| log.join(node));
    log.write(log.plan(a, a, &[]));
    assert_eq!(log.permitted(), [a]);
    log.write(log.plan(a, b, &[]));
    log.write(log.plan(a, c, &[]));
    assert_eq!(log.permitted(), []);
    log.release(3, a);
    assert_eq!(
        log.permitted(),
        [],
        "b may have heard of a release in epoch 2"
    );
    assert_eq!(log.view.owed(b).collect::<Vec<_>>(), [&shard()]);
    log.release(3, b);
    assert_eq!(log.permitted(), [c]);
}

#[test]
fn a_permit_is_kept_closed_or_lost_as_the_plan_says() {
    let mut log = Log::default();
    let (a, b) = (log.join("a"), log.join("b"));
    log.write(log.plan(a, a, &[]));
    let permit = log.view.permit(&shard(), a).unwrap();
    log.write(log.plan(b, b, &[]));
    log.write(log.plan(b, a, &[]));
    let Review::Kept(permit) = permit.review(&log.view) else {
        panic!("b cannot have had it: nothing was released");
    };
    assert_eq!(permit.epoch(), Epoch(3));
    log.write(log.plan(b, b, &[]));
    let Review::Close(closing) = permit.review(&log.view) else {
        panic!("b waits for it");
    };
    log.write(closing.done(&log.view));
    let permit = log.view.permit(&shard(), b).expect("released");
    log.write(log.plan(a, a, &[(b, 1)]));
    assert!(matches!(permit.review(&log.view), Review::Lost(_)));
}

#[test]
fn a_shard_that_an_author_does_not_know_keeps_its_holders() {
    let mut log = Log::default();
    let (a, b) = (log.join("a"), log.join("b"));
    log.write(log.plan(a, a, &[]));
    let knows_nothing = |fenced: &[(MemberId, Generation)]| Draft {
        author: b,
        members: [b].into(),
        fenced: fenced.iter().copied().collect(),
        roles: BTreeMap::new(),
    };
    let plan = knows_nothing(&[]).following(&log.view);
    log.write(Record::Plan(plan));
    assert_eq!(log.permitted(), [a]);
    log.write(log.plan(b, b, &[]));
    assert_eq!(log.view.owed(a).collect::<Vec<_>>(), [&shard()]);

    log.write(Record::Plan(
        knows_nothing(&[(a, Generation(1)), (b, Generation(1))]).following(&log.view),
    ));
    let plan = knows_nothing(&[]).following(&log.view);
    assert!(
        plan.shards().is_empty(),
        "nobody is left who could write it"
    );
}

#[test]
fn a_release_counts_in_its_epoch_only() {
    let mut log = Log::default();
    let (a, b) = (log.join("a"), log.join("b"));
    for active in [a, b, a, b] {
        log.write(log.plan(a, active, &[]));
    }
    assert_eq!(
        log.release(2, a),
        Applied::Nothing,
        "it has had the shard again since"
    );
    assert_eq!(log.permitted(), []);
    log.release(4, a);
    assert_eq!(log.permitted(), [b]);
}

#[test]
fn a_fence_counts_up_to_the_generation_that_its_author_knew() {
    for (armed_before_the_plan, permitted) in [(false, true), (true, false)] {
        let mut log = Log::default();
        let (a, b) = (log.join("a"), log.join("b"));
        log.write(log.plan(a, a, &[]));
        let plan = log.plan(b, b, &[(a, 1)]);
        if armed_before_the_plan {
            log.arm(a, 2);
        }
        log.write(plan);
        let outside = matches!(log.view.standing(a), Standing::Outside { .. });
        assert_eq!(outside, permitted);
        assert_eq!(log.permitted(), if permitted { vec![b] } else { vec![] });
        assert_eq!(log.view.owed(a).count(), usize::from(!permitted));
        assert!(permitted || log.view.producer_permit(a, Generation(2)).is_some());
    }
}

#[test]
fn without_armed_producers_nobody_may_write() {
    let mut log = Log::default();
    log.write(Record::Join(join("a")));
    let a = MemberId(0);
    log.write(log.plan(a, a, &[]));
    assert_eq!(log.permitted(), []);
    log.arm(a, 1);
    assert_eq!(log.permitted(), [a]);
    assert!(
        log.view.producer_permit(a, Generation(2)).is_none(),
        "not announced yet"
    );
}

#[test]
fn a_node_learns_from_the_log_where_it_stands() {
    let mut log = Log::default();
    let a = log.next;
    assert_eq!(log.view.standing(MemberId(a.0)), Standing::NotYet);
    let (a, b) = (log.join("a"), log.join("b"));
    assert_eq!(log.view.find(join("a").incarnation), Some(a));
    assert_eq!(log.view.standing(a), Standing::Member);
    log.write(log.plan(b, b, &[(a, 1)]));
    let expelled = Some(Expelled {
        epoch: Epoch(1),
        by: b,
    });
    assert_eq!(log.view.standing(a), Standing::Outside { expelled });
    assert_eq!(log.view.find(join("a").incarnation), None);
    let left = Leave {
        member: b,
        incarnation: join("b").incarnation,
        reason: String::new(),
    };
    assert_eq!(log.write(Record::Leave(left)), Applied::Left(b));
    assert_eq!(log.view.standing(b), Standing::Outside { expelled: None });
}

#[test]
fn what_an_older_member_does_not_read_is_not_to_be_written_before_it_has_gone() {
    let mut log = Log::default();
    log.join("new");
    let begun = Record::Begun(Begun {
        topic: "orders".into(),
        partition: Partition(3),
        id: None,
    });
    assert!(log.view.all_read(&begun));
    let old = |node| Join {
        reads_format: 1,
        ..join(node)
    };
    let member = MemberId(log.view.read_to().0);
    log.write(Record::Join(old("old")));
    assert!(!log.view.all_read(&begun));
    assert!(log.view.all_read(&Record::Join(join("newer"))));
    log.write(Record::Leave(Leave {
        member,
        incarnation: old("old").incarnation,
        reason: String::new(),
    }));
    assert!(log.view.all_read(&begun));
}

#[test]
fn a_log_that_goes_back_is_refused() {
    let mut log = Log::default();
    log.join("a");
    let again = Entry::Record(Record::Join(join("b")));
    let error = log.view.apply(Offset(1), again).unwrap_err();
    assert_eq!(
        error,
        WentBack {
            offset: Offset(1),
            read_to: Offset(2)
        }
    );
}

#[test]
fn of_a_position_the_last_record_counts_whatever_compaction_has_left() {
    let begun = |id: Option<&str>| {
        Entry::Record(Record::Begun(Begun {
            topic: "orders".into(),
            partition: Partition(3),
            id: id.map(Arc::from),
        }))
    };
    let orders = Arc::from("orders");
    let (mut whole, mut compacted) = (View::default(), View::default());
    assert_eq!(whole.begun(&orders, Partition(3)), None);
    whole.apply(Offset(0), begun(None)).unwrap();
    assert_eq!(whole.begun(&orders, Partition(3)), Some(None));
    whole.apply(Offset(1), begun(Some("a"))).unwrap();
    compacted.apply(Offset(1), begun(Some("a"))).unwrap();
    assert_eq!(whole, compacted);
    assert_eq!(whole.begun(&orders, Partition(3)), Some(Some(&"a".into())));
    assert_eq!(whole.begun(&orders, Partition(2)), None);
    assert_eq!(crate::garbage(&whole), []);
    let tombstone = Entry::Tombstone(Key::Begun(orders.clone(), Partition(3)));
    whole.apply(Offset(2), tombstone).unwrap();
    assert_eq!(whole.begun(&orders, Partition(3)), None);
}
