//! An agent, and a timer that sends it a greeting every second.
//!
//! ```text
//! cargo run --example 01_hello -- broker     # in one terminal
//! cargo run --example 01_hello -- worker     # in another
//! cargo run --example 01_hello -- send greetings me '{"from":"me","to":"the agent"}'
//! ```
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use tanist::prelude::*;
use tanist_examples as _; // the allocator

#[derive(Serialize, Deserialize)]
struct Greeting {
    from: String,
    to: String,
}

fn main() -> tanist::Result<()> {
    let mut app = App::new("hello");
    let greetings = app.topic::<String, Greeting>("greetings");

    app.agent_fn("hello", &greetings, async |greeting, _cx| {
        println!(
            "Hello from {} to {}",
            greeting.value.from, greeting.value.to
        );
        Ok(())
    });
    app.every(Duration::from_secs(1), async move |cx| {
        let greeting = Greeting {
            from: "Tanist".into(),
            to: "you".into(),
        };
        cx.send(&greetings, "you", greeting)
    });
    app.main()
}
