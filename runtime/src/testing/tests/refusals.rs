//! What the broker refuses, as Kafka does.

use super::*;

#[test]
fn however_many_records_overtake_a_slow_one_all_are_committed_and_none_twice() {
    for others in [100, 3000] {
        let mut app = App::new("overtaken");
        let words = app.topic::<String, u64>("words").partitions(1);
        let out = app.topic::<String, u64>("out").partitions(1);
        app.agent_fn("slow", &words, async move |word, cx| {
            if word.key == "slow" {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            cx.send(&out, word.key, word.value)
        })
        .concurrency(8);
        let mut test = TestApp::new(app);
        test.topic("words").send("slow", 0_u64);
        for number in 1..=others {
            test.topic("words").send(format!("k{number}"), number);
        }
        test.advance(Duration::from_secs(10));
        let out = test.topic("out").records::<String, u64>();
        assert_eq!(out.len() as u64, others, "all but the slow one");
        test.kill("n1");
        test.start("n1");
        test.settle();
        let out = test.topic("out").records::<String, u64>();
        let mut numbers: Vec<u64> = out.into_iter().map(|(_, number)| number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..=others).collect::<Vec<_>>());
    }
}
