//! Random histories against the model.

use proptest::prelude::*;

use super::model::{Model, PRODUCERS, Step};

fn step() -> impl Strategy<Value = Step> {
    let producer = 0..PRODUCERS;
    let key = 0..4u8;
    let deletes = prop::bool::weighted(0.2);
    prop_oneof![
        3 => (key.clone(), deletes).prop_map(|(key, deletes)| Step::Plain { key, deletes }),
        6 => (producer.clone(), key, deletes, 1..4u8)
            .prop_map(|(producer, key, deletes, count)| Step::Write { producer, key, deletes, count }),
        1 => producer.clone().prop_map(|producer| Step::Repeat { producer }),
        3 => (producer.clone(), 0..100i64).prop_map(|(producer, offset)| Step::SendOffset { producer, offset }),
        4 => (producer.clone(), any::<bool>()).prop_map(|(producer, commits)| Step::End { producer, commits }),
        1 => producer.prop_map(|producer| Step::Fence { producer }),
        2 => Just(Step::Compact),
        1 => (0..100u8).prop_map(|share| Step::DeleteBefore { share }),
        2 => (1..100_000i64).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

fn check_history(steps: &[Step], compacts: bool) {
    let mut model = Model::new(compacts);
    for step in steps {
        model.take(step);
        model.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn read_committed_sees_exactly_what_was_committed_in_order(steps in prop::collection::vec(step(), 1..60)) {
        check_history(&steps, false);
    }

    #[test]
    fn compaction_keeps_offsets_and_the_last_value_of_every_key(steps in prop::collection::vec(step(), 1..60)) {
        check_history(&steps, true);
    }
}
