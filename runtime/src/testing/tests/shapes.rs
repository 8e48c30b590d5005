//! A table whose type was changed.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use tanist_actors::codec::{Data, Json};

use super::*;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tally {
    count: u64,
    bytes: u64,
}

/// As [`Tally`], but for the order of its fields: bincode reads the one from the other without an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Swapped {
    bytes: u64,
    count: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Last {
    #[default]
    Nothing,
    Word(String),
}

/// As [`Last`], with a variant more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum LastOfThree {
    #[default]
    Nothing,
    Word(String),
    Long(u64),
}

/// What is kept of the words of a key.
trait Kept: Data + Clone + Default {
    fn add(&mut self, word: String);
}

impl Kept for Tally {
    fn add(&mut self, word: String) {
        self.count += 1;
        self.bytes += word.len() as u64;
    }
}

impl Kept for Swapped {
    fn add(&mut self, word: String) {
        self.count += 1;
        self.bytes += word.len() as u64;
    }
}

impl Kept for Last {
    fn add(&mut self, word: String) {
        *self = Self::Word(word);
    }
}

impl Kept for LastOfThree {
    fn add(&mut self, word: String) {
        *self = match word.len() {
            0..5 => Self::Word(word),
            bytes => Self::Long(bytes as u64),
        };
    }
}

struct Words<K, V> {
    kept: Table<K, V>,
}

impl<K, V> Agent for Words<K, V>
where
    K: Data + Clone + std::hash::Hash + Eq + From<String>,
    V: Kept,
{
    type Key = String;
    type Value = String;

    async fn handle(&mut self, word: Record<String, String>, _: &mut Context) -> Handled {
        let key = K::from(word.key);
        Ok(self.kept.update(&key, |kept| kept.add(word.value))?)
    }
}

/// Keeps something of words in a table called `name`.
fn words_as<K, V>(name: &str, change: impl FnOnce(TableDef<K, V>) -> TableDef<K, V>) -> App
where
    K: Data + Clone + std::hash::Hash + Eq + From<String> + Send + Sync,
    V: Kept + Send + Sync,
{
    let mut app = App::new("words");
    let words = app.topic::<String, String>("words").partitions(1);
    let kept = change(app.table::<K, V>(name));
    app.agent("keep", &words, move |shard| Words {
        kept: shard.table(&kept),
    });
    app
}

fn words<V: Kept + Send + Sync>() -> App {
    words_as::<String, V>("kept", |table| table)
}

/// Why the one shard is broken.
fn broken(test: &mut TestApp) -> String {
    test.settle();
    match test.status("n1").remove(0).state {
        ShardState::Broken { reason } => reason,
        state => panic!("the shard is {state}"),
    }
}

/// The node is killed first, which may cost what its disk has not flushed.
fn restart(test: &mut TestApp, app: App, disk_is_lost: bool) {
    test.kill("n1");
    if disk_is_lost {
        test.lose_disk("n1");
    }
    test.deploy(app);
    test.start("n1");
}

fn send(test: &mut TestApp, words: &[&str]) {
    for word in words {
        test.topic("words").send("a", word);
    }
    test.settle();
}

#[test]
fn a_table_of_another_type_is_refused_and_nothing_of_it_is_lost() {
    for in_memory in [false, true] {
        let kept =
            |table: TableDef<String, Tally>| if in_memory { table.in_memory() } else { table };
        let before = || words_as("kept", kept);
        for disk_is_lost in [false, true] {
            let mut test = TestApp::new(before());
            send(&mut test, &["one", "three"]);
            for is_lost_again in [disk_is_lost, !disk_is_lost] {
                restart(&mut test, words::<Swapped>(), is_lost_again);
                test.topic("words").send("a", "five");
                let reason = broken(&mut test);
                let expected = "table kept holds what the app cannot read: its values were {count: u64, bytes: u64} then and \
                                {bytes: u64, count: u64} now.";
                assert!(reason.starts_with(expected), "{reason}");
            }
            restart(&mut test, before(), disk_is_lost);
            test.settle();
            let kept = test.table("kept").get::<Tally>("a");
            let expected = Tally {
                count: 4,
                bytes: 16,
            };
            assert_eq!(
                kept,
                Some(expected),
                "in memory: {in_memory}, disk lost: {disk_is_lost}"
            );
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Key {
    word: String,
    long: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct OtherKey {
    long: bool,
    word: String,
}

impl From<String> for Key {
    fn from(word: String) -> Self {
        Self { word, long: false }
    }
}

impl From<String> for OtherKey {
    fn from(word: String) -> Self {
        Self { word, long: false }
    }
}

#[test]
fn a_table_with_keys_of_another_type_is_refused() {
    let mut test = TestApp::new(words_as::<Key, Tally>("kept", |table| table));
    send(&mut test, &["one"]);
    restart(
        &mut test,
        words_as::<OtherKey, Tally>("kept", |table| table),
        false,
    );
    let reason = broken(&mut test);
    let expected = "its keys were {word: str, long: bool} then and {long: bool, word: str} now";
    assert!(reason.contains(expected), "{reason}");
    restart(&mut test, words::<Tally>(), true);
    let reason = broken(&mut test);
    let expected = "its keys were ordered {word: str, long: bool} and are utf8";
    assert!(reason.contains(expected), "{reason}");
}

#[test]
fn an_enum_may_get_variants_behind_those_that_it_has_and_not_lose_them_again() {
    let mut test = TestApp::new(words::<Last>());
    send(&mut test, &["one"]);
    restart(&mut test, words::<LastOfThree>(), false);
    test.settle();
    let kept = test.table("kept").get::<LastOfThree>("a");
    assert_eq!(kept, Some(LastOfThree::Word("one".into())));
    send(&mut test, &["seven"]);
    for disk_is_lost in [false, true] {
        restart(&mut test, words::<Last>(), disk_is_lost);
        let reason = broken(&mut test);
        let expected =
            "its values were <Nothing | Word str | Long u64> then and <Nothing | Word str> now";
        assert!(reason.contains(expected), "{reason}");
    }
}

#[test]
fn json_may_get_fields() {
    let json = |table: TableDef<String, Tally>| table.value_codec(Json);
    let mut test = TestApp::new(words_as("kept", json));
    send(&mut test, &["one"]);
    let json = |table: TableDef<String, Swapped>| table.value_codec(Json);
    restart(&mut test, words_as("kept", json), true);
    send(&mut test, &["two"]);
    let kept = test.table("kept").get::<Swapped>("a");
    assert_eq!(kept, Some(Swapped { bytes: 6, count: 2 }));
}

#[test]
fn a_node_with_another_type_does_not_join_those_that_run() {
    let mut test = TestApp::new(words::<Tally>()).nodes(2);
    send(&mut test, &["one"]);
    test.stop("n2").unwrap();
    test.deploy(words::<Swapped>());
    test.start("n2");
    test.advance(Duration::from_secs(5));
    let ended = test.ended("n2").expect("it was refused").unwrap_err();
    let expected = "table kept is utf8 -> bincode {bytes: u64, count: u64} here and utf8 -> bincode {count: u64, bytes: u64} there";
    assert!(ended.contains(expected), "{ended}");
    test.deploy(words::<Tally>());
    test.start("n2");
    send(&mut test, &["three"]);
    let kept = test.table("kept").get::<Tally>("a");
    assert_eq!(kept, Some(Tally { count: 2, bytes: 8 }));
}

/// Sends on what it is told, through a topic of its own.
fn regrouped<T: Data + Clone>() -> App {
    let mut app = App::new("regrouped");
    let told = app.topic::<String, T>("told").partitions(2);
    let out = app.topic::<String, T>("out").partitions(2);
    let by_key = told.map(|it| it).group_by("key", |it| it.key.clone());
    app.agent_fn("pass", by_key, async move |it: Record<String, T>, cx| {
        cx.send(&out, it.key, it.value)
    });
    app
}

#[test]
fn nodes_that_would_read_each_others_records_between_two_steps_otherwise_do_not_work_together() {
    let mut test = TestApp::new(regrouped::<Tally>()).nodes(2);
    test.settle();
    test.stop("n2").unwrap();
    test.deploy(regrouped::<Swapped>());
    test.start("n2");
    test.advance(Duration::from_secs(5));
    let ended = test.ended("n2").expect("it was refused").unwrap_err();
    let expected =
        "topic regrouped-key-repartition is utf8 -> bincode {bytes: u64, count: u64} here";
    assert!(ended.contains(expected), "{ended}");
}

/// Of the same bytes as [`Tally`]; another name may stand for a field when it is read by names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Aliased {
    #[serde(alias = "number")]
    count: u64,
    bytes: u64,
}

#[test]
fn nodes_of_two_builds_that_find_out_different_things_of_one_type_work_together() {
    let mut test = TestApp::new(regrouped::<Tally>()).nodes(2);
    test.settle();
    test.stop("n2").unwrap();
    test.deploy(regrouped::<Aliased>());
    test.start("n2");
    test.advance(Duration::from_secs(5));
    assert!(test.ended("n2").is_none());
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Logged(std::sync::Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is warned of while `work` is done, by lines that speak of `what`.
fn warnings(what: &str, work: impl FnOnce()) -> Vec<String> {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let all = logged.0.lock().unwrap_or_else(PoisonError::into_inner);
    let all = String::from_utf8_lossy(&all);
    let of_it = all.lines().filter(|line| line.contains(what));
    of_it.map(str::to_owned).collect()
}

#[test]
fn a_table_that_was_renamed_is_missed_once_a_start_until_its_changelog_is_deleted() {
    const CHANGELOG: &str = "words-kept-changelog";
    let renamed = || words_as::<String, Tally>("held", |table| table);
    let mut test = TestApp::new(words::<Tally>());
    let begin = |test: &mut TestApp| {
        test.stop("n1").unwrap();
        test.deploy(renamed());
        test.start("n1");
        test.settle();
    };
    let at_first = warnings(CHANGELOG, || send(&mut test, &["one"]));
    assert_eq!(at_first, [""; 0]);
    for _ in 0..2 {
        let missed = warnings(CHANGELOG, || {
            begin(&mut test);
            send(&mut test, &["three"]);
        });
        assert_eq!(missed.len(), 1, "{missed:?}");
        assert!(missed[0].contains("renamed or removed"), "{missed:?}");
    }
    let now = tanist_broker::Millis(test.now().0);
    test.broker().delete_topic(CHANGELOG, now).unwrap();
    let after = warnings(CHANGELOG, || begin(&mut test));
    assert_eq!(after, [""; 0]);
}

#[test]
fn a_table_that_was_renamed_begins_empty_also_where_the_old_one_never_was() {
    let renamed = || words_as::<String, Tally>("held", |table| table);
    let mut test = TestApp::new(words::<Tally>());
    send(&mut test, &["one", "two"]);
    restart(&mut test, renamed(), true);
    send(&mut test, &["three"]);
    let held = test.table("held").get::<Tally>("a");
    assert_eq!(held, Some(Tally { count: 1, bytes: 5 }));
    // Under its new name it is missed when it is lost.
    let now = tanist_broker::Millis(test.now().0);
    test.stop("n1").unwrap();
    test.broker()
        .delete_topic("words-held-changelog", now)
        .unwrap();
    test.lose_disk("n1");
    test.start("n1");
    let reason = broken(&mut test);
    assert!(
        reason.contains("has lost what was committed to it"),
        "{reason}"
    );
}
