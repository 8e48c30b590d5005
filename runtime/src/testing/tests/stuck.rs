//! Handlers that do not come back.

use super::*;

#[test]
fn a_handler_that_does_not_come_back_is_shown_until_it_does() {
    let mut app = App::new("slow");
    let words = app.topic::<String, u64>("words").partitions(1);
    app.agent_fn("wait", &words, async move |word, _| {
        tokio::time::sleep(Duration::from_secs(word.value)).await;
        Ok(())
    });
    let mut test = TestApp::new(app);
    for seconds in [1, 60] {
        test.topic("words").send("word", seconds);
    }
    let mut after = |seconds| {
        test.advance(Duration::from_secs(seconds));
        test.status("n1")[0].state.clone()
    };
    assert_eq!(after(9), ShardState::Running);
    let stuck = after(6).to_string();
    let expected = "stuck: agent wait at words[0] offset 1 has been in its handler for 1";
    assert!(stuck.starts_with(expected), "{stuck}");
    assert_eq!(after(60), ShardState::Running);
}

#[test]
fn at_most_once_what_is_committed_and_not_handled_yet_is_not_finished() {
    let mut app = App::new("slow");
    let words = app.topic::<String, u64>("words").partitions(1);
    app.agent_fn("wait", &words, async move |word, _| {
        tokio::time::sleep(Duration::from_secs(word.value)).await;
        Ok(())
    });
    app.setting("guarantee", "at_most_once");
    let mut test = TestApp::new(app);
    for seconds in [2, 2] {
        test.topic("words").send("word", seconds);
    }
    let mut after = |seconds| {
        test.advance(Duration::from_secs(seconds));
        let status = &test.status("n1")[0];
        let input = status.inputs.values().next().expect("the agent has one");
        (input.committed.0, input.position.0)
    };
    assert_eq!([after(1), after(2), after(2)], [(2, 0), (2, 1), (2, 2)]);
}
