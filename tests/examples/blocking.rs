//! Counts words by their keys. A process in whose environment there is `BLOCKS` blocks its thread for ever at one that says so.

#![allow(clippy::print_stderr, reason = "the test waits for it")]

use tanist::prelude::*;

#[derive(Serialize, Deserialize)]
struct Word {
    key: String,
    blocks: bool,
}

struct Count {
    counts: Table<String, u64>,
    out: Topic<String, u64>,
}

impl Agent for Count {
    type Key = String;
    type Value = Word;

    async fn handle(&mut self, word: Record<String, Word>, cx: &mut Context) -> Handled {
        if word.value.blocks && std::env::var_os("BLOCKS").is_some() {
            eprintln!("blocking at {}", word.key);
            loop {
                std::thread::park();
            }
        }
        let count = self.counts.get(&word.key)?.unwrap_or_default() + 1;
        self.counts.put(&word.key, count)?;
        cx.send(&self.out, word.key, count)
    }
}

fn main() -> tanist::Result<()> {
    let mut app = App::new("blocking");
    let words = app.topic::<String, Word>("words").partitions(4);
    let out = app.topic::<String, u64>("counted").partitions(4);
    let counts = app.table::<String, u64>("counts");
    app.agent("count", &words, move |shard| Count {
        counts: shard.table(&counts),
        out: out.clone(),
    });
    app.main()
}
