//! [`Shared::ask`]: has something done by a broker, however long it takes until there is one.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use tanist_actors::port::BrokerError;

use super::Shared;
use super::clock::Deadline;
use super::error::{Failure, Remedy, refused};

/// How long one try may take, at most.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Between two tries: at first, and at most.
const PAUSES: Range<Duration> = Duration::from_millis(50)..Duration::from_secs(2);
/// How long a topic that a broker does not know may be on its way to it.
const NEWS: Duration = Duration::from_secs(5);

impl Shared {
    /// Makes a blocking call, off this thread, until a broker answers or the limit is reached. The call is told how long
    /// it may take.
    pub(super) async fn ask<T, E>(
        self: &Arc<Self>,
        what: &str,
        call: impl Fn(&Self, Duration) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<T, BrokerError>
    where
        T: Send + 'static,
        E: Into<Failure>,
    {
        let call = Arc::new(call);
        self.keep_trying(what, |limit| {
            let (shared, call) = (self.clone(), call.clone());
            let running = tokio::task::spawn_blocking(move || {
                call(&shared, limit).map_err(Into::<Failure>::into)
            });
            async {
                running
                    .await
                    .unwrap_or_else(|_| Err(KafkaError::Canceled.into()))
            }
        })
        .await
    }

    /// Tries until it succeeds, will never succeed, or [`KafkaSettings::broker_timeout`] has passed.
    ///
    /// [`KafkaSettings::broker_timeout`]: super::KafkaSettings::broker_timeout
    pub(super) async fn keep_trying<T, F>(
        &self,
        what: &str,
        mut attempt: impl FnMut(Duration) -> F,
    ) -> Result<T, BrokerError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let deadline = self.settings.broker_timeout.map(Deadline::after);
        let left =
            |most: Duration| deadline.map_or(most, |deadline| deadline.remaining().min(most));
        let mut pause = PAUSES.start;
        let mut unknown_until: Option<Deadline> = None;
        loop {
            let failure = match attempt(left(ATTEMPT)).await {
                Ok(value) => {
                    self.link.answered();
                    return Ok(value);
                }
                Err(failure) => failure,
            };
            let trouble = self.link.trouble();
            if trouble.refused {
                return Err(refused(what, trouble.reason));
            }
            // What broke the connection says more than that the call ran out of time.
            let reason = match failure.remedy {
                Remedy::None => return Err(refused(what, failure.reason)),
                Remedy::News
                    if unknown_until
                        .get_or_insert_with(|| Deadline::after(NEWS))
                        .has_passed() =>
                {
                    return Err(refused(what, failure.reason));
                }
                Remedy::Contact if !trouble.reason.is_empty() => trouble.reason,
                Remedy::Contact | Remedy::Time | Remedy::News => failure.reason,
            };
            if failure.remedy == Remedy::Contact {
                self.link.waits(what);
            } else if pause < PAUSES.end && pause * 2 >= PAUSES.end {
                // It has taken unusually long by now; said once.
                tracing::warn!(reason, "waiting for Kafka to {what}");
            }
            tokio::time::sleep(left(pause)).await;
            pause = (pause * 2).min(PAUSES.end);
            // Nothing is tried that cannot succeed, so that who gives up waiting has not to wait for that either.
            if tokio::time::timeout(left(Duration::MAX), self.link.found())
                .await
                .is_err()
                || deadline.is_some_and(Deadline::has_passed)
            {
                let address = self.link.brokers().to_owned();
                return Err(BrokerError::Unreachable { address, reason });
            }
        }
    }
}
