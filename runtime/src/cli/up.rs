//! `up`: a local cluster: broker, nodes and generator, and what happens there.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{ErrorKind, IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{ArgMatches, Args, FromArgMatches};
use serde::Serialize;
use tanist_broker::{Config, EmbeddedBroker};
use tanist_cluster::topology::Topology;

use super::Session;
use super::course::Course;
use super::launch::cannot_listen;
use super::load::Load;
use super::output::Output;
use crate::app::{App, AppCommand};
use crate::error::{Error, Result};
use crate::http::{AddressFile, LocalApi, Server};
use crate::settings::{KAFKA_PREFIX, Settings};
use crate::store::DataDir;
use crate::up::{
    Doors, Event, Face, Host, LocalBroker, LocalCluster, NodeLaunch, Order, View, doors,
    time_of_day,
};

pub(super) const EXAMPLES: &str = "\
Needs nothing: without --broker it brings its own, in memory, and what it held is gone in the end. Nodes are processes:
kill, freeze, stop, start and add them by keys, or from another terminal (`kill n2`); `get`, `scan` and `status` ask
them there, too. A node that ends by itself is shown with the last lines of its log, and stays down until it is started.
`processed` counts a record once for each step: behind `group_by`, it counts again.

Examples:
  up
  up --nodes 5 --seconds 30
  up --broker localhost:9092 --data-dir /tmp/orders
  up --headless                    events as lines; with --json as JSON";

/// Where nodes have their data while the broker is one that forgets everything when it ends.
const EMBEDDED: &str = "embedded";
/// Settings that each node is given a value of its own for.
const OWN_SETTINGS: [&str; 4] = ["broker", "data_dir", "http", "node"];

#[derive(Args)]
pub(super) struct UpArgs {
    /// How many nodes to start
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    nodes: u32,
    /// End after so many seconds [default: go on until Ctrl-C]
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Show what happens as lines, also in a terminal
    #[arg(long)]
    pub(super) headless: bool,
}

impl UpArgs {
    /// Whether it takes the terminal over.
    pub(super) fn has_view(&self, output: Output) -> bool {
        !self.headless && output.is_terminal() && stdin().is_terminal()
    }
}

pub(super) async fn run(
    session: Session,
    generator: Option<AppCommand>,
    matches: &ArgMatches,
) -> Result<()> {
    let args =
        UpArgs::from_arg_matches(matches).map_err(|error| Error::Usage(error.to_string()))?;
    let (output, wish) = (session.output, session.wish.clone());
    let has_view = args.has_view(output);
    let local = Local::open(session, generator, matches, args.nodes, has_view)?;
    let summary = local.course.run(args.seconds, wish).await?;
    local.server.stop().await;
    output.answer(&summary, || summary.to_string())?;
    summary.verdict()
}

/// A local cluster whose first nodes are starting, and all that is around it.
pub(super) struct Local {
    pub(super) course: Course,
    pub(super) server: Server,
    /// How one gives it orders, and where its nodes answer.
    pub(super) doors: Doors,
    /// The broker's addresses.
    pub(super) broker: String,
    /// Whether the broker is in this process.
    pub(super) is_embedded: bool,
    /// Where its nodes keep their tables, each in a folder of its name.
    pub(super) dir: PathBuf,
    /// What the app has declared.
    pub(super) topology: Topology,
    _file: AddressFile,
    /// Nobody else has this directory.
    _held: DataDir,
}

impl Local {
    pub(super) fn open(
        session: Session,
        generator: Option<AppCommand>,
        matches: &ArgMatches,
        nodes: u32,
        has_view: bool,
    ) -> Result<Self> {
        let Session {
            app,
            mut settings,
            output,
            flags,
            config,
            ..
        } = session;
        let topology = app.topology(&BTreeMap::new())?.shared;
        let held = DataDir::hold(&settings.data_dir, app.id())?;
        let (doors, desk) = doors();
        let server = serve(app.id(), &settings, doors.clone())?;
        let file = AddressFile::write(&settings.data_dir, server.address())?;

        let (broker, dir) = broker(&settings)?;
        let is_embedded = matches!(broker, LocalBroker::Embedded { .. });
        settings.broker = broker.address();
        let place = Place::of(&app, &broker, &server, &dir);
        let launch = NodeLaunch {
            program: std::env::current_exe()?,
            dir: dir.clone(),
            flags: node_flags(&flags, config, &settings, nodes),
        };
        let cluster = LocalCluster::new(launch, broker)?;
        let face = match has_view {
            true => Face::terminal(place.to_string())?,
            false => lines(output, &place)?,
        };
        let shards = is_embedded.then(|| topology.shards()).into_iter().flatten();
        let inputs = topology.groups.values().map(|group| group.topics.len());
        let view = View::new(shards, inputs.sum());
        let mut host = Host::new(app.id(), cluster, view, face, desk);
        for _ in 0..nodes {
            host.carry_out(&Order::Add).map_err(Error::new)?;
        }
        let broker = settings.broker.clone();
        let load = generator.map(|command| Load::start(command, matches, app, &settings));
        if let Some(load) = &load {
            host.show_sent(load.counter());
        }
        Ok(Self {
            course: Course::new(host, load, settings),
            server,
            doors,
            broker,
            is_embedded,
            dir,
            topology,
            _file: file,
            _held: held,
        })
    }
}

/// Opens the doors for orders and questions of other terminals.
fn serve(app: &str, settings: &Settings, doors: Doors) -> Result<Server> {
    if !settings.http.ip().is_loopback() || settings.advertised_http.is_some() {
        return Err(Error::Usage(
            "a local cluster takes orders, and whoever reaches it may give them: leave `advertised_http` out, and give \
             `http` an address of this machine alone, as in `127.0.0.1:8080`; nodes on several machines are started one \
             by one, with `worker`"
                .to_owned(),
        ));
    }
    let api = LocalApi {
        app: app.to_owned(),
        doors,
    };
    let listen = settings.http;
    Server::start_local(listen, Arc::new(api))
        .map_err(|error| cannot_listen(listen, &error, "--http"))
}

/// The broker, and the directory of the nodes.
fn broker(settings: &Settings) -> Result<(LocalBroker, PathBuf)> {
    if settings.is_given("broker") {
        let broker = LocalBroker::At(settings.broker.clone());
        return Ok((broker, settings.data_dir.clone()));
    }
    let broker = EmbeddedBroker::start(Config::default()).map_err(Error::new)?;
    let dir = settings.data_dir.join(EMBEDDED);
    // What is there belongs to a broker that is gone, with all that could be read from it.
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::Failed(format!(
            "cannot clear {}: {error}",
            dir.display()
        ))),
        _ => Ok((LocalBroker::embedded(broker), dir)),
    }
}

/// What every node is given beside what it is given of its own.
fn node_flags(
    flags: &[(String, String)],
    config: Option<PathBuf>,
    settings: &Settings,
    nodes: u32,
) -> Vec<OsString> {
    let mut all = Vec::new();
    for (key, value) in flags {
        if let Some(property) = key.strip_prefix(KAFKA_PREFIX) {
            all.extend(["--kafka".into(), format!("{property}={value}").into()]);
        } else if !OWN_SETTINGS.contains(&&**key) {
            all.extend([format!("--{}", key.replace('_', "-")).into(), value.into()]);
        }
    }
    if let Some(config) = config {
        all.extend(["--config".into(), config.into()]);
    }
    if !settings.is_given("workers") {
        // They share this machine.
        let workers = (settings.workers / nodes).max(1);
        all.extend(["--workers".into(), workers.to_string().into()]);
    }
    all
}

/// Shows what happens as lines.
fn lines(output: Output, place: &Place) -> Result<Face> {
    output.answer(place, || place.to_string())?;
    Ok(Face::Lines(Box::new(move |event: &Event| {
        if event.is_detail() && !output.is_json() {
            return Ok(());
        }
        output.answer(event, || format!("{} {event}", time_of_day(event.at_ms)))
    })))
}

/// Where everything is.
#[derive(Serialize)]
struct Place {
    app: String,
    broker: String,
    embedded: bool,
    http: String,
    dir: PathBuf,
}

impl Place {
    fn of(app: &App, broker: &LocalBroker, server: &Server, dir: &Path) -> Self {
        Self {
            app: app.id().to_owned(),
            broker: broker.address(),
            embedded: matches!(broker, LocalBroker::Embedded { .. }),
            http: format!("http://{}", server.address()),
            dir: dir.to_owned(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            app,
            broker,
            http,
            dir,
            ..
        } = self;
        let memory = if self.embedded { " (in memory)" } else { "" };
        write!(
            f,
            "{app}: broker {broker}{memory}, {http}, data and logs in {}",
            dir.display()
        )
    }
}
