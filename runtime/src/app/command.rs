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
