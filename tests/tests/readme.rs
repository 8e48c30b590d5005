//! The programs that the README shows, so that they are compiled, and their tests run.

use std::fs;
use std::path::Path;

use tanist::prelude::*;

#[derive(Serialize, Deserialize)]
struct Visit {
    page: String,
    seconds: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tally {
    visits: u64,
    seconds: u64,
}

struct CountVisits {
    tallies: Table<String, Tally>,
    popular: Topic<String, Tally>,
}

impl Agent for CountVisits {
    type Key = String;
    type Value = Visit;

    async fn handle(&mut self, visit: Record<String, Visit>, cx: &mut Context) -> Handled {
        let tally = self.tallies.update(&visit.key, |tally| {
            tally.visits += 1;
            tally.seconds += visit.value.seconds;
            tally.clone()
        })?;
        if tally.visits % 1000 == 0 {
            cx.send(&self.popular, visit.key, tally)?;
        }
        Ok(())
    }
}

fn visits() -> App {
    let mut app = App::new("visits");
    let visits = app.topic::<Option<String>, Visit>("visits").partitions(4);
    let popular = app.topic::<String, Tally>("popular-pages").partitions(4);
    let tallies = app.table::<String, Tally>("tallies");

    let by_page = visits.group_by("page", |visit| visit.value.page.clone());
    app.agent("count-visits", by_page, move |shard| CountVisits {
        tallies: shard.table(&tallies),
        popular: popular.clone(),
    });
    app
}

fn main() -> tanist::Result<()> {
    visits().main()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tanist::testing::TestApp;

    #[test]
    fn no_visit_is_lost_or_counted_twice_when_a_node_is_killed() {
        let mut test = TestApp::new(visits()).nodes(2);
        for second in 0..2000 {
            if second == 1000 {
                test.settle();
            }
            let visit = Visit {
                page: "/home".into(),
                seconds: second % 10,
            };
            test.topic("visits").send(None::<String>, visit);
        }
        test.advance(Duration::from_millis(30));
        test.kill(test.active_of("tallies", "/home"));
        test.settle();

        let all = Tally {
            visits: 2000,
            seconds: 9000,
        };
        assert_eq!(test.table("tallies").get("/home"), Some(all.clone()));
        let popular = test.topic("popular-pages").records::<String, Tally>();
        assert_eq!(popular.len(), 2);
        assert_eq!(popular[1], ("/home".into(), all));
    }
}

#[test]
fn the_readme_shows_only_code_that_is_compiled() {
    let readme = include_str!("../../README.md");
    let compiled = [
        include_str!("readme.rs"),
        include_str!("../../examples/01_hello.rs"),
    ];
    let blocks: Vec<&str> = readme
        .split("\n```rust\n")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("\n```")?.0))
        .collect();
    assert_eq!(blocks.len(), 3, "of hello, visits and the test of visits");
    for block in blocks {
        assert!(
            compiled.iter().any(|source| source.contains(block)),
            "no source has this block of README.md as it is:\n{block}"
        );
    }
}

/// The text of all sources below a folder, with strings that are broken over lines in one piece.
fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).expect("it is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|it| it == "rs" || it == "sh") {
            let text = fs::read_to_string(&path).expect("it is text");
            let mut lines = text.split("\\\n");
            all.extend(lines.next());
            all.extend(lines.map(str::trim_start));
        }
    }
}

#[test]
fn the_messages_that_are_explained_are_those_of_the_program() {
    let page = include_str!("../../docs/troubleshooting.md");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut said = String::new();
    for folder in ["bin", "actors/src", "cluster/src", "runtime/src"] {
        sources(&root.join(folder), &mut said);
    }
    let blocks = page.split("\n```text\n").skip(1);
    let blocks: Vec<&str> = blocks
        .filter_map(|rest| Some(rest.split_once("\n```")?.0))
        .collect();
    assert!(blocks.len() > 10, "the page has its messages");
    for message in blocks.iter().flat_map(|block| block.lines()) {
        for part in message.split('…').filter(|part| !part.trim().is_empty()) {
            assert!(said.contains(part), "nothing says `{part}` of `{message}`");
        }
    }
}
