//! The command line that every app has: [`App::main`].
//!
//! `grammar` says what can be typed, each command has a file of its own, `output` writes its answer, `launch` puts a
//! node together, `shell` gives it all a runtime.

mod ask;
mod broker;
mod chaos;
mod course;
mod encoder;
mod generate;
mod get;
mod grammar;
mod launch;
mod load;
mod logging;
mod order;
mod output;
mod overdue;
mod progress;
mod scan;
mod send;
mod shell;
mod signals;
mod status;
mod topology;
mod up;
mod worker;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process;

use clap::{ArgMatches, FromArgMatches};
use tokio::sync::watch;

use self::grammar::{Builtin, CHAOS, Global, UP, grammar};
use self::output::Output;
use self::signals::Say;
use self::up::UpArgs;
use crate::app::{App, AppCommand};
use crate::error::{Error, Result};
use crate::node::Wish;
use crate::settings::{CONFIG_VARIABLE, DEFAULT_FILE, Layer, Settings, Source};
use crate::up::Act;

/// What a command is given beside its arguments.
pub(crate) struct Session {
    app: App,
    settings: Settings,
    output: Output,
    /// Changes when somebody wants the command to end.
    wish: watch::Receiver<Wish>,
    /// The settings that were given as flags, and the file that was named: for nodes that it starts.
    flags: Vec<(String, String)>,
    config: Option<PathBuf>,
}

/// A command and its arguments.
enum Chosen {
    Builtin(Builtin),
    Own(AppCommand, ArgMatches),
    /// With the generator.
    Chaos(AppCommand, ArgMatches),
    /// With the generator, if there is one.
    Up(Option<AppCommand>, ArgMatches),
}

impl App {
    /// Does what the command line says: runs a node, sends, shows tables ... `--help` tells. To be the last line of
    /// `main`.
    ///
    /// Ends the process where something went wrong, with the exit codes that the help describes.
    pub fn main(self) -> Result<()> {
        let Err(error) = run(self, std::env::args_os().collect()) else {
            return Ok(());
        };
        Output::error(&error);
        process::exit(error.exit_code().into())
    }
}

fn run(mut app: App, args: Vec<OsString>) -> Result<()> {
    let commands = std::mem::take(&mut app.commands);
    let matches = grammar(&app, &commands, args.first()).get_matches_from(args);
    let global = Global::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let chosen = choose(&matches, commands);
    let (settings, passed_over) = settings(&app, &global)?;
    app.standbys = settings.standbys;
    let output = Output::new(global.json);
    let log = chosen
        .has_view(output)
        .then(|| settings.data_dir.join("up.log"));
    logging::start(&settings, chosen.is_service(), log.as_deref())?;
    for variable in passed_over {
        tracing::warn!(variable, "there is no setting of this name");
    }
    let say = chosen.says(output);
    shell::run(async move {
        let wish = match say {
            Some(say) => signals::listen(say)?,
            // What nobody hears ends the process, as it is.
            None => watch::channel(Wish::Run).1,
        };
        let session = Session {
            app,
            settings,
            output,
            wish,
            flags: global.settings.0,
            config: global.config,
        };
        let done = match chosen {
            Chosen::Builtin(Builtin::Worker(args)) => worker::run(session, args).await,
            Chosen::Builtin(Builtin::Broker(args)) => broker::run(session, args).await,
            Chosen::Builtin(Builtin::Send(args)) => send::run(session, args).await,
            Chosen::Builtin(Builtin::Get(args)) => get::run(session, args),
            Chosen::Builtin(Builtin::Scan(args)) => scan::run(session, args),
            Chosen::Builtin(Builtin::Status(args)) => status::run(session, args),
            Chosen::Builtin(Builtin::Topology(args)) => topology::run(session, args).await,
            Chosen::Builtin(Builtin::Kill(args)) => order::run(session, Act::Kill, args),
            Chosen::Builtin(Builtin::Freeze(args)) => order::run(session, Act::Freeze, args),
            Chosen::Builtin(Builtin::Thaw(args)) => order::run(session, Act::Thaw, args),
            Chosen::Builtin(Builtin::Stop(args)) => order::run(session, Act::Stop, args),
            Chosen::Builtin(Builtin::Start(args)) => order::run(session, Act::Start, args),
            Chosen::Builtin(Builtin::Add) => order::add(session),
            Chosen::Up(generator, matches) => up::run(session, generator, &matches).await,
            Chosen::Chaos(generator, matches) => chaos::run(session, generator, &matches).await,
            Chosen::Own(command, matches) => generate::run(session, &command, &matches).await,
        };
        if let Err(error @ Error::Interrupted { .. }) = &done {
            // Without waiting for what was begun on other threads.
            Output::error(error);
            process::exit(error.exit_code().into());
        }
        done
    })
}

fn choose(matches: &ArgMatches, commands: Vec<AppCommand>) -> Chosen {
    let mut own = commands.into_iter();
    match matches.subcommand() {
        Some((CHAOS, matches)) => {
            if let Some(generator) = own.find(|command| command.is_generator) {
                return Chosen::Chaos(generator, matches.clone());
            }
        }
        Some((UP, matches)) => {
            return Chosen::Up(own.find(|command| command.is_generator), matches.clone());
        }
        Some((name, matches)) => {
            if let Some(command) = own.find(|command| command.name == name) {
                return Chosen::Own(command, matches.clone());
            }
        }
        None => {}
    }
    Chosen::Builtin(Builtin::from_arg_matches(matches).unwrap_or_else(|error| error.exit()))
}

impl Chosen {
    /// True of commands that go on until they are stopped: their log says what happens.
    fn is_service(&self) -> bool {
        matches!(self, Self::Builtin(Builtin::Worker(_) | Builtin::Broker(_)))
    }

    /// What is said at Ctrl-C, and where; none of commands that the first one ends at once.
    fn says(&self, output: Output) -> Option<Say> {
        Some(match self {
            Self::Builtin(Builtin::Worker(_)) => Say {
                first: "stopping: finishing what is in hand; once more ends the process at once",
                in_log: true,
                second: "nothing is lost; what was not committed is processed again, by other nodes or at the next start",
            },
            Self::Builtin(Builtin::Broker(_)) => Say {
                first: "stopping",
                in_log: true,
                second: "what it held in memory is gone, as always",
            },
            Self::Builtin(Builtin::Send(_)) | Self::Own(..) => Say {
                first: "stopping: waiting until what is on its way is acknowledged; once more ends it at once",
                in_log: false,
                second: "of records that were on their way it is not known whether they have arrived",
            },
            Self::Up(..) => Say {
                first: course::STOPPING,
                in_log: self.has_view(output),
                second: course::ENDED_AT_ONCE,
            },
            Self::Builtin(_) | Self::Chaos(..) => return None,
        })
    }

    /// Whether it takes the terminal over, where a log would disturb.
    fn has_view(&self, output: Output) -> bool {
        let Self::Up(_, matches) = self else {
            return false;
        };
        UpArgs::from_arg_matches(matches).is_ok_and(|args| args.has_view(output))
    }
}

/// By the program, the file, the environment and the flags; and the variables that were passed over.
fn settings(app: &App, global: &Global) -> Result<(Settings, Vec<String>)> {
    let mut layers = vec![Layer::new(Source::App, app.settings.clone())];
    let named = global.config.clone();
    let named = named.or_else(|| std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from));
    let found = || Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists());
    layers.extend(named.or_else(found).map(|path| Layer::file(&path)));
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let (environment, passed_over) = Layer::environment(variables);
    layers.push(environment);
    layers.push(Layer::new(Source::Flag, global.settings.0.clone()));
    Ok((Settings::resolve(app.id(), &layers)?, passed_over))
}
