//! `chaos`: bad things are done to a local cluster under load, and an independent reader judges what it has written.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, ValueEnum, value_parser};
use serde::Serialize;
use serde_json::Value;
use tanist_actors::port::TokioClock;

use super::Session;
use super::ask::Asked;
use super::course::STOP_WITHIN;
use super::up::Local;
use crate::app::AppCommand;
use crate::chaos::{Judge, Judgement, Kind, Pauses, Player, Wanted, pauses, schedule};
use crate::error::{Error, Result};
use crate::http::{Page, key_text, patient};

pub(super) const EXAMPLES: &str = "\
Needs nothing: without --broker it brings its own, in memory. Ends with exit code 0 if the reader has found nothing
missing, doubled or out of order, the tables hold what they have to, and no shard was left without an owner.

Examples:
  chaos --events 50 --seed 7
  chaos --only kill,kill-director --rate 1600
  chaos --broker localhost:9092 --restart-broker './restart-my-kafka'";

/// How long the cluster may take to be whole again.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a node may take to say how it is.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Shorter gaps are not worth mentioning: a quiet shard commits as rarely.
const LEAST_GAP_MS: i64 = 60;
/// At most so many differences between a table and the judgement are shown.
const MAX_SHOWN: usize = 5;
/// The argument that decides what is done.
const SEED: &str = "seed";

#[derive(Args)]
pub(super) struct ChaosArgs {
    /// How many nodes there are
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=64))]
    nodes: u32,
    /// How many things to do
    #[arg(long, value_name = "N", default_value_t = 50)]
    events: usize,
    /// The pauses of the first so many are not measured: a broker that was just started is slow at what it does for the
    /// first time
    #[arg(long, value_name = "N", default_value_t = 0)]
    warm_up: usize,
    /// Do only these, separated by commas
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    only: Vec<Kind>,
    /// How to restart a broker that is not ours; without it, that is not done
    #[arg(long, value_name = "COMMAND")]
    restart_broker: Option<String>,
}

/// Adds `--seed`, which decides what is done, unless the generator has it: one seed for both.
pub(super) fn with_seed(command: Command) -> Command {
    if command.get_arguments().any(|arg| arg.get_id() == SEED) {
        return command;
    }
    let seed = Arg::new(SEED)
        .long(SEED)
        .value_name("S")
        .help("Decides what is done: the same seed, the same events")
        .default_value("1")
        .value_parser(value_parser!(u64));
    command.arg(seed)
}

pub(super) async fn run(
    session: Session,
    generator: AppCommand,
    matches: &ArgMatches,
) -> Result<()> {
    let args =
        ChaosArgs::from_arg_matches(matches).map_err(|error| Error::Usage(error.to_string()))?;
    let seed = matches.try_get_one::<u64>(SEED);
    let seed = seed.ok().flatten().copied().ok_or_else(|| {
        Error::Usage("the generator's --seed has to be a whole number (u64)".to_owned())
    })?;
    let judge = session.app.judge.unwrap_or_default();
    let (output, app) = (session.output, session.app.id().to_owned());
    let failure_timeout = session.settings.cluster.failure_timeout;
    let local = Local::open(session, Some(generator), matches, args.nodes, false)?;
    let judge = Judge::start(judge, &local.broker, LEAST_GAP_MS)?;
    let mut only = args.only;
    if only.is_empty() {
        only = Kind::value_variants().to_vec();
    }
    if !local.is_embedded && args.restart_broker.is_none() {
        only.retain(|kind| *kind != Kind::BrokerRestart);
    }
    let schedule = schedule(&Wanted {
        seed,
        events: args.events,
        only,
        failure_timeout,
    });
    let clock = TokioClock::system();
    let mut player = Player {
        app: app.clone(),
        agent: patient(ANSWER_WITHIN),
        topology: local.topology.clone(),
        doors: local.doors.clone(),
        dir: local.dir.clone(),
        restart_broker: args.restart_broker,
        nodes: (1..=args.nodes)
            .map(|n| format!("n{n}").as_str().into())
            .collect(),
        clock,
        patience: PATIENCE,
        warm_up: args.warm_up,
        happened: Vec::new(),
    };
    let mut course = local.course;
    let stuck = RefCell::new(None);
    let play = async {
        let played = player.play(&schedule, |number, event| {
            // Whoever does not read it does not stop what goes on.
            let _ = output.answer(event, || format!("event {number}: {}", event.kind));
        });
        *stuck.borrow_mut() = played.await.err();
    };
    let deserted = course.work(play).await?;
    let all_committed = course.drain(&clock).await?;
    let judgement = judge.judge().await?;
    let addresses = local.doors.nodes.borrow().clone();
    let tables = differences(&app, &addresses, &judgement).await?;
    let sent = course.sent();
    course.host.stop_all(STOP_WITHIN).await?;
    local.server.stop().await;
    let partitions = local.topology.groups.values().map(|group| group.partitions);
    let report = Report {
        seed,
        steps: player.happened.len(),
        pauses: pauses(
            &player.happened,
            &judgement.gaps,
            partitions.max().unwrap_or_default().cast_signed(),
            LEAST_GAP_MS,
        ),
        sent,
        inputs: judgement.inputs,
        found: judgement.text.clone(),
        faults: faults(&judgement, sent, all_committed, tables),
    };
    output.answer(&report, || report.to_string())?;
    if let Some(stuck) = stuck.into_inner() {
        return Err(Error::Failed(stuck.to_string()));
    }
    match deserted {
        Some(error) => Err(error),
        None if report.faults.is_empty() => Ok(()),
        None => Err(Error::Failed(format!(
            "not sound: {}",
            report.faults.join("; ")
        ))),
    }
}

fn faults(
    judgement: &Judgement,
    sent: u64,
    all_committed: Option<bool>,
    mut tables: Vec<String>,
) -> Vec<String> {
    let mut faults = Vec::new();
    if !judgement.sound {
        faults.push(judgement.text.clone());
    }
    if judgement.inputs != sent {
        faults.push(format!(
            "{sent} records were sent, and {} are accounted for",
            judgement.inputs
        ));
    }
    if all_committed != Some(true) {
        faults.push("not all that was sent was processed and committed in time".to_owned());
    }
    faults.append(&mut tables);
    faults
}

/// In what the tables, as each node answers for all of them, differ from what they have to hold.
async fn differences(
    app: &str,
    addresses: &[SocketAddr],
    judgement: &Judgement,
) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for (table, expected) in &judgement.tables {
        for address in addresses {
            let (app, name, address) = (app.to_owned(), table.clone(), *address);
            let read = tokio::task::spawn_blocking(move || read_table(&app, address, &name));
            let found = read.await.map_err(Error::new)??;
            faults.extend(differs(
                &format!("table {table} at {address}"),
                expected,
                &found,
            ));
        }
    }
    Ok(faults)
}

type Entries = BTreeMap<String, Value>;

fn differs(table: &str, expected: &Entries, found: &Entries) -> Vec<String> {
    let keys = expected.keys().chain(found.keys());
    let mut keys: Vec<&String> = keys
        .filter(|key| expected.get(*key) != found.get(*key))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let shown = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
    let mut faults: Vec<String> = keys
        .iter()
        .take(MAX_SHOWN)
        .map(|key| {
            format!(
                "{table} has {} for {key}, and has to have {}",
                shown(found.get(*key)),
                shown(expected.get(*key))
            )
        })
        .collect();
    if keys.len() > MAX_SHOWN {
        faults.push(format!(
            "and {} more keys of {table}",
            keys.len() - MAX_SHOWN
        ));
    }
    faults
}

fn read_table(app: &str, address: SocketAddr, table: &str) -> Result<Entries> {
    let asked = Asked::at(app.to_owned(), address);
    let (mut entries, mut after) = (Entries::new(), None);
    loop {
        let parameters: Vec<_> = after.into_iter().map(|after| ("after", after)).collect();
        let page: Page = asked.answer(&["tables", table], &parameters)?;
        let read = page.entries.into_iter();
        entries.extend(read.map(|entry| (key_text(&entry.key), entry.value)));
        after = page.after;
        if after.is_none() {
            return Ok(entries);
        }
    }
}

/// The last word.
#[derive(Serialize)]
struct Report {
    seed: u64,
    steps: usize,
    pauses: Pauses,
    /// Records that the generator has sent.
    sent: u64,
    /// Of which the reader has seen the effect.
    inputs: u64,
    found: String,
    faults: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.faults.is_empty() {
            true => "sound".to_owned(),
            false => format!("NOT SOUND: {}", self.faults.join("; ")),
        };
        write!(
            f,
            "{}\nseed {}: {} steps, {} records sent, {} accounted for; the reader: {}\n{verdict}",
            self.pauses, self.seed, self.steps, self.sent, self.inputs, self.found
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_table_lacks_has_beside_or_has_otherwise_is_a_fault() {
        let table = |entries: &[(&str, u64)]| -> Entries {
            let entries = entries.iter();
            entries
                .map(|(key, value)| ((*key).to_owned(), (*value).into()))
                .collect()
        };
        let expected = table(&[("a", 1), ("b", 2), ("c", 3)]);
        assert!(differs("t", &expected, &expected).is_empty());
        let faults = differs("t", &expected, &table(&[("a", 1), ("b", 1), ("d", 4)]));
        assert_eq!(
            faults,
            [
                "t has 1 for b, and has to have 2",
                "t has nothing for c, and has to have 3",
                "t has 4 for d, and has to have nothing",
            ]
        );
    }
}
