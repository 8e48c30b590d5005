//! `get`: the value of a key.

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Session;
use super::ask::{Answer, Asked};
use crate::error::{Error, Result};

pub(super) const EXAMPLES: &str = r#"Shows what is committed, as the node on this machine has it. A key that is no text is given as JSON.

Examples:
  get order_count a17
  get order_count a17 --json
  get by_carrier_and_day '["UA",3]'"#;

#[derive(Args)]
pub(super) struct GetArgs {
    /// The table
    table: String,
    /// The key
    key: String,
}

#[derive(Serialize, Deserialize)]
struct Found {
    table: String,
    key: String,
    value: Value,
}

pub(super) fn run(session: Session, args: GetArgs) -> Result<()> {
    let GetArgs { table, key } = args;
    let asked = Asked::find(&session.settings)?;
    match asked.get::<Found>(&["tables", &table, &key], &[])? {
        Answer::There(found) => session.output.answer(&found, || found.value.to_string()),
        Answer::NoKey => Err(Error::NotFound { table, key }),
    }
}
