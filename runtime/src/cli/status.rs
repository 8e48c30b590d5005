//! `status`: how the nodes of the app are.

use clap::Args;

use super::Session;
use super::ask::Asked;
use crate::error::Result;
use crate::http::{ClusterStatus, NodeStatus, PlanStatus};

pub(super) const EXAMPLES: &str = "\
Asks a node, which asks the others. Lag is the number of offsets between what is processed and the end of the input, or, of
a standby, between its copy and the end of the changelog; `?` if nobody tells it. `committed` is the offset up to which the
active has committed each of its inputs; `changelog` is how far a node's copy of the tables is, the active's or a standby's. A
rate is that of the last seconds since the shard has come; `-` just after that. What is processed is counted once for each
step: behind `group_by`, records count again. Broken shards come before all else; who has died within an hour has a line.

Examples:
  status
  status --explain                 who is to have which shard, and why
  status --here                    the node on this machine alone
  status --json | jq '.shards[] | select(.state != \"running\")'";

#[derive(Args)]
pub(super) struct StatusArgs {
    /// Only the node that is asked
    #[arg(long)]
    here: bool,
    /// The current plan, with the reason of every role
    #[arg(long, conflicts_with = "here")]
    explain: bool,
}

pub(super) fn run(session: Session, args: StatusArgs) -> Result<()> {
    let asked = Asked::find(&session.settings)?;
    if args.explain {
        let plan: PlanStatus = asked.answer(&["plan"], &[])?;
        session.output.answer(&plan, || plan.to_string())
    } else if args.here {
        let status: NodeStatus = asked.answer(&["status"], &[])?;
        session.output.answer(&status, || status.to_string())
    } else {
        let status: ClusterStatus = asked.answer(&["cluster"], &[])?;
        session.output.answer(&status, || status.to_string())
    }
}
