//! Tanist as a contestant: the app `tanist-orders`, by its command line; and how what it leaves behind is read.

use std::process::Command;

use bincode::config::standard;
use tanist_actors::port::{KeyRange, Order, Stores};
use tanist_actors::table::{INPUTS_KEY, table_prefix};
use tanist_cluster::ShardId;

use crate::Result;
use crate::contest::Stage;
use crate::kafka::PARTITIONS;
use crate::load::changelog_record;
use crate::orders::Tally;

/// A stored value begins with these: the format (bincode) and the table's version.
const HEAD: [u8; 2] = [1, 1];

/// Runs the app until it has caught up with its input. `more` are flags.
pub(crate) fn command(stage: &Stage, keys: &str, more: &[&str]) -> Result<Command> {
    let mut command = node_command(stage, keys, more)?;
    command.arg("--until-caught-up");
    Ok(command)
}

/// Runs the app until it is told to end.
pub(crate) fn node_command(stage: &Stage, keys: &str, more: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?.with_file_name("tanist-orders"));
    command
        .env("BENCH_APP", &stage.app)
        .env("BENCH_INPUT", &stage.input)
        .env("BENCH_KEYS", keys)
        .args(["worker", "--log", "warn", "--broker", &stage.broker])
        .arg("--data-dir")
        .arg(&stage.dir)
        .args(more);
    Ok(command)
}

/// Reads a changelog record of the app; none, if it is no account's.
pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Option<(String, Tally)>> {
    if key == INPUTS_KEY {
        return Ok(None);
    }
    Ok(Some((
        String::from_utf8(key.to_vec())?,
        decode_tally(value)?,
    )))
}

fn decode_tally(value: &[u8]) -> Result<Tally> {
    let value = value
        .strip_prefix(&HEAD)
        .ok_or("a value of another format")?;
    let ((count, total), _) = bincode::decode_from_slice(value, standard())?;
    Ok(Tally { count, total })
}

/// A tally as the app stores it.
pub(crate) fn encode_tally(tally: Tally) -> Result<Vec<u8>> {
    let mut value = HEAD.to_vec();
    value.extend(bincode::encode_to_vec(
        (tally.count, tally.total),
        standard(),
    )?);
    Ok(value)
}

/// Restores: the app's id goes with the changelog, so every run has the same.
pub(crate) fn restore_command(stage: &Stage) -> Result<Command> {
    let mut command = command(stage, "account", &[])?;
    command
        .env("BENCH_APP", restored_app(&stage.input))
        .env("BENCH_INPUT", restored_input(&stage.input));
    Ok(command)
}

/// Its input, which is empty.
pub(crate) fn restored_input(changelog: &str) -> String {
    format!("{changelog}-input")
}

/// The app whose changelog is restored.
pub(crate) fn restored_app(changelog: &str) -> String {
    format!("{changelog}-app")
}

/// Whether the stores hold every key.
pub(crate) fn check_restored(stage: &Stage, keys: u64) -> Result<()> {
    let app = restored_app(&stage.input);
    let stores = tanist::store::RocksStores::open(&stage.dir, &app, &Default::default())?;
    let prefix = table_prefix("order_count");
    let group = restored_input(&stage.input);
    let group = group
        .strip_prefix(&format!("{app}-"))
        .unwrap_or(&group)
        .to_owned();
    let mut found = std::collections::BTreeMap::new();
    for partition in 0..PARTITIONS {
        let store = stores.open(&ShardId::new(group.as_str(), partition))?;
        let page = store.page(&KeyRange::prefix(&prefix), Order::Ascending, usize::MAX)?;
        for (key, value) in page {
            found.insert(
                String::from_utf8(key[prefix.len()..].to_vec())?,
                decode_tally(&value)?,
            );
        }
    }
    for (key, expected) in (0..keys).map(changelog_record) {
        if found.get(&key) != Some(&expected) {
            return Err(format!(
                "{key} was restored as {:?}, {expected:?} is right",
                found.get(&key)
            )
            .into());
        }
    }
    if found.len() as u64 != keys {
        return Err(format!("{} keys were restored, {keys} is right", found.len()).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_is_read_as_it_is_stored() {
        let tally = Tally {
            count: 300,
            total: 12.25,
        };
        let value = encode_tally(tally).expect("plain values can be written");
        assert_eq!(
            decode(b"a1", &value).expect("as written"),
            Some(("a1".to_owned(), tally))
        );
        assert_eq!(decode(INPUTS_KEY, b"{}").expect("no account's"), None);
        assert!(decode(b"a1", b"\x02\x01").is_err());
    }
}
