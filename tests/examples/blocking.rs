//! Counts words by their keys. A process in whose environment there is `BLOCKS` blocks its thread for ever at one that says so;
//! one with `BLOCKS_WHILE` takes its time for each until it has blocked once, which it does while there is a file of that name.

#![allow(clippy::print_stderr, reason = "the test waits for it")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tanist::prelude::*;

/// How long a slow process takes for a word.
const SLOW: Duration = Duration::from_millis(2);

static HAS_BLOCKED: AtomicBool = AtomicBool::new(false);

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
                thread::park();
            }
        }
        if let Some(file) = std::env::var_os("BLOCKS_WHILE")
            && !HAS_BLOCKED.load(Ordering::Relaxed)
        {
            tokio::time::sleep(SLOW).await;
            while Path::new(&file).exists() {
                HAS_BLOCKED.store(true, Ordering::Relaxed);
                thread::sleep(SLOW);
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
