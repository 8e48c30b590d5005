//! S3 under SIGKILL: a process writes to a store and is killed at any moment, again and again.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command};
use std::time::Duration;

use tanist_actors::port::Stores;
use tanist_cluster::ShardId;

use super::workload::{self, CHILD, Model, Random, Workload};
use crate::store::{DataDirError, Holder, RocksStores, StoreOptions};

/// How often the process is killed, unless `TANIST_KILLS` says otherwise.
const KILLS: u64 = 10;

/// So small that write buffers are flushed by themselves too.
const OPTIONS: StoreOptions = StoreOptions {
    memory_bytes: StoreOptions::MIN_MEMORY_BYTES,
    background_threads: 2,
};

fn workload(seed: u64) -> Workload {
    Workload {
        seed,
        keys: 3_000,
        value_bytes: 300,
    }
}

fn shard() -> ShardId {
    ShardId::new("orders", 0)
}

/// Writes until it is killed, and says what the store has promised to keep.
fn write_for_ever(dir: &Path, workload: &Workload) -> ! {
    let stores = RocksStores::open(dir, "orders", &OPTIONS).unwrap();
    let store = stores.open(&shard()).unwrap();
    let mut position = workload::position(&*store);
    println!("\nkept {position}");
    loop {
        workload::put(&*store, &workload.changes(position)).unwrap();
        position += 1;
        if position.is_multiple_of(2_000) {
            store.flush().unwrap();
            println!("kept {position}");
        }
    }
}

/// A process that writes.
struct Writer {
    process: Child,
    output: BufReader<ChildStdout>,
    said: String,
}

impl Writer {
    /// Lets the test `name` play the writer, and waits until it has opened its store.
    fn start(name: &str, argument: &str) -> Self {
        let binary = Command::new(std::env::current_exe().unwrap());
        let mut process = workload::child(binary, name, argument);
        let output = BufReader::new(process.stdout.take().unwrap());
        let said = String::new();
        let mut writer = Self {
            process,
            output,
            said,
        };
        while !writer.said.contains("kept") {
            let bytes = writer.output.read_line(&mut writer.said).unwrap();
            assert_ne!(bytes, 0, "it ended: {}", writer.said);
        }
        writer
    }

    /// Kills it, and returns the last position that it was promised to find again.
    fn kill(mut self) -> u64 {
        self.process.kill().unwrap();
        self.output.read_to_string(&mut self.said).unwrap();
        let (complete, _) = self.said.rsplit_once('\n').unwrap();
        let mut lines = complete.lines().rev();
        let kept = lines.find_map(|line| line.strip_prefix("kept "));
        kept.unwrap().parse().unwrap()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[test]
fn a_killed_process_leaves_the_replay_up_to_its_position() {
    if let Ok(argument) = std::env::var(CHILD) {
        let (seed, dir) = argument.split_once(' ').unwrap();
        write_for_ever(Path::new(dir), &workload(seed.parse().unwrap()));
    }
    let seed = workload::any_seed();
    println!("TANIST_SEED={seed}");
    let kills = std::env::var("TANIST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let argument = format!("{seed} {}", dir.path().display());
    let (workload, mut random, mut model) = (workload(seed), Random(seed), Model::default());
    for kill in 0..kills {
        let name = "kills::a_killed_process_leaves_the_replay_up_to_its_position";
        let writer = Writer::start(name, &argument);
        let delay = Duration::from_micros(random.below(300_000));
        std::thread::sleep(delay); // the moment of the kill is the input of this test
        let kept = writer.kill();

        let stores = RocksStores::open(dir.path(), "orders", &OPTIONS).unwrap();
        let store = stores.open(&shard()).unwrap();
        let position = workload::position(&*store);
        println!("kill {kill} after {delay:?}: at {position}, promised {kept}");
        assert!(
            position >= kept,
            "{position} is less than the {kept} that were promised"
        );
        model.replay(&workload, position);
        model.check(&*store);
    }
}

#[test]
fn a_directory_is_free_again_as_soon_as_its_process_is_gone() {
    if let Ok(dir) = std::env::var(CHILD) {
        write_for_ever(Path::new(&dir), &workload(0));
    }
    let dir = tempfile::tempdir().unwrap();
    let name = "kills::a_directory_is_free_again_as_soon_as_its_process_is_gone";
    let writer = Writer::start(name, dir.path().to_str().unwrap());
    let pid = writer.process.id();
    let refused = RocksStores::open(dir.path(), "orders", &OPTIONS).err();
    writer.kill();
    let Some(DataDirError::InUse { holder, .. }) = refused else {
        panic!("expected it to be in use, got {refused:?}");
    };
    assert_eq!(holder, Holder::Process(pid));
    RocksStores::open(dir.path(), "orders", &OPTIONS).unwrap();
}
