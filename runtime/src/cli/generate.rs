//! Commands of the app's own; `generate` is one of them.

use clap::ArgMatches;

use super::Session;
use super::launch::connect_beside;
use super::progress::Progress;
use super::signals::{before_sending, in_vain, interrupted};
use crate::app::AppCommand;
use crate::client::Client;
use crate::error::{Error, Result};

pub(super) async fn run(
    session: Session,
    command: &AppCommand,
    matches: &ArgMatches,
) -> Result<()> {
    let wish = session.wish;
    let open = async {
        let kafka = connect_beside(&session.settings).await?;
        Client::open(&kafka, &session.app, wish.clone()).await
    };
    let client = before_sending(&wish, &session.settings.broker, open).await?;
    let (said, sent) = (Progress::new(session.output), client.progress());
    let work = (command.run)(matches, client).map_err(|error| Error::Usage(error.to_string()))?;
    let acknowledged = || sent().acknowledged;
    let work = async {
        match command.is_generator {
            true => said.during(&acknowledged, work).await,
            false => work.await,
        }
    };
    tokio::select! {
        biased;
        done = work => done?,
        () = in_vain(wish, &sent) => return Err(interrupted(format!("interrupted: {}", sent()))),
    }
    match command.is_generator {
        true => said.finish(acknowledged()),
        false => Ok(()),
    }
}
