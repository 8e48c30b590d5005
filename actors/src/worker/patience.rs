//! Patience with a broker that refuses what a replica asks: what it says no to may pass (somebody is just granting a right, a
//! topic is not known everywhere yet), and a replica that gives up stands still until its node is started anew.

use std::time::Duration;

use super::Worker;
use crate::port::BrokerError;

/// Before it is asked again: so often, and no more.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

impl Worker {
    /// Asks until there is an answer, for some seconds.
    pub(super) async fn patiently<T>(
        &self,
        ask: impl AsyncFn() -> Result<T, BrokerError>,
    ) -> Result<T, BrokerError> {
        for pause in PAUSES {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    tracing::warn!("{error}; asking again in {pause:?}");
                    self.desk.clock().sleep(pause).await;
                }
            }
        }
        ask().await
    }
}
