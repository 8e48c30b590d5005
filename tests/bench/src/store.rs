//! The benchmark `store`: what it costs to write and to read the store of one shard, and how much memory that takes.
//! Each row is a process of its own.

use std::ops::Bound;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use tanist::store::{Changes, KeyRange, Order, RocksStores, ShardId, Store, StoreOptions, Stores};

use crate::Result;
use crate::raw::wait_with_usage;

/// How to measure.
#[derive(Args)]
pub(crate) struct Settings {
    /// Number of keys
    #[arg(long, default_value_t = 5_000_000)]
    keys: u64,
    /// Memory for cache and write buffers, in MiB
    #[arg(long, default_value_t = 256)]
    memory_mib: usize,
}

/// One step of it, in a process of its own.
#[derive(Args)]
pub(crate) struct Step {
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    what: What,
    #[arg(long)]
    keys: u64,
    #[arg(long)]
    memory_mib: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Open 16 shards, one after the other
    Open,
    /// Write every key, as a restore does
    Write,
    /// Look for every key, which is new, and write it, as commits of an agent do
    Upsert,
    /// Read every key, in the order in which they were written
    Read,
    /// Look for as many keys that are not there
    Miss,
    /// Read all, in the order of keys
    Scan,
}

const SHARDS: i32 = 16;

/// Keys that are written in one batch: a busy commit, or a piece of a restore.
const BATCH: usize = 10_000;

/// Entries that are read at a time.
const PAGE: usize = 1_000;

pub(crate) fn run(settings: &Settings) -> Result<()> {
    measure(settings.keys, settings.memory_mib)
}

/// Measures a store of `keys` keys within `memory_mib`.
pub(crate) fn measure(keys: u64, memory_mib: usize) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    println!("### store of a shard, {memory_mib} MiB for cache and write buffers\n");
    println!("| | keys | CPU, us/key | wall, us/key | peak, MB |");
    println!("| --- | --- | --- | --- | --- |");
    use What::{Miss, Open, Read, Scan, Upsert, Write};
    for (dir, what, keys) in [
        ("empty", Open, SHARDS as u64),
        ("empty", Open, SHARDS as u64),
        ("small", Write, keys / 5),
        ("large", Write, keys),
        ("upsert", Upsert, keys),
        ("upsert", Read, keys),
        ("upsert", Miss, keys),
        ("upsert", Scan, keys),
    ] {
        let dir = scratch.path().join(dir);
        let step = Step {
            dir,
            what,
            keys,
            memory_mib,
        };
        step.measure()?;
    }
    Ok(())
}

impl Step {
    /// Runs it as a child process, and prints a row of the table.
    fn measure(&self) -> Result<()> {
        let what = self.what.to_possible_value().ok_or("a step has a name")?;
        let what = what.get_name();
        let start = Instant::now();
        let child = Command::new(std::env::current_exe()?)
            .arg("store-step")
            .arg("--dir")
            .arg(&self.dir)
            .args(["--what", what])
            .args(["--keys", &self.keys.to_string()])
            .args(["--memory-mib", &self.memory_mib.to_string()])
            .spawn()?;
        let usage = wait_with_usage(child)?;
        let wall = start.elapsed();
        if !usage.success {
            return Err(format!("the step {what} failed").into());
        }
        println!(
            "| {what} | {} | {:.2} | {:.2} | {} |",
            self.keys,
            us_each(usage.cpu, self.keys),
            us_each(wall, self.keys),
            usage.peak_rss_bytes / 1_000_000,
        );
        Ok(())
    }
}

fn us_each(time: Duration, keys: u64) -> f64 {
    time.as_secs_f64() * 1e6 / keys as f64
}

/// Does what `step` says, in this process.
pub(crate) fn run_step(step: &Step) -> Result<()> {
    let options = StoreOptions {
        memory_bytes: step.memory_mib << 20,
        ..StoreOptions::default()
    };
    let stores = RocksStores::open(&step.dir, "bench", &options)?;
    let open = |partition| stores.open(&ShardId::new("bench", partition));
    let store = open(0)?;
    match step.what {
        What::Open => {
            let others: Vec<Arc<dyn Store>> = (1..SHARDS).map(open).collect::<Result<_, _>>()?;
            drop(others);
            Ok(())
        }
        What::Write => write(&*store, step.keys, |_| Ok(())),
        What::Upsert => write(&*store, step.keys, |index| expect(&*store, index, None)),
        What::Read => (0..step.keys).try_for_each(|n| expect(&*store, n, Some(value(n)))),
        What::Miss => (0..step.keys).try_for_each(|n| expect(&*store, !n, None)),
        What::Scan => scan(&*store, step.keys),
    }
}

/// Writes `keys` keys in no order, with values of 16 bytes, and calls `before` each.
fn write(store: &dyn Store, keys: u64, before: impl Fn(u64) -> Result<()>) -> Result<()> {
    let mut changes = Changes::default();
    for index in 0..keys {
        before(index)?;
        changes.put(TABLE, &key(index), &value(index));
        if changes.len() == BATCH || index + 1 == keys {
            store.apply(&std::mem::take(&mut changes))?;
        }
    }
    Ok(())
}

fn expect(store: &dyn Store, index: u64, expected: Option<[u8; 16]>) -> Result<()> {
    let found = store.get(&[TABLE, &key(index)].concat())?;
    if found.as_deref() != expected.as_ref().map(|value| &value[..]) {
        return Err(format!("key {index} has the value {found:?}, not {expected:?}").into());
    }
    Ok(())
}

fn scan(store: &dyn Store, keys: u64) -> Result<()> {
    let mut range = KeyRange::prefix(TABLE);
    let mut found = 0;
    loop {
        let page = store.page(&range, Order::Ascending, PAGE)?;
        let Some((last, _)) = page.last() else { break };
        range.from = Bound::Excluded(last.clone());
        found += page.len() as u64;
    }
    if found != keys {
        return Err(format!("{found} keys were found, {keys} were written").into());
    }
    Ok(())
}

const TABLE: &[u8] = b"\x05table";

/// 16 digits, different for each index, in no order.
fn key(index: u64) -> [u8; 16] {
    let mut mixed = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    std::array::from_fn(|digit| b"0123456789abcdef"[(mixed >> (60 - 4 * digit)) as usize & 15])
}

fn value(index: u64) -> [u8; 16] {
    u128::from(index)
        .wrapping_mul(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)
        .to_le_bytes()
}
