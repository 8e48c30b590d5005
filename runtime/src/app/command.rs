//! [`AppCommand`]: what an app's command line can do beside what every app can: and how an app is given settings.

use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;

use clap::{ArgMatches, Args, Command};

use super::App;
use crate::client::Client;
use crate::error::Result;

type CommandFuture = Pin<Box<dyn Future<Output = Result<()>>>>;

/// A command of the app's own.
pub(crate) struct AppCommand {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Makes records to show or to measure the app with; `up` runs it.
    pub(crate) is_generator: bool,
    /// Adds its arguments to a command.
    pub(crate) augment: fn(Command) -> Command,
    #[expect(clippy::type_complexity, reason = "said once, here")]
    pub(crate) run:
        Box<dyn Fn(&ArgMatches, Client) -> Result<CommandFuture, clap::Error> + Send + Sync>,
}

impl App {
    /// A setting that is the app's own default: a file, the environment and flags win over it. Names and values are
    /// those of the configuration file.
    ///
    /// ```
    /// # use tanist::prelude::*;
    /// let mut app = App::new("hello");
    /// app.setting("commit_interval", "20ms");
    /// ```
    pub fn setting(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// A command of the app's own, with its arguments (a struct that derives [`clap::Args`]).
    pub fn command<A, F>(&mut self, name: &'static str, about: &'static str, run: F)
    where
        A: Args + 'static,
        F: AsyncFn(A, Client) -> Result<()> + Send + Sync + 'static,
    {
        self.add_command(name, about, false, run);
    }

    /// The command `generate`, which makes records to show or to measure the app with. The command `up` runs it, too.
    pub fn generator<A, F>(&mut self, about: &'static str, run: F)
    where
        A: Args + 'static,
        F: AsyncFn(A, Client) -> Result<()> + Send + Sync + 'static,
    {
        self.add_command("generate", about, true, run);
    }

    /// The name of a program that judges what the app writes: with a generator, the app has the command `chaos`, then, which
    /// kills nodes under load, and more, and asks the program in the end. It is looked for beside the app's own
    /// program, in the folder above, and on the `PATH`.
    ///
    /// It is started with `--follow --json --broker ADDRESS --least-gap MS`, reads what the app writes until its
    /// standard input and the topic are at their ends, and writes one object of JSON: `sound` (whether all is as it has
    /// to be), `inputs` (how many inputs are accounted for), `text` (what it found), `gaps` (an array of `partition`,
    /// `from_ms` and `to_ms`: between which times, in ms since the epoch, it had nothing to read of a partition, where
    /// that was at least `MS`), and `tables` (by table and key, what the app's tables have to hold in the end).
    pub fn judge(&mut self, program: &'static str) -> &mut Self {
        self.judge = Some(program);
        self
    }

    fn add_command<A, F>(
        &mut self,
        name: &'static str,
        about: &'static str,
        is_generator: bool,
        run: F,
    ) where
        A: Args + 'static,
        F: AsyncFn(A, Client) -> Result<()> + Send + Sync + 'static,
    {
        let run = Arc::new(run);
        self.commands.push(AppCommand {
            name,
            about,
            is_generator,
            augment: A::augment_args,
            run: Box::new(move |matches, client| {
                let (args, run) = (A::from_arg_matches(matches)?, run.clone());
                Ok(Box::pin(async move { run(args, client).await }))
            }),
        });
    }
}
