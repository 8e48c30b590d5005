//! `get`: the value of a key.

use clap::Args;

use super::Session;
use super::ask::{Answer, Asked, STALE_OK};
use crate::error::{Error, Result};
use crate::http::Found;

pub(super) const EXAMPLES: &str = r#"Shows what is committed, on whichever node it is. A key that is no text is given as JSON. While the node that processes
the key is away, a standby answers from its copy, and a line on stderr says how far that is behind.

Examples:
  get order_count a17
  get order_count a17 --json
  get order_count a17 --stale-ok   from a copy on the node that is asked, if it has one
  get by_carrier_and_day '["UA",3]'"#;

#[derive(Args)]
pub(super) struct GetArgs {
    /// The table
    table: String,
    /// The key
    key: String,
    /// A standby's copy will do
    #[arg(long)]
    stale_ok: bool,
}

pub(super) fn run(session: Session, args: GetArgs) -> Result<()> {
    let (table, key) = (args.table, args.key);
    let asked = Asked::find(&session.settings)?;
    let how = args.stale_ok.then(|| (STALE_OK, true.to_string()));
    match asked.get::<Found>(&["tables", &table, &key], how.as_slice())? {
        Answer::There(found) => {
            session.output.warn(found.freshness.warning());
            session.output.answer(&found, || found.value.to_string())
        }
        Answer::NoKey(freshness) => {
            session.output.warn(freshness.warning());
            Err(Error::NotFound { table, key })
        }
    }
}
