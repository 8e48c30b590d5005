//! `worker`: a node.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Session;
use super::launch::{Launch, stopped};
use super::output::Output;
use super::overdue;
use super::signals::interrupted;
use crate::error::{Error, Result};
use crate::http::Api;
use crate::node::{NodeExit, Wish};
use crate::store::{DataDirError, RocksStores};
use crate::up::end_with;

pub(super) const EXAMPLES: &str = "\
Ctrl-C or SIGTERM: finishes what is in hand, commits and ends. A second one ends the process at once, and what was not
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
    /// The process that it belongs to: the node ends with it, however that ends
    #[arg(long, value_name = "PID", hide = true)]
    parent: Option<u32>,
}

pub(super) async fn run(session: Session, args: WorkerArgs) -> Result<()> {
    if let Some(parent) = args.parent {
        end_with(parent)?;
    }
    let launch = Launch::new(session.app, &session.settings)?;
    let api = launch.api().clone();
    let ended = session.wish.clone();
    let (wish, gone) = while_there(launch.data().clone(), session.wish);
    let watched = overdue::watch(&session.settings, wish.clone(), api.board.clone())?;
    let wish = match args.until_caught_up {
        true => until_caught_up(wish),
        false => wish,
    };
    let exit = launch.run(wish).await;
    drop(watched);
    if gone.is_finished()
        && let Ok(Some(gone)) = gone.await
    {
        return Err(gone.into());
    }
    finish(session.output, &api, exit?)?;
    if args.until_caught_up && *ended.borrow() == Wish::Stop {
        let text =
            "interrupted: it had not caught up yet; the next start goes on from what is committed";
        return Err(interrupted(text.into()));
    }
    Ok(())
}

/// How often it is looked whether the data directory is still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// To stop when the session ends, or when the data directory is gone, which is the answer of the task then.
fn while_there(
    data: Arc<RocksStores>,
    session: watch::Receiver<Wish>,
) -> (watch::Receiver<Wish>, JoinHandle<Option<DataDirError>>) {
    let (wish, wishes) = watch::channel(Wish::Run);
    let gone = async move {
        loop {
            if let Err(gone) = data.check() {
                return gone;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let task = tokio::spawn(async move {
        let gone = tokio::select! {
            () = stopped(session) => None,
            gone = gone => Some(gone),
        };
        if let Some(gone) = &gone {
            tracing::error!("{gone}");
        }
        // An error means that the node has ended by itself.
        let _ = wish.send(Wish::Stop);
        gone
    });
    (wishes, task)
}

/// The last word of a node.
pub(super) fn finish(output: Output, api: &Api, exit: NodeExit) -> Result<()> {
    let NodeExit::Stopped { committed } = exit;
    let (records, commits) = (api.board.records(), api.board.totals().commits);
    let seconds = api.clock.elapsed().as_secs_f64();
    let summary = json!({ "records": records, "commits": commits, "seconds": seconds, "committed": committed });
    output.answer(&summary, || {
        format!("stopped after {seconds:.1} s: {records} records processed in {commits} commits")
    })?;
    if !committed {
        return Err(Error::NotCommitted(
            "the last commit did not succeed: what it held will be processed again at the next start".into(),
        ));
    }
    Ok(())
}

/// To stop when it has caught up, or, when the session ends, before.
pub(super) fn until_caught_up(session: watch::Receiver<Wish>) -> watch::Receiver<Wish> {
    let (wish, wishes) = watch::channel(Wish::StopWhenCaughtUp);
    tokio::spawn(async move {
        stopped(session).await;
        // An error means that the node has ended by itself.
        let _ = wish.send(Wish::Stop);
    });
    wishes
}
