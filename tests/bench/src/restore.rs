//! The benchmark `restore`: a table that lost its disk, from its changelog.

use clap::Args;
use rocksdb::{DB, Options};
use tanist_tests::raw::RawClient;

use crate::Result;
use crate::contest::{Contest, Contestant, Stage};
use crate::kafka::{PARTITIONS, changelog};
use crate::load;
use crate::orders::Tally;
use crate::orders_count::loop_command;
use crate::server::{Common, Ground};
use crate::tallies::write_store_key;
use crate::tanist_contestant::{self, encode_tally, restored_app, restored_input};

/// How to measure.
#[derive(Args)]
pub(crate) struct Settings {
    /// Number of keys
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    #[command(flatten)]
    common: Common,
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
    measure(&settings.common.start()?, settings.keys)
}

/// Measures the restore of `keys` keys.
pub(crate) fn measure(ground: &Ground, keys: u64) -> Result<()> {
    let broker = ground.server.address();
    let topic = format!("restore-changelog-{}", std::process::id());
    eprintln!("writing {keys} keys to {topic}");
    load::changelog(broker, &topic, keys, |tally| Ok(tally.encode().into()))?;
    let of_tanist = changelog(&restored_app(&topic));
    load::changelog(broker, &of_tanist, keys, encode_tally)?;
    RawClient::connect(broker).create_topic(&restored_input(&topic), PARTITIONS, &[]);
    let contest = Contest {
        title: format!("restore, {keys} keys, runs of each: {}", ground.runs),
        unit: "key",
        count: keys,
        contestants: CONTESTANTS,
        runs: ground.runs,
    };
    println!("{}", contest.run(ground, &topic)?);
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
