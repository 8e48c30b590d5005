//! Tables whose keys and values are not what most are.

use tanist_actors::codec::Bincode;
use uuid::Uuid;

use super::*;

/// Counts the pages of each visitor; tells after each how many have come and who was first, by the order of their ids.
struct Visitors {
    pages: Table<Uuid, u64>,
    seen: Topic<u64, Uuid>,
}

impl Agent for Visitors {
    type Key = Uuid;
    type Value = String;

    async fn handle(&mut self, visit: Record<Uuid, String>, cx: &mut Context) -> Handled {
        self.pages.update(&visit.key, |pages| *pages += 1)?;
        let all: Vec<_> = self.pages.iter()?.collect::<Result<_, _>>()?;
        cx.send(&self.seen, all.len() as u64, all[0].0)
    }
}

fn visitors() -> App {
    let mut app = App::new("visitors");
    let visits = app.topic::<Uuid, String>("visits").partitions(1);
    let seen = app.topic::<u64, Uuid>("seen").partitions(1);
    let pages = app.table::<Uuid, u64>("pages");
    app.agent("count", &visits, move |shard| Visitors {
        pages: shard.table(&pages),
        seen: seen.clone(),
    });
    app
}

#[test]
fn ids_as_keys_survive_a_restart_and_are_scanned_in_their_order() {
    for disk_is_lost in [false, true] {
        let mut test = TestApp::new(visitors());
        let [first, second, third] = [1, 2, 3].map(|it: u128| Uuid::from_u128(it << 100));
        let visit = |test: &mut TestApp, visitor| {
            test.topic("visits").send(visitor, "/");
            test.settle();
        };
        visit(&mut test, third);
        visit(&mut test, second);
        test.stop("n1").unwrap();
        if disk_is_lost {
            test.lose_disk("n1");
        }
        test.start("n1");
        visit(&mut test, third);
        visit(&mut test, first);
        let seen = test.topic("seen").records::<u64, Uuid>();
        assert_eq!(seen, [(1, third), (2, second), (2, second), (3, first)]);
        let pages = test.table("pages");
        let expected = [(first, 1), (second, 1), (third, 2)];
        assert_eq!(pages.entries::<Uuid, u64>(), expected);
        assert_eq!(pages.get::<u64>(&third.to_string()), Some(2));
    }
}

/// Which it is, serde asks the bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Source {
    Web { page: String },
    App { build: u32 },
}

/// Keeps the last source of each visitor.
struct Last {
    sources: Table<String, Source>,
    known: Topic<String, Option<Source>>,
}

impl Agent for Last {
    type Key = String;
    type Value = Source;

    async fn handle(&mut self, visit: Record<String, Source>, cx: &mut Context) -> Handled {
        let before = self.sources.get(&visit.key)?;
        self.sources.put(&visit.key, visit.value)?;
        cx.send(&self.known, visit.key, before)
    }
}

fn last(sources: impl FnOnce(&mut App) -> TableDef<String, Source>) -> App {
    let mut app = App::new("last");
    let visits = app.topic::<String, Source>("visits").partitions(1);
    let known = app.topic::<String, Option<Source>>("known").partitions(1);
    let sources = sources(&mut app);
    let by_visitor = visits
        .map(|visit| visit)
        .group_by("visitor", |visit| visit.key.clone());
    app.agent("last", by_visitor, move |shard| Last {
        sources: shard.table(&sources),
        known: known.clone(),
    });
    app
}

#[test]
fn values_that_ask_their_bytes_what_they_are_can_be_read_again() {
    let mut test = TestApp::new(last(|app| app.table("sources")));
    let web = Source::Web { page: "/".into() };
    test.topic("visits").send("a", web.clone());
    test.settle();
    test.stop("n1").unwrap();
    test.start("n1");
    test.topic("visits").send("a", Source::App { build: 7 });
    test.settle();
    let known = test.topic("known").records::<String, Option<Source>>();
    assert_eq!(known, [("a".into(), None), ("a".into(), Some(web))]);
}

#[test]
fn a_table_that_could_not_be_read_again_is_refused_before_it_is_written() {
    let values = last(|app| app.table("sources").value_codec(Bincode));
    let keys = {
        let mut app = last(|app| app.table("sources"));
        let visits = app.topic::<Source, String>("visits-of").partitions(1);
        let visitors = app.table::<Source, String>("visitors");
        app.agent("keep", &visits, move |shard| Keep(shard.table(&visitors)));
        app
    };
    for (app, table, what) in [(values, "sources", "value"), (keys, "visitors", "key")] {
        let mut test = TestApp::new(app);
        test.advance(Duration::from_secs(1));
        let why = test.ended("n1").expect("it has ended").unwrap_err();
        let expected = format!("table {table}: its {what}s could be written, but not read again");
        assert!(why.contains(&expected), "{why}");
        assert!(why.contains(&format!("`.{what}_codec(Json)`")), "{why}");
    }
}

struct Keep(Table<Source, String>);

impl Agent for Keep {
    type Key = Source;
    type Value = String;

    async fn handle(&mut self, visit: Record<Source, String>, _: &mut Context) -> Handled {
        Ok(self.0.put(&visit.key, visit.value)?)
    }
}
