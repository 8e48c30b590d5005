//! `status`: how the nodes of the app are.

use clap::Args;

use super::Session;
use super::ask::Asked;
use crate::error::Result;
use crate::http::{ClusterStatus, NodeStatus, PlanStatus};

pub(super) const EXAMPLES: &str = "\
Asks a node, which asks the others. Lag is the number of offsets between what is processed and the end of the input, or, of
a standby, between its copy and the end of the changelog; `?` if nobody tells it. A rate is that of the last seconds since
the shard has come; `-` just after that. Shards that are broken come before all else.

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
