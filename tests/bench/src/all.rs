//! All benchmarks, one after the other, on one broker.

use clap::Args;

use crate::server::Common;
use crate::{Result, latency, orders_count, restore, store};

/// How to measure.
#[derive(Args)]
pub(crate) struct Settings {
    #[command(flatten)]
    common: Common,
    /// A tenth of the records and keys: to see that it runs, not to measure
    #[arg(long)]
    quick: bool,
}

/// Of the memory that a table of many keys has to make do with.
const STORE_MIB: usize = 256;

pub(crate) fn run(settings: &Settings) -> Result<()> {
    let part = if settings.quick { 10 } else { 1 };
    let ground = settings.common.start()?;
    orders_count::run_all(&ground, 2_000_000 / part)?;
    restore::measure(&ground, 1_000_000 / part)?;
    latency::measure(&ground, 1_000 / part)?;
    drop(ground);
    store::measure(5_000_000 / part, STORE_MIB)
}
