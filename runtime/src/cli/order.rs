//! `kill`, `freeze`, `thaw`, `stop`, `start`, `add`: orders for the local cluster that runs in another terminal.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::Session;
use super::ask::Asked;
use crate::error::Result;
use crate::up::Act;

pub(super) const EXAMPLES: &str = "\
They go to the `up` of this app that was started in this directory, or with this --data-dir, and answer when it is done.

Examples:
  kill n2              SIGKILL, as a power cut
  freeze n2            SIGSTOP: it stands still, as in a very long pause, until `thaw n2`
  stop n2              it hands its shards over and ends
  start n2             with what it has on disk
  add                  one more node
  stop broker          the embedded one, which keeps what it holds until `start broker`; it can be frozen, too";

#[derive(Args)]
pub(super) struct NodeArgs {
    /// The node, as `up` calls it: n1, n2, ..., or broker
    // Not `node`, as the setting is called.
    #[arg(value_name = "NODE")]
    target: String,
}

#[derive(Serialize, Deserialize)]
struct Done {
    node: String,
    done: String,
}

pub(super) fn run(session: Session, act: Act, args: NodeArgs) -> Result<()> {
    order(&session, &["nodes", &args.target, act.name()])
}

/// One more node.
pub(super) fn add(session: Session) -> Result<()> {
    order(&session, &["nodes"])
}

fn order(session: &Session, path: &[&str]) -> Result<()> {
    let done: Done = Asked::find(&session.settings)?.order(path)?;
    session
        .output
        .answer(&done, || format!("{} {}", done.node, done.done))
}
