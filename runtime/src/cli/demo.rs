//! `demo`: broker, node and generator in one process, and what happens there in the terminal.

use std::fmt::{self, Write};
use std::time::Duration;

use clap::{ArgMatches, Args, FromArgMatches};
use futures_util::future::{Either, select};
use serde::Serialize;
use tanist_broker::{Config, EmbeddedBroker};
use tanist_cluster::NodeName;
use tokio::sync::watch;

use super::Session;
use super::launch::{Launch, connect, stopped};
use super::output::Output;
use crate::app::AppCommand;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::http::{Api, Entry, NodeStatus, Range, key_text};
use crate::node::{NodeExit, Wish};
use crate::up::thousands;

pub(super) const EXAMPLES: &str = "\
Needs nothing: it brings its own broker, in memory, and a data directory that goes with it. Ctrl-C stops the generator,
lets the node process what is left, commit and stop, and says how it went.

Examples:
  demo
  demo --rate 5000 --accounts 1000
  demo --seconds 10                ends by itself";

/// How often it is shown what happens.
const PERIOD: Duration = Duration::from_secs(1);
/// Entries of a table that are shown.
const ENTRIES: usize = 5;

#[derive(Args)]
pub(super) struct DemoArgs {
    /// End after so many seconds [default: go on until Ctrl-C]
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
}

pub(super) async fn run(
    session: Session,
    generator: &AppCommand,
    matches: &ArgMatches,
) -> Result<()> {
    let args =
        DemoArgs::from_arg_matches(matches).map_err(|error| Error::Usage(error.to_string()))?;
    let broker = EmbeddedBroker::start(Config::default()).map_err(Error::new)?;
    let folder = tempfile::tempdir()?;
    let mut settings = session.settings;
    settings.broker = broker.address().to_string();
    settings.data_dir = folder.path().to_owned();
    settings.node = NodeName::from("demo");
    let (stop_generator, wish) = watch::channel(Wish::Run);
    let client = Client::open(&connect(&settings)?, &session.app, wish).await?;
    let sent = client.acknowledged();
    let generating =
        (generator.run)(matches, client).map_err(|error| Error::Usage(error.to_string()))?;
    let launch = Launch::new(session.app, &settings)?;
    let scene = Scene {
        api: launch.api().clone(),
        sent: Box::new(sent),
        output: session.output,
        broker: settings.broker.clone(),
        http: launch.address().to_string(),
    };
    let (stop_node, wish) = watch::channel(Wish::Run);
    let mut node = std::pin::pin!(launch.run(wish));
    let mut generating = std::pin::pin!(generating);
    let enough = async {
        tokio::select! {
            () = stopped(session.wish) => {}
            () = after(args.seconds, &scene) => {}
        }
    };
    let generated = tokio::select! {
        exit = &mut node => return scene.finish(exit?),
        generated = &mut generating => Some(generated),
        () = enough => None,
        error = scene.show() => return error,
    };
    // An error means that it has ended already.
    let _ = stop_generator.send(Wish::Stop);
    let drained = async {
        let generated = match generated {
            Some(generated) => generated,
            None => generating.await,
        };
        let _ = stop_node.send(Wish::StopWhenCaughtUp);
        generated
    };
    let exit = match select(std::pin::pin!(drained), node).await {
        Either::Left((generated, node)) => {
            generated?;
            node.await?
        }
        Either::Right((exit, _)) => exit?,
    };
    scene.finish(exit)
}

async fn after(seconds: Option<u64>, scene: &Scene) {
    match seconds {
        Some(seconds) => scene.api.clock.sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

/// What is shown, and where.
struct Scene {
    api: std::sync::Arc<Api>,
    sent: Box<dyn Fn() -> u64>,
    output: Output,
    broker: String,
    http: String,
}

/// What is shown at one time.
#[derive(Serialize)]
struct Frame {
    seconds: u64,
    sent: u64,
    sent_per_second: u64,
    #[serde(flatten)]
    node: NodeStatus,
    /// Some entries of the first table.
    table: Option<(String, Vec<Entry>)>,
}

impl Scene {
    /// Shows what happens, until that fails.
    async fn show(&self) -> Result<()> {
        let (mut before, mut lines) = (0, 0);
        let block = self.output.is_terminal();
        if !block && !self.output.is_json() {
            self.output.text(&self.headline())?;
        }
        loop {
            self.api.clock.sleep(PERIOD).await;
            let frame = self.frame(&mut before).await;
            if block {
                let text = format!("{}\n\n{frame}\n\n{}", self.headline(), self.hint(&frame));
                self.output.redraw(&text, &mut lines)?;
            } else {
                self.output.answer(&frame, || frame.line())?;
            }
        }
    }

    async fn frame(&self, before: &mut u64) -> Frame {
        let sent = (self.sent)();
        let sent_per_second = sent - std::mem::replace(before, sent);
        Frame {
            seconds: self.api.clock.elapsed().as_secs(),
            sent,
            sent_per_second,
            node: self.api.status().await,
            table: self.entries(),
        }
    }

    fn entries(&self) -> Option<(String, Vec<Entry>)> {
        let table = self.api.tables().ok()?.names().into_iter().next()?;
        let range = Range {
            limit: Some(ENTRIES),
            ..Range::default()
        };
        // While a shard is not there yet, nothing is shown.
        let page = self.api.scan(&table, &range).ok()?;
        Some((table, page.entries))
    }

    fn headline(&self) -> String {
        format!(
            "{}: broker {}, node http://{}; Ctrl-C ends it",
            self.api.app, self.broker, self.http
        )
    }

    fn hint(&self, frame: &Frame) -> String {
        let entry = frame.table.as_ref();
        let entry = entry.and_then(|(table, entries)| Some((table, &entries.first()?.key)));
        let ask = entry.map_or_else(
            || "status".to_owned(),
            |(table, key)| format!("get {table} {}", key_text(key)),
        );
        format!("Ask it from another terminal: {ask} --http {}", self.http)
    }

    /// The last word.
    fn finish(&self, exit: NodeExit) -> Result<()> {
        if !self.output.is_json() {
            self.output.text("")?;
        }
        super::worker::finish(self.output, &self.api, exit)?;
        let sent = (self.sent)();
        let json = serde_json::json!({ "sent": sent, "all_committed": true });
        self.output.answer(&json, || {
            format!(
                "All of the {} records that were sent are processed and committed.",
                thousands(sent)
            )
        })
    }
}

impl Frame {
    /// On one line.
    fn line(&self) -> String {
        let Self { node, .. } = self;
        let mut line = format!(
            "{} s: sent {}/s, processed {}/s, lag {}, {} commits/s of {} ms",
            self.seconds,
            thousands(self.sent_per_second),
            thousands(node.records_per_second as u64),
            lag(node),
            node.commits.per_second,
            node.commits.mean_ms,
        );
        for entry in self
            .table
            .iter()
            .flat_map(|(_, entries)| entries.iter().take(2))
        {
            // A String takes everything.
            let _ = write!(line, "; {} {}", key_text(&entry.key), entry.value);
        }
        line
    }
}

impl fmt::Display for Frame {
    /// As a block.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NodeStatus { commits, .. } = &self.node;
        let mut row = |name: &str, rate: String, all: u64, more: String| {
            writeln!(
                f,
                "  {name:<10} {rate:>9} a second {:>14} in all  {more}",
                thousands(all)
            )
        };
        row(
            "sent",
            thousands(self.sent_per_second),
            self.sent,
            String::new(),
        )?;
        let rate = thousands(self.node.records_per_second as u64);
        let steps = format!("lag {}", lag(&self.node));
        row("processed", rate, self.node.records, steps)?;
        let each = format!(
            "{} ms each, longest {} ms",
            commits.mean_ms, commits.longest_ms
        );
        row(
            "commits",
            commits.per_second.to_string(),
            commits.count,
            each,
        )?;
        if let Some((table, entries)) = &self.table {
            write!(f, "\n  {table}")?;
            for entry in entries {
                write!(f, "\n    {:<10} {}", key_text(&entry.key), entry.value)?;
            }
        }
        Ok(())
    }
}

fn lag(node: &NodeStatus) -> String {
    node.lag_records.map_or_else(|| "?".to_owned(), thousands)
}
