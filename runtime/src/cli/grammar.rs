//! What can be typed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand};

use super::{broker, chaos, get, order, scan, send, status, topology, up, worker};
use crate::app::{App, AppCommand};
use crate::error::exit_codes;
use crate::settings::{KAFKA_PREFIX, ROWS, Row};

/// The commands that every app has.
#[derive(Subcommand)]
pub(super) enum Builtin {
    /// Run a node of the app
    #[command(after_help = worker::EXAMPLES)]
    Worker(worker::WorkerArgs),
    /// Run a broker that speaks Kafka's protocol, in memory: for development and tests only
    #[command(after_help = broker::EXAMPLES)]
    Broker(broker::BrokerArgs),
    /// Send records to a topic
    #[command(after_help = send::EXAMPLES)]
    Send(send::SendArgs),
    /// Show the value of a key of a table
    #[command(after_help = get::EXAMPLES)]
    Get(get::GetArgs),
    /// Show entries of a table, in the order of their keys
    #[command(after_help = scan::EXAMPLES)]
    Scan(scan::ScanArgs),
    /// Show how the nodes are: shards, roles, positions, lag, rates
    #[command(after_help = status::EXAMPLES)]
    Status(status::StatusArgs),
    /// Show the app's agents, topics and tables
    #[command(after_help = topology::EXAMPLES)]
    Topology(topology::TopologyArgs),
    /// Kill a node of the local cluster (SIGKILL)
    #[command(after_help = order::EXAMPLES)]
    Kill(order::NodeArgs),
    /// Have a node of the local cluster stand still (SIGSTOP)
    #[command(after_help = order::EXAMPLES)]
    Freeze(order::NodeArgs),
    /// Let a node go on that was frozen
    #[command(after_help = order::EXAMPLES)]
    Thaw(order::NodeArgs),
    /// Stop a node of the local cluster in an orderly way
    #[command(after_help = order::EXAMPLES)]
    Stop(order::NodeArgs),
    /// Start a node again that has ended
    #[command(after_help = order::EXAMPLES)]
    Start(order::NodeArgs),
    /// Start one more node in the local cluster
    #[command(after_help = order::EXAMPLES)]
    Add,
}

/// Flags of all commands.
#[derive(Args)]
pub(super) struct Global {
    /// Answer as JSON, one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Read settings from this file (TOML) [default: tanist.toml, if it exists] [env: TANIST_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = SETTINGS)]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) settings: SettingFlags,
}

/// Settings that are given as flags: names and values.
pub(super) struct SettingFlags(pub(super) Vec<(String, String)>);

/// The command that has the arguments of the generator, too, if there is one.
pub(super) const UP: &str = "up";
/// The command of apps that have a generator and a reader that judges them.
pub(super) const CHAOS: &str = "chaos";

/// The flag for properties of the Kafka client.
const KAFKA: &str = "kafka";
const SETTINGS: &str = "Settings (also in tanist.toml, and as TANIST_... in the environment)";

/// The whole grammar of an app's command line.
pub(super) fn grammar(app: &App, own: &[AppCommand], program: Option<&OsString>) -> Command {
    let program = program.and_then(|program| Path::new(program).file_name()?.to_str());
    let mut command = Command::new("app")
        .bin_name(program.unwrap_or(app.id()).to_owned())
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true);
    command = Global::augment_args(Builtin::augment_subcommands(command))
        .about(format!("The stream processing app `{}`", app.id()))
        .after_help(exit_codes());
    let mut local = up::UpArgs::augment_args(Command::new(UP))
        .about("Run a local cluster: broker, nodes and, if the app has one, its generator")
        .after_help(up::EXAMPLES);
    for own in own {
        command = command.subcommand((own.augment)(Command::new(own.name)).about(own.about));
        if own.is_generator {
            local = (own.augment)(local);
            if app.judge.is_some() {
                let chaos = (own.augment)(chaos::ChaosArgs::augment_args(Command::new(CHAOS)));
                let chaos = chaos::with_seed(chaos);
                command = command.subcommand(
                    chaos
                        .about("Do bad things to a local cluster under load, and judge what it has written")
                        .after_help(chaos::EXAMPLES),
                );
            }
        }
    }
    command = command.subcommand(local);
    // Before they are handed down, so that they have the settings in their own way.
    let own = own.iter().map(|own| (own.name, Taker::Client));
    let clients = CLIENTS.map(|name| (name, Taker::Client)).into_iter();
    let askers = ASKERS.map(|name| (name, Taker::Asker)).into_iter();
    let takers = clients
        .chain(own)
        .chain(askers)
        .chain([("broker", Taker::Broker)]);
    for (name, taker) in takers {
        command = command.mut_subcommand(name, |command| settings_of(command, taker));
    }
    command
}

/// Commands that ask a node, or an `up`.
const ASKERS: [&str; 9] = [
    "get", "scan", "status", "kill", "freeze", "thaw", "stop", "start", "add",
];
/// Commands that ask a Kafka broker, beside those of the app's own.
const CLIENTS: [&str; 2] = ["send", "topology"];

/// Whose settings a command takes. All take all of them, so that the environment and the file of a node do for each; but the
/// help shows those that matter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taker {
    /// It runs nodes.
    Node,
    /// It sends to the broker, or asks it: of these, or of the node that runs here.
    Client,
    /// It finds a node, or an `up`, by these.
    Asker,
    /// It is a broker itself.
    Broker,
}

impl Taker {
    fn shows(self, flag: &str) -> bool {
        match self {
            Self::Node => true,
            Self::Client => [
                "broker",
                "broker-timeout",
                "data-dir",
                "max-record-bytes",
                "log",
                KAFKA,
            ]
            .contains(&flag),
            Self::Asker => ["data-dir", "http"].contains(&flag),
            Self::Broker => flag == "log",
        }
    }

    fn help(self, row: &Row) -> &'static str {
        match (self, row.flag) {
            (Self::Asker, "data-dir") => {
                "The data directory of whom to ask [default: .tanist/{app id}]"
            }
            (Self::Asker, "http") => {
                "Where it answers [default: as a file in its data directory says]"
            }
            (Self::Client, "data-dir") => {
                "That of the node or the `up` whose broker it is, unless --broker names one [default: .tanist/{app id}]"
            }
            _ => row.help,
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Self::Node => SETTINGS,
            Self::Asker => "Whom to ask (all other settings are as for a node: `worker --help`)",
            Self::Client | Self::Broker => {
                "Settings (all others are as for a node: `worker --help`)"
            }
        }
    }
}

/// Adds the flags of all settings.
fn settings_of(command: Command, taker: Taker) -> Command {
    let flags = ROWS.iter().map(|row| {
        Arg::new(row.flag)
            .long(row.flag)
            .value_name(row.value)
            .help(taker.help(row))
            .hide_short_help(!taker.shows(row.flag) || taker == Taker::Node && !row.common)
            .hide_long_help(!taker.shows(row.flag))
            .global(true)
            .help_heading(taker.heading())
    });
    let kafka = Arg::new(KAFKA)
        .long(KAFKA)
        .value_name("NAME=VALUE")
        .help("A property of the Kafka client, by librdkafka's name; can be repeated")
        .hide_short_help(true)
        .hide_long_help(!taker.shows(KAFKA))
        .action(ArgAction::Append)
        .global(true)
        .help_heading(taker.heading());
    command.args(flags).arg(kafka)
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        settings_of(command, Taker::Node)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut entries = Vec::new();
        for row in ROWS {
            if let Some(value) = matches.get_one::<String>(row.flag) {
                entries.push((row.key(), value.clone()));
            }
        }
        for property in matches.get_many::<String>(KAFKA).into_iter().flatten() {
            let Some((name, value)) = property.split_once('=') else {
                let message = format!("--kafka {property}: give NAME=VALUE\n");
                return Err(clap::Error::raw(ErrorKind::ValueValidation, message));
            };
            entries.push((format!("{KAFKA_PREFIX}{name}"), value.to_owned()));
        }
        Ok(Self(entries))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
