//! `worker`: a node.

use clap::Args;
use serde_json::json;
use tanist_actors::port::{Clock, TokioClock};
use tokio::sync::watch;

use super::Session;
use super::launch::launch;
use crate::error::{Error, Result};
use crate::node::{Board, NodeExit, Wish};

pub(super) const EXAMPLES: &str = "\
Ctrl-C or SIGTERM: finishes what is in hand, commits and ends; a second one ends the process at once, and what was not
committed is processed again at the next start.

Examples:
  worker
  worker --broker kafka-1:9092,kafka-2:9092 --data-dir /var/lib/orders --workers 4
  worker --until-caught-up         process what the input topics hold now, and end";

#[derive(Args)]
pub(super) struct WorkerArgs {
    /// Process to the ends that the inputs have at the start, with all that follows from it; commit, and end
    #[arg(long)]
    until_caught_up: bool,
}

pub(super) async fn run(session: Session, args: WorkerArgs) -> Result<()> {
    let clock = TokioClock::system();
    let wish = if args.until_caught_up {
        until_caught_up(session.wish)
    } else {
        session.wish
    };
    let board = std::sync::Arc::new(Board::default());
    let exit = launch(session.app, &session.settings, board.clone(), wish).await?;
    let committed = match exit {
        NodeExit::Stopped { committed } => committed,
        NodeExit::Fenced { by } => return Err(Error::Fenced { by }),
    };
    let (records, totals) = (board.records(), board.totals());
    let seconds = clock.elapsed().as_secs_f64();
    let summary = json!({ "records": records, "commits": totals.commits, "seconds": seconds, "committed": committed });
    session.output.answer(&summary, || {
        format!(
            "stopped after {seconds:.1} s: {records} records processed, {} commits",
            totals.commits
        )
    })?;
    if !committed {
        return Err(Error::Failed(
            "the last commit did not succeed: what it held will be processed again at the next start".into(),
        ));
    }
    Ok(())
}

/// The same wish, but for running on.
fn until_caught_up(mut session: watch::Receiver<Wish>) -> watch::Receiver<Wish> {
    let (wish, wishes) = watch::channel(Wish::StopWhenCaughtUp);
    tokio::spawn(async move {
        if session.wait_for(|wish| *wish == Wish::Stop).await.is_ok() {
            // An error means that the node has ended by itself.
            let _ = wish.send(Wish::Stop);
        }
    });
    wishes
}
