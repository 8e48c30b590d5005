//! A table whose keys are not strings.

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
