//! Kafka's protocol on TCP. `connection` reads a request, `dispatch` decodes it, one of the `api_*` files answers it by
//! calls on the core, and `server` is the thread on which all this happens.

mod api_groups;
mod api_log;
mod api_topics;
mod api_transactions;
mod clock;
mod connection;
mod dispatch;
mod fetch;
mod request;
pub(crate) mod server;

use std::net::SocketAddr;

use kafka_protocol::messages::BrokerId;
use kafka_protocol::protocol::StrBytes;

use crate::core::{Core, Millis};
use crate::error::{BrokerError, Result};

/// The only broker.
const BROKER: BrokerId = BrokerId(1);
const CLUSTER_ID: &str = "tanist-embedded";

/// One request on its way through an `api_*` file.
struct Turn<'a> {
    core: &'a mut Core,
    now: Millis,
    /// Where this broker is reached.
    address: SocketAddr,
    /// What a test wants every part of this request to be refused with.
    refusal: Option<BrokerError>,
}

impl Turn<'_> {
    /// Calls the core, unless the request is to be refused.
    fn attempt<R>(&mut self, call: impl FnOnce(&mut Core, Millis) -> Result<R>) -> Result<R> {
        match self.refusal {
            Some(error) => Err(error),
            None => call(self.core, self.now),
        }
    }

    fn host(&self) -> StrBytes {
        StrBytes::from_string(self.address.ip().to_string())
    }

    fn port(&self) -> i32 {
        i32::from(self.address.port())
    }
}

/// The number of an outcome: 0 if it went well.
fn code<R>(result: &Result<R>) -> i16 {
    result.as_ref().err().map_or(0, |error| error.code())
}

#[cfg(test)]
mod tests;
