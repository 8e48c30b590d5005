//! The benchmark `orders-count`: counts per account, exactly once, keyed and with a repartition topic.

use std::collections::BTreeMap;
use std::process::Command;

use clap::{Args, ValueEnum};
use rdkafka::Message;
use tanist_tests::raw::RawClient;
use tanist_tests::reader::read_committed;

use crate::Result;
use crate::contest::{Contest, Contestant, Stage};
use crate::kafka::{PARTITIONS, PATIENCE, changelog};
use crate::load::{self, KEYED, Keys, UNKEYED};
use crate::orders::{GeneratedOrder, Tally};
use crate::server::{Common, Ground};
use crate::tanist_contestant;

/// How to measure.
#[derive(Args)]
pub(crate) struct Settings {
    /// Number of orders
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
    #[command(flatten)]
    common: Common,
    /// Only this input
    #[arg(long)]
    only: Option<Input>,
}

/// How the orders lie in the input topic.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Input {
    /// Under the key that is counted by
    Keyed,
    /// Under another: a repartition topic is needed
    GroupBy,
}

impl Input {
    const ALL: [Input; 2] = [Input::Keyed, Input::GroupBy];

    fn topic(self) -> (&'static str, Keys) {
        match self {
            Input::Keyed => (KEYED, Keys::Account),
            Input::GroupBy => (UNKEYED, Keys::None),
        }
    }

    /// The first is the one that the others are compared with.
    fn contestants(self) -> &'static [Contestant] {
        match self {
            Input::Keyed => &[
                Contestant {
                    name: "loop keyed",
                    command: |stage| loop_command("loop-keyed", stage),
                    check: check_loop,
                },
                Contestant {
                    name: "tanist keyed",
                    command: |stage| tanist_contestant::command(stage, "account", &[]),
                    check: check_tanist,
                },
                Contestant {
                    name: "tanist keyed at_least_once",
                    command: |stage| {
                        let guarantee = ["--guarantee", "at_least_once"];
                        tanist_contestant::command(stage, "account", &guarantee)
                    },
                    check: check_tanist,
                },
            ],
            Input::GroupBy => &[
                Contestant {
                    name: "loop group_by",
                    command: |stage| loop_command("loop-group-by", stage),
                    check: check_loop,
                },
                Contestant {
                    name: "tanist group_by",
                    command: |stage| tanist_contestant::command(stage, "other", &[]),
                    check: check_tanist,
                },
            ],
        }
    }

    fn title(self, records: u64, runs: u32) -> String {
        let what = match self {
            Input::Keyed => "keyed input",
            Input::GroupBy => "with a repartition topic",
        };
        format!("orders-count, {what}, {records} orders, exactly once, runs of each: {runs}")
    }
}

pub(crate) fn run(settings: &Settings) -> Result<()> {
    let ground = settings.common.start()?;
    Input::ALL
        .into_iter()
        .filter(|input| settings.only.is_none_or(|only| only == *input))
        .try_for_each(|input| measure(&ground, input, settings.records))
}

/// Measures both inputs.
pub(crate) fn run_all(ground: &Ground, records: u64) -> Result<()> {
    Input::ALL
        .into_iter()
        .try_for_each(|input| measure(ground, input, records))
}

fn measure(ground: &Ground, input: Input, records: u64) -> Result<()> {
    let (topic, keys) = input.topic();
    let topic = format!("{topic}-{}", std::process::id());
    eprintln!("writing {records} orders to {topic}");
    load::orders(ground.server.address(), &topic, keys, records)?;
    let contest = Contest {
        title: input.title(records, ground.runs),
        unit: "record",
        count: records,
        contestants: input.contestants(),
        runs: ground.runs,
    };
    println!("{}", contest.run(ground, &topic)?);
    Ok(())
}

/// This program again, as one of the loops.
pub(crate) fn loop_command(name: &str, stage: &Stage) -> Result<Command> {
    RawClient::connect(&stage.broker).create_topic(
        &changelog(&stage.app),
        PARTITIONS,
        &[("cleanup.policy", "compact")],
    );
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(name).args([
        "--broker",
        &stage.broker,
        "--input",
        &stage.input,
        "--app",
        &stage.app,
    ]);
    command.arg("--dir").arg(&stage.dir);
    Ok(command)
}

/// Reads a record of a changelog; none, when it belongs to no account.
type Decode = fn(key: &[u8], value: &[u8]) -> Result<Option<(String, Tally)>>;

fn check_loop(stage: &Stage, records: u64) -> Result<()> {
    check_changelog(stage, records, |key, value| {
        Ok(Some((
            String::from_utf8(key.to_vec())?,
            Tally::decode(value)?,
        )))
    })
}

fn check_tanist(stage: &Stage, records: u64) -> Result<()> {
    check_changelog(stage, records, tanist_contestant::decode)
}

/// Whether the changelog, as committed, holds the right tally of every account.
fn check_changelog(stage: &Stage, records: u64, decode: Decode) -> Result<()> {
    let mut found = BTreeMap::new();
    let mut undecodable = None;
    read_committed(
        &stage.broker,
        &changelog(&stage.app),
        PATIENCE,
        |record| match decode(
            record.key().unwrap_or_default(),
            record.payload().unwrap_or_default(),
        ) {
            Ok(tally) => found.extend(tally),
            Err(error) => undecodable = Some(error),
        },
    )?;
    undecodable.map_or(Ok(()), Err)?;
    compare(&found, &expected(records))
}

fn expected(records: u64) -> BTreeMap<String, Tally> {
    let mut expected: BTreeMap<u64, Tally> = BTreeMap::new();
    for order in (0..records).map(GeneratedOrder::new) {
        expected
            .entry(order.account)
            .or_default()
            .add(order.value());
    }
    expected
        .into_iter()
        .map(|(account, tally)| (format!("a{account}"), tally))
        .collect()
}

fn compare(found: &BTreeMap<String, Tally>, expected: &BTreeMap<String, Tally>) -> Result<()> {
    let wrong = expected
        .iter()
        .find(|(account, tally)| found.get(*account) != Some(*tally));
    if let Some((account, tally)) = wrong {
        return Err(format!(
            "miscounted: {account} has {:?}, {tally:?} is right",
            found.get(account)
        )
        .into());
    }
    if found.len() != expected.len() {
        let strange = found.len() - expected.len();
        return Err(format!("{strange} accounts that nobody ordered for").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_miscounted_account_fails_a_contestant() {
        let right = expected(5000);
        assert_eq!(right.values().map(|tally| tally.count).sum::<u64>(), 5000);
        assert!(compare(&right, &right).is_ok());
        let with = |change: fn(&mut BTreeMap<String, Tally>)| {
            let mut found = right.clone();
            change(&mut found);
            compare(&found, &right)
        };
        assert!(with(|found| found.values_mut().next().expect("not empty").count += 1).is_err());
        assert!(with(|found| found.values_mut().next().expect("not empty").total += 0.25).is_err());
        assert!(with(|found| _ = found.pop_first()).is_err());
        assert!(with(|found| _ = found.insert("b".into(), Tally::default())).is_err());
    }
}
