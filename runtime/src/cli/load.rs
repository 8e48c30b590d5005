//! [`Load`]: the generator of an app, as a task beside something else.

use std::cell::OnceCell;
use std::rc::Rc;

use clap::ArgMatches;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::launch::{connect, stopped};
use crate::app::{App, AppCommand};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::node::Wish;
use crate::settings::Settings;

/// See the module.
pub(super) struct Load {
    task: Option<JoinHandle<Result<()>>>,
    stop: watch::Sender<Wish>,
    /// Tells how many records it has sent, once it has begun.
    sent: Rc<OnceCell<Box<dyn Fn() -> u64>>>,
}

impl Load {
    /// Begins as soon as the broker answers.
    pub(super) fn start(
        command: AppCommand,
        matches: &ArgMatches,
        app: App,
        settings: &Settings,
    ) -> Self {
        let (stop, wish) = watch::channel(Wish::Run);
        let sent = Rc::new(OnceCell::new());
        let (matches, settings, counter) = (matches.clone(), settings.clone(), sent.clone());
        let task = tokio::task::spawn_local(async move {
            let kafka = connect(&settings)?;
            let client = tokio::select! {
                client = Client::open(&kafka, &app, wish.clone()) => client?,
                () = stopped(wish) => return Ok(()),
            };
            // It is set nowhere else.
            let _ = counter.set(Box::new(client.acknowledged()) as Box<dyn Fn() -> u64>);
            let work = (command.run)(&matches, client);
            work.map_err(|error| Error::Usage(error.to_string()))?.await
        });
        Self {
            task: Some(task),
            stop,
            sent,
        }
    }

    /// Tells how many records were sent and acknowledged.
    pub(super) fn counter(&self) -> impl Fn() -> u64 + use<> {
        let sent = self.sent.clone();
        move || sent.get().map_or(0, |sent| sent())
    }

    /// Asks it to end; it sends what it has begun.
    pub(super) fn stop(&self) {
        // An error means that it has ended.
        let _ = self.stop.send(Wish::Stop);
    }

    /// Ends it now, whatever it has in hand.
    pub(super) fn abort(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// Whether its end was told.
    pub(super) fn has_ended(&self) -> bool {
        self.task.is_none()
    }

    /// Until it ends; told once.
    pub(super) async fn ended(&mut self) -> Result<()> {
        let Some(task) = &mut self.task else {
            return std::future::pending().await;
        };
        let ended = task.await;
        self.task = None;
        ended.unwrap_or_else(|error| Err(Error::Failed(error.to_string())))
    }
}
