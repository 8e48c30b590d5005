//! `scan`: entries of a table, in the order of their keys.

use clap::Args;

use super::Session;
use super::ask::{Asked, STALE_OK};
use crate::error::Result;
use crate::http::{MAX_PAGE, Page, key_text};

pub(super) const EXAMPLES: &str = "\
Shows what is committed, on whichever nodes it is: a key, a tab, and the value as JSON. While a node is away, standbys
answer from their copies, and a line on stderr says how far those are behind.

Examples:
  scan order_count
  scan order_count --prefix a1 --limit 20
  scan order_count --from a100 --to a200 --json";

#[derive(Args)]
pub(super) struct ScanArgs {
    /// The table
    table: String,
    /// Only keys that begin so
    #[arg(long)]
    prefix: Option<String>,
    /// The first key
    #[arg(long, value_name = "KEY")]
    from: Option<String>,
    /// The first key that is not shown any more
    #[arg(long, value_name = "KEY")]
    to: Option<String>,
    /// Show so many [default: all]
    #[arg(long)]
    limit: Option<usize>,
    /// Copies of standbys will do
    #[arg(long)]
    stale_ok: bool,
}

pub(super) fn run(session: Session, args: ScanArgs) -> Result<()> {
    let asked = Asked::find(&session.settings)?;
    let mut left = args.limit.unwrap_or(usize::MAX);
    let mut after = None;
    let mut warned = false;
    let stale_ok = args.stale_ok.then(|| true.to_string());
    while left > 0 {
        let limit = Some(left.min(MAX_PAGE / 10).to_string());
        let parameters = [
            ("prefix", &args.prefix),
            ("from", &args.from),
            ("to", &args.to),
            ("limit", &limit),
            ("after", &after),
            (STALE_OK, &stale_ok),
        ];
        let parameters: Vec<(&str, String)> = parameters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)))
            .collect();
        let page: Page = asked.answer(&["tables", &args.table], &parameters)?;
        if !warned && page.freshness.stale {
            session.output.warn(page.freshness.warning());
            warned = true;
        }
        left = left.saturating_sub(page.entries.len());
        for entry in &page.entries {
            let line = || format!("{}\t{}", key_text(&entry.key), entry.value);
            session.output.answer(entry, line)?;
        }
        after = page.after;
        if after.is_none() {
            break;
        }
    }
    Ok(())
}
