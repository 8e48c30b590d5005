//! What can be typed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand};

use super::{broker, chaos, get, order, scan, send, status, topology, up, worker};
use crate::app::{App, AppCommand};
use crate::error::exit_codes;
use crate::settings::{KAFKA_PREFIX, ROWS};

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

const WHOM: &str = "Whom to ask (all other settings are as for a node: `worker --help`)";
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
    for name in ASKERS {
        command = command.mut_subcommand(name, |asker| settings_of(asker, true));
    }
    command
}

/// Commands that ask a node, or an `up`, which they find by these settings.
const ASKERS: [&str; 9] = [
    "get", "scan", "status", "kill", "freeze", "thaw", "stop", "start", "add",
];
const ASKED_BY: [&str; 2] = ["data-dir", "http"];

/// Adds the flags of all settings. An asker takes them all, so that the environment and the file of a node do for it, too;
/// its help shows those that say whom to ask.
fn settings_of(command: Command, is_asker: bool) -> Command {
    let flags = ROWS.iter().map(|row| {
        let is_asked_by = ASKED_BY.contains(&row.flag);
        Arg::new(row.flag)
            .long(row.flag)
            .value_name(row.value)
            .help(match row.flag {
                "data-dir" if is_asker => {
                    "The data directory of whom to ask [default: .tanist/{app id}]"
                }
                "http" if is_asker => {
                    "Where it answers [default: as a file in its data directory says]"
                }
                _ => row.help,
            })
            .hide_short_help(!row.common && !is_asked_by)
            .hide_long_help(is_asker && !is_asked_by)
            .global(true)
            .help_heading(match is_asker {
                true => WHOM,
                false => SETTINGS,
            })
    });
    let kafka = Arg::new("kafka")
        .long("kafka")
        .value_name("NAME=VALUE")
        .help("A property of the Kafka client, by librdkafka's name; can be repeated")
        .hide_short_help(true)
        .hide_long_help(is_asker)
        .action(ArgAction::Append)
        .global(true)
        .help_heading(SETTINGS);
    command.args(flags).arg(kafka)
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        settings_of(command, false)
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
        for property in matches.get_many::<String>("kafka").into_iter().flatten() {
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
