mod caught_up;
mod changelogs;
mod clusters;
mod failing;
mod frozen;
mod inputs;
mod keys;
mod overtaken;
mod purging;
mod quiet;
mod refusals;
mod shapes;
mod stopping;
mod stuck;

use std::collections::BTreeMap;
use std::time::Duration;

use tanist_actors::shard::ShardState;
use tanist_actors::worker::{Guarantee, WorkerSettings};

use super::TestApp;
use crate::prelude::*;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    account_id: String,
    amount: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tally {
    count: u64,
    amount: u64,
}

fn order(account_id: &str, amount: u32) -> Order {
    Order {
        account_id: account_id.into(),
        amount,
    }
}

struct CountOrders {
    counts: Table<String, Tally>,
    updates: Topic<String, Tally>,
}

impl Agent for CountOrders {
    type Key = String;
    type Value = Order;

    async fn handle(&mut self, order: Record<String, Order>, cx: &mut Context) -> Handled {
        let tally = self.counts.update(&order.key, |tally| {
            tally.count += 1;
            tally.amount += u64::from(order.value.amount);
            *tally
        })?;
        cx.send(&self.updates, order.key, tally)
    }
}

fn orders() -> App {
    let mut app = App::new("orders");
    let orders = app.topic::<Option<Vec<u8>>, Order>("orders").partitions(4);
    let updates = app.topic::<String, Tally>("order-counts").partitions(4);
    let counts = app.table::<String, Tally>("order_count");
    app.agent(
        "count-orders",
        orders.group_by("account", |order| order.value.account_id.clone()),
        move |shard| CountOrders {
            counts: shard.table(&counts),
            updates: updates.clone(),
        },
    );
    app
}

/// Per account the counts 1, 2, 3 ... without a gap or a repeat; how many there are.
fn check_counts(test: &mut TestApp) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (account, tally) in test.topic("order-counts").records::<String, Tally>() {
        let count = counts.entry(account.clone()).or_default();
        *count += 1;
        assert_eq!(tally.count, *count, "account {account}");
    }
    counts
}

#[test]
fn an_account_keeps_its_count_when_its_node_dies() {
    let mut test = TestApp::new(orders()).seed(7);
    test.topic("orders").send("any", order("a1", 2));
    test.settle();
    test.kill("n1");
    test.start("n1");
    test.topic("orders").send("any", order("a1", 1));
    test.settle();
    assert_eq!(
        test.table("order_count").get("a1"),
        Some(Tally {
            count: 2,
            amount: 3
        })
    );
    assert_eq!(check_counts(&mut test), [("a1".to_owned(), 2)].into());
}

#[test]
fn whatever_is_killed_no_count_is_lost_doubled_or_skipped() {
    for seed in 0..40 {
        let mut test = TestApp::new(orders())
            .seed(seed)
            .workers(1 + (seed % 3) as u32);
        let mut sent = 0;
        for round in 0..6_u64 {
            for _ in 0..50 {
                let account = format!("a{}", sent * 7 % 13);
                test.topic("orders")
                    .send(None::<String>, order(&account, 1));
                sent += 1;
            }
            test.advance(Duration::from_millis(1 + (seed * 31 + round * 47) % 173));
            test.kill("n1");
            if (seed + round) % 3 == 0 {
                test.lose_disk("n1");
            }
            test.start("n1");
        }
        test.settle();
        let counts = check_counts(&mut test);
        assert_eq!(counts.values().sum::<u64>(), sent, "seed {seed}");
    }
}

#[test]
fn a_run_is_determined_by_its_seed() {
    let run = |seed| {
        let mut test = TestApp::new(orders()).seed(seed).workers(2);
        for number in 0..100 {
            test.topic("orders")
                .send(None::<String>, order(&format!("a{}", number % 7), number));
            test.advance(Duration::from_millis(3));
        }
        test.kill("n1");
        test.start("n1");
        test.settle();
        let log: Vec<_> = test.topic("order-counts").raw();
        log
    };
    assert!(run(1) == run(1), "two runs of one seed differ");
}

#[test]
fn a_handler_that_fails_leaves_no_trace_and_stops_its_shard_alone() {
    let mut app = App::new("fails");
    let words = app.topic::<String, String>("words").partitions(4);
    let out = app.topic::<String, String>("out").partitions(4);
    let seen = app.table::<String, u64>("seen");
    struct Fails {
        seen: Table<String, u64>,
        out: Topic<String, String>,
    }
    impl Agent for Fails {
        type Key = String;
        type Value = String;
        async fn handle(&mut self, word: Record<String, String>, cx: &mut Context) -> Handled {
            self.seen.update(&word.key, |seen| *seen += 1)?;
            cx.send(&self.out, word.key, word.value.clone())?;
            match word.value.as_str() {
                "error" => Err(Failure::new("as it was asked to")),
                "panic" => panic!("as it was asked to"),
                _ => Ok(()),
            }
        }
    }
    app.agent("fails", &words, move |shard| Fails {
        seen: shard.table(&seen),
        out: out.clone(),
    });
    let mut test = TestApp::new(app);
    // a is in partition 0, c in 2, d in 1 of four.
    for key in ["a", "c", "d"] {
        test.topic("words").send(key, "good");
    }
    test.topic("words").send("a", "panic");
    test.topic("words").send("d", "error");
    for key in ["a", "c", "d"] {
        test.topic("words").send(key, "good");
    }
    test.settle();
    let broken: Vec<_> = test
        .status("n1")
        .into_iter()
        .filter(|shard| matches!(shard.state, ShardState::Broken { .. }))
        .collect();
    assert_eq!(broken.len(), 2, "{broken:?}");
    for shard in &broken {
        let reason = shard.state.to_string();
        assert!(
            reason.contains("agent fails at words[") && reason.contains("as it was asked to"),
            "{reason}"
        );
    }
    assert_eq!(test.table("seen").get::<u64>("a"), Some(1));
    assert_eq!(test.table("seen").get::<u64>("d"), Some(1));
    assert_eq!(test.table("seen").get::<u64>("c"), Some(2));
    let out = test.topic("out").records::<String, String>();
    assert!(out.iter().all(|(_, value)| value == "good"), "{out:?}");
}

#[test]
fn records_of_different_keys_are_handled_at_once_and_those_of_one_key_in_order() {
    let mut app = App::new("slow");
    let words = app.topic::<String, u64>("words").partitions(1);
    let out = app.topic::<String, u64>("out").partitions(1);
    app.agent_fn("slow", &words, async move |word, cx| {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cx.send(&out, word.key, word.value)
    })
    .concurrency(4);
    let mut test = TestApp::new(app);
    for number in 0..4_u64 {
        for key in ["a", "b", "c", "d"] {
            test.topic("words").send(key, number);
        }
    }
    let begun = test.now();
    test.settle();
    let took = test.now().0 - begun.0;
    assert!(
        (4000..6000).contains(&took),
        "16 seconds of work by 4 lanes took {took} ms"
    );
    let out = test.topic("out").records::<String, u64>();
    for key in ["a", "b", "c", "d"] {
        let of_key: Vec<u64> = out
            .iter()
            .filter(|(k, _)| k == key)
            .map(|(_, number)| *number)
            .collect();
        assert_eq!(of_key, [0, 1, 2, 3], "{key}");
    }
}

#[test]
fn records_in_hand_when_the_node_dies_are_handled_once_though_later_ones_were_finished() {
    for seed in 0..20 {
        let mut app = App::new("uneven");
        let words = app.topic::<String, u64>("words").partitions(1);
        let out = app.topic::<String, u64>("out").partitions(1);
        app.agent_fn("uneven", &words, async move |word, cx| {
            tokio::time::sleep(Duration::from_millis(if word.value % 5 == 0 {
                900
            } else {
                20
            }))
            .await;
            cx.send(&out, word.key, word.value)
        })
        .concurrency(3);
        let mut test = TestApp::new(app).seed(seed);
        for number in 0..60_u64 {
            test.topic("words").send(format!("k{number}"), number);
        }
        for round in 0..3 {
            test.advance(Duration::from_millis(200 + 90 * round + 13 * seed));
            test.kill("n1");
            test.start("n1");
        }
        test.settle();
        let mut numbers: Vec<u64> = test
            .topic("out")
            .records::<String, u64>()
            .into_iter()
            .map(|(_, n)| n)
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..60).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn headers_go_along_by_repartition_and_forward_and_can_be_copied_to_an_output() {
    let mut app = App::new("headers");
    let words = app.topic::<String, String>("words").partitions(2);
    let marked = app.topic::<String, String>("marked").partitions(2);
    let passed = app.topic::<String, String>("passed").partitions(2);
    let out = app.topic::<String, String>("out").partitions(2);
    let mark = marked.clone();
    app.agent_fn("mark", &words, async move |word, cx| {
        let headers = Headers::new().with("by", word.value.as_bytes());
        cx.send_record(
            &mark,
            OutputRecord::new(word.key, word.value).headers(headers),
        )
    });
    let pass = passed.clone();
    let by_value = marked.group_by("value", |word| word.value.clone());
    app.agent_fn("pass", by_value, async move |_, cx| cx.forward(&pass));
    app.agent_fn("read", &passed, async move |word, cx| {
        let by = word.headers.get("by").unwrap_or_default();
        let by = String::from_utf8(by.to_vec())?;
        cx.send_record(
            &out,
            OutputRecord::new(by, word.value).headers(word.headers),
        )
    });
    let mut test = TestApp::new(app);
    test.topic("words").send("k", "a");
    test.topic("words").send("k", "b");
    test.settle();
    let mut out = test.topic("out").records::<String, String>();
    out.sort();
    let same = |word: &str| (word.to_owned(), word.to_owned());
    assert_eq!(out, [same("a"), same("b")]);
}

#[test]
fn a_timer_of_the_app_ticks_once_a_second_for_all_nodes() {
    let mut app = App::new("ticks");
    let ticks = app.topic::<String, u64>("ticks");
    app.every(Duration::from_secs(1), async move |cx| {
        cx.send(&ticks, "tick", 1)
    });
    let mut test = TestApp::new(app);
    test.settle();
    test.advance(Duration::from_millis(10_600));
    let count = test.topic("ticks").records::<String, u64>().len();
    assert!((10..=11).contains(&count), "{count} ticks");
}

/// How often each account's count was put out, and the table's count, after kills.
fn after_kills(guarantee: Guarantee, seed: u64) -> (u64, BTreeMap<String, Vec<u64>>, u64) {
    let settings = WorkerSettings {
        guarantee,
        ..WorkerSettings::default()
    };
    let mut test = TestApp::new(orders()).seed(seed).settings(settings);
    let mut sent = 0;
    for round in 0..5_u64 {
        for _ in 0..40 {
            test.topic("orders")
                .send(None::<String>, order(&format!("a{}", sent % 5), 1));
            sent += 1;
        }
        test.advance(Duration::from_millis(20 + (seed * 37 + round * 53) % 150));
        test.kill("n1");
        test.start("n1");
    }
    test.settle();
    let mut outputs: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (account, tally) in test.topic("order-counts").records::<String, Tally>() {
        outputs.entry(account).or_default().push(tally.count);
    }
    let entries = test.table("order_count").entries::<String, Tally>();
    (
        sent,
        outputs,
        entries.iter().map(|(_, tally)| tally.count).sum(),
    )
}

#[test]
fn at_least_once_repeats_outputs_but_loses_none_and_tables_stay_exact() {
    let mut repeated = 0;
    for seed in 0..15 {
        let (sent, outputs, counted) = after_kills(Guarantee::AtLeastOnce, seed);
        assert_eq!(counted, sent, "seed {seed}");
        for (account, counts) in outputs {
            let highest = counts.iter().copied().max().unwrap_or(0);
            for count in 1..=highest {
                assert!(
                    counts.contains(&count),
                    "seed {seed}: {account} lacks {count}"
                );
            }
            repeated += counts.len() as u64 - highest;
        }
    }
    assert!(
        repeated > 0,
        "no kill came between an output and its commit: the test shows nothing"
    );
}

#[test]
fn at_most_once_repeats_nothing_and_loses_what_was_in_hand() {
    let mut lost = 0;
    for seed in 0..15 {
        let (sent, outputs, counted) = after_kills(Guarantee::AtMostOnce, seed);
        let mut put_out = 0;
        for (account, counts) in outputs {
            let expected: Vec<u64> = (1..=counts.len() as u64).collect();
            assert_eq!(counts, expected, "seed {seed}: {account}");
            put_out += counts.len() as u64;
        }
        assert_eq!(
            put_out, counted,
            "seed {seed}: tables and outputs are one commit"
        );
        assert!(counted <= sent, "seed {seed}");
        lost += sent - counted;
    }
    assert!(
        lost > 0,
        "no kill came between a position and its effects: the test shows nothing"
    );
}
