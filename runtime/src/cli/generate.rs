//! Commands of the app's own; `generate` is one of them.

use clap::ArgMatches;

use super::Session;
use super::launch::connect_beside;
use super::progress::Progress;
use crate::app::AppCommand;
use crate::client::Client;
use crate::error::{Error, Result};

pub(super) async fn run(
    session: Session,
    command: &AppCommand,
    matches: &ArgMatches,
) -> Result<()> {
    let kafka = connect_beside(&session.settings).await?;
    let client = Client::open(&kafka, &session.app, session.wish.clone()).await?;
    let progress = Progress::new(session.output);
    let sent = client.acknowledged();
    let work = (command.run)(matches, client).map_err(|error| Error::Usage(error.to_string()))?;
    if !command.is_generator {
        return work.await;
    }
    progress.during(&sent, work).await?;
    progress.finish(sent())
}
