//! `status`: how the node on this machine is.

use super::Session;
use super::ask::{Answer, Asked};
use crate::error::Result;
use crate::http::NodeStatus;

pub(super) const EXAMPLES: &str = "\
Lag is the number of offsets between what is processed and the end of the input; `?` if the broker does not tell it.

Examples:
  status
  status --json | jq '.shards[] | select(.state != \"running\")'";

pub(super) fn run(session: Session) -> Result<()> {
    let asked = Asked::find(&session.settings)?;
    match asked.get::<NodeStatus>(&["status"], &[])? {
        Answer::There(status) => session.output.answer(&status, || status.to_string()),
        Answer::NoKey => Ok(()),
    }
}
