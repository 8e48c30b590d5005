//! What must be true of a cluster that has come to rest, whatever was done to it.

use std::collections::{BTreeMap, BTreeSet};

use tanist_actors::shard::ShardState;
use tanist_actors::table::{INPUTS_KEY, Inputs};
use tanist_broker::TopicPartition;
use tanist_cluster::{NodeName, ShardId};

use super::app::{COUNTS, Counted, PARTITIONS};
use super::schedule::Schedule;
use super::world::World;
use crate::testing::reader::Tables;
use crate::testing::{TestTable, TestTopic};

/// Checks all of it.
pub(super) fn check(world: &mut World, schedule: &Schedule) -> Result<(), String> {
    nothing_is_broken(world)?;
    same_view(world)?;
    for (which, (table, topic)) in COUNTS.into_iter().enumerate() {
        counts(world, which, topic, schedule.shape.lanes == 1)?;
        commits(world, table)?;
        table_is_everywhere(world, which, table, schedule.shape.standbys as usize)?;
    }
    Ok(())
}

fn that(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(otherwise()),
    }
}

fn nothing_is_broken(world: &World) -> Result<(), String> {
    for node in world.driver.nodes() {
        for status in node.board.shards() {
            let is_broken = matches!(status.state, ShardState::Broken { .. });
            that(!is_broken, || {
                format!("{} on {}: {}", status.shard, node.name, status.state)
            })?;
        }
    }
    Ok(())
}

/// Whoever has read the same control log has the same view (S9).
fn same_view(world: &World) -> Result<(), String> {
    let views = world.driver.nodes().iter().map(|node| node.board.view());
    let views: Vec<_> = views.collect();
    for pair in views.windows(2) {
        let differ = pair[0].read_to() == pair[1].read_to() && pair[0] != pair[1];
        that(!differ, || "two views of one control log differ".to_owned())?;
    }
    Ok(())
}

/// Of each key that was sent the counts 1, 2, 3 and so on to the last, in order; no instance of an agent writes after
/// one that was made later (S1, S2).
fn counts(world: &mut World, which: usize, topic: &str, writers: bool) -> Result<(), String> {
    let codec = world.driver.app().topic_codec(topic);
    let records = TestTopic::new(&mut world.driver, topic, codec).records::<String, Counted>();
    let mut last: BTreeMap<String, Counted> = BTreeMap::new();
    for (key, counted) in records {
        let before = last.get(&key);
        let (count, writer) = before.map_or((0, 0), |it| (it.count, it.writer));
        that(counted.count == count + 1, || {
            format!("{topic}: {key} goes from {count} to {counted:?}")
        })?;
        that(!writers || counted.writer >= writer, || {
            format!("{topic}: {key} is counted by {counted:?} after writer {writer}")
        })?;
        last.insert(key, counted);
    }
    let counted: BTreeMap<String, u64> = last.into_iter().map(|(k, it)| (k, it.count)).collect();
    that(counted == world.sent[which], || {
        format!("{topic}: {counted:?} of {:?}", world.sent[which])
    })
}

/// Each commit of a shard follows upon the one before.
fn commits(world: &World, table: &str) -> Result<(), String> {
    let changelog = format!("{}-{table}-changelog", world.driver.app().id());
    for partition in 0..PARTITIONS {
        let partition = TopicPartition::new(changelog.as_str(), partition);
        let mut last = 0;
        for record in world.driver.records(&partition, 0) {
            if record.key.as_deref() != Some(INPUTS_KEY) {
                continue;
            }
            let inputs = serde_json::from_slice(record.value.as_deref().unwrap_or_default());
            let Inputs { commit, .. } = inputs.map_err(|error| error.to_string())?;
            that(commit == last + 1, || {
                format!("{partition:?}: commit {commit} after {last}")
            })?;
            last = commit;
        }
    }
    Ok(())
}

/// Each shard of the table runs on one node, as many others as there should be have a copy, and all of them have what
/// was counted.
fn table_is_everywhere(
    world: &World,
    which: usize,
    table: &str,
    standbys: usize,
) -> Result<(), String> {
    let driver = &world.driver;
    let sent = &world.sent[which];
    let committed = TestTable::new(driver, table).entries::<String, u64>();
    that(
        committed.into_iter().collect::<BTreeMap<_, _>>() == *sent,
        || format!("the changelog of {table} has not what was sent"),
    )?;
    let tables = Tables::of(driver);
    let mut expected: BTreeMap<NodeName, BTreeMap<String, u64>> = BTreeMap::new();
    let (group, _) = tables.find(table);
    let (view, wanted) = (driver.view(), standbys.min(driver.nodes().len() - 1));
    for partition in 0..PARTITIONS {
        let shard = ShardId::new(group.name.clone(), partition);
        let roles = view.plan().and_then(|plan| plan.get(&shard));
        let roles = roles.ok_or_else(|| format!("shard {shard} has no owner"))?;
        that(roles.standbys.len() == wanted, || {
            format!(
                "shard {shard} has {} standbys, not {wanted}",
                roles.standbys.len()
            )
        })?;
        for member in roles.standbys.keys().chain([&roles.active]) {
            let mut nodes = driver.nodes().iter();
            let node = nodes.find(|node| node.member() == Some(*member));
            let node =
                node.ok_or_else(|| format!("{shard} is at member {member}, who is not there"))?;
            let status = node.board.shards();
            let status = status.iter().find(|it| it.shard == shard);
            let is_sound = matches!(
                status.map(|it| &it.state),
                Some(ShardState::Running | ShardState::Standby)
            );
            that(is_sound, || format!("{shard} on {}: {status:?}", node.name))?;
            let of_shard = sent
                .iter()
                .filter(|(key, _)| tables.home(table, key) == shard);
            let of_node = expected.entry(node.name.clone()).or_default();
            of_node.extend(of_shard.map(|(key, count)| (key.clone(), *count)));
        }
    }
    let names: BTreeSet<NodeName> = driver.nodes().iter().map(|it| it.name.clone()).collect();
    for node in names {
        let held = TestTable::new(driver, table)
            .on(node.clone())
            .entries::<String, u64>();
        let held: BTreeMap<String, u64> = held.into_iter().collect();
        let wanted = expected.remove(&node).unwrap_or_default();
        that(held == wanted, || {
            format!("{node} has {held:?} of table {table}, not {wanted:?}")
        })?;
    }
    Ok(())
}
