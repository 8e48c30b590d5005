//! [`Progress`]: says every second how many records were sent.

use std::time::Duration;

use serde_json::json;
use tanist_actors::port::{Clock, TokioClock};

use super::output::Output;
use crate::error::Result;

const PERIOD: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Progress {
    output: Output,
    clock: TokioClock,
}

impl Progress {
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            clock: TokioClock::system(),
        }
    }

    /// Does `work`, and says how it goes.
    pub(super) async fn during<T>(
        &self,
        sent: &impl Fn() -> u64,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        let mut before = 0;
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = self.clock.sleep(PERIOD) => {
                    let sent = sent();
                    self.output.progress(&format!("{sent} records sent, {} a second", sent - before));
                    before = sent;
                }
            }
        }
    }

    /// The last word.
    pub(super) fn finish(&self, records: u64) -> Result<()> {
        let seconds = self.clock.elapsed().as_secs_f64();
        let rate = (records as f64 / seconds.max(1e-3)).round();
        let summary = json!({ "records": records, "seconds": seconds, "records_per_second": rate });
        self.output.answer(&summary, || {
            format!("sent {records} records in {seconds:.2} s, {rate} a second")
        })
    }
}
