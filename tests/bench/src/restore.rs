//! The benchmark `restore`: a table that lost its disk, from its changelog.

use clap::Args;
use rocksdb::{DB, Options};

use crate::Result;
use crate::contest::{Contest, Contestant, Stage};
use crate::kafka::{PARTITIONS, changelog};
use crate::load;
use crate::orders::Tally;
use crate::orders_count::loop_command;
use crate::server::{Choice, Server};
use crate::tallies::write_store_key;
use crate::tanist_contestant::{self, encode_tally, restored_app};

/// How to measure.
#[derive(Args)]
pub(crate) struct Settings {
    /// Number of keys
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// kafka (Apache Kafka, started for this), embedded, or the address of a broker that runs
    #[arg(long, default_value = "kafka")]
    broker: Choice,
    /// Runs of each contestant
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// The first is the one that the others are compared with.
const CONTESTANTS: &[Contestant] = &[
    Contestant {
        name: "loop restore",
        command: |stage| loop_command("loop-restore", stage),
        check,
    },
    Contestant {
        name: "tanist restore",
        command: tanist_contestant::restore_command,
        check: tanist_contestant::check_restored,
    },
];

pub(crate) fn run(settings: &Settings) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let server = Server::start(&settings.broker, scratch.path())?;
    let topic = format!("restore-changelog-{}", std::process::id());
    eprintln!("writing {} keys to {topic}", settings.keys);
    load::changelog(server.address(), &topic, settings.keys, |tally| {
        Ok(tally.encode().into())
    })?;
    let of_tanist = changelog(&restored_app(&topic));
    load::changelog(server.address(), &of_tanist, settings.keys, encode_tally)?;
    let contest = Contest {
        title: format!(
            "restore, {} keys, runs of each: {}",
            settings.keys, settings.runs
        ),
        unit: "key",
        count: settings.keys,
        contestants: CONTESTANTS,
        runs: settings.runs,
    };
    println!("{}", contest.run(server.address(), &topic, scratch.path())?);
    Ok(())
}

/// Whether the store of the loop holds every key.
fn check(stage: &Stage, keys: u64) -> Result<()> {
    let store = DB::open_for_read_only(&Options::default(), &stage.dir, false)?;
    let mut store_key = Vec::new();
    for number in 0..keys {
        let (key, expected) = load::changelog_record(number);
        // The partition of a key is the partitioner's secret: exactly one of them has it.
        let mut found = Vec::new();
        for partition in 0..PARTITIONS {
            write_store_key(partition, key.as_bytes(), &mut store_key);
            if let Some(value) = store.get_pinned(&store_key)? {
                found.push(Tally::decode(&value)?);
            }
        }
        if found != [expected] {
            return Err(format!("{key} was restored as {found:?}, {expected:?} is right").into());
        }
    }
    Ok(())
}
