//! [`Context`]: what becomes of what librdkafka says by itself, its log lines and its errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, NoCustomPartitioner, ProducerContext};

use super::link::{Link, Trouble};

/// Listens to one client.
pub(super) struct Context {
    /// What the client is for, in log lines.
    client: &'static str,
    link: Arc<Link>,
    /// How often a connection broke or a request was not answered in time: see [`Context::troubles`].
    troubles: Arc<AtomicU64>,
    /// A partition may be gone: see [`Context::take_alarm`].
    alarm: AtomicBool,
}

impl Context {
    pub(super) fn new(client: &'static str, link: Arc<Link>) -> Self {
        Self {
            client,
            link,
            troubles: Arc::default(),
            alarm: AtomicBool::new(false),
        }
    }

    /// True if something happened since the last time that may have been the end of a topic or partition. Of that
    /// librdkafka says nothing in the partition's queue, when it is read in batches, but writes a line into its log.
    pub(super) fn take_alarm(&self) -> bool {
        self.alarm.swap(false, Ordering::Relaxed)
    }

    pub(super) fn raise_alarm(&self) {
        self.alarm.store(true, Ordering::Relaxed);
    }

    /// Counts broken connections and unanswered requests, as far as the client's events have been served. A request
    /// that was sent and not answered may still arrive, however late (KIP-890).
    pub(super) fn troubles(&self) -> Arc<AtomicU64> {
        self.troubles.clone()
    }

    fn count_trouble(&self) {
        self.troubles.fetch_add(1, Ordering::Relaxed);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let client = self.client;
        match (facility, level) {
            // A request was not answered in time; a connection broke or could not be made. Every try to connect says so;
            // what it means is said once, by `Link`.
            ("REQTMOUT" | "FAIL", _) => {
                self.count_trouble();
                tracing::debug!(client, facility, "{message}");
            }
            ("ERROR", _) => {
                self.raise_alarm();
                tracing::debug!(client, facility, "{message}");
            }
            // Properties of producers on consumers and the reverse are among the user's, which all clients are given.
            ("CONFWARN", _) => tracing::debug!(client, facility, "{message}"),
            (_, RDKafkaLogLevel::Debug) => tracing::trace!(client, facility, "{message}"),
            (_, RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice) => {
                tracing::debug!(client, facility, "{message}");
            }
            _ => tracing::warn!(client, facility, "librdkafka: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let client = self.client;
        let refused = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                self.link.suspect();
                return;
            }
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL) => true,
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve,
            ) => false,
            _ => {
                tracing::debug!(client, %error, "{reason}");
                return;
            }
        };
        self.link.note(Trouble {
            reason: reason.to_owned(),
            refused,
        });
        tracing::debug!(client, %error, "{reason}");
    }
}

impl ConsumerContext for Context {}

impl ProducerContext<NoCustomPartitioner> for Context {
    /// Delivery reports are read from the event queue by [`super::raw::Producer`]; here come only those that are left
    /// when a producer is dropped.
    type DeliveryOpaque = usize;

    fn delivery(&self, _: &DeliveryResult<'_>, _: usize) {}
}
