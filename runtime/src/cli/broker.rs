//! `broker`: the embedded broker as a process.

use std::net::SocketAddr;

use clap::Args;
use serde_json::json;
use tanist_broker::{Config, EmbeddedBroker, StartError};

use super::Session;
use super::launch::{cannot_listen, stopped};
use crate::error::{Error, Result};

pub(super) const EXAMPLES: &str = "\
It keeps everything in memory: what was sent is gone when it ends. For development and tests only.

Examples:
  broker
  broker --listen 127.0.0.1:0      any free port, which it prints";

#[derive(Args)]
pub(super) struct BrokerArgs {
    /// Where to listen; port 0 is any free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9092")]
    listen: SocketAddr,
}

pub(super) async fn run(session: Session, args: BrokerArgs) -> Result<()> {
    let config = Config {
        listen: args.listen,
        ..Config::default()
    };
    let broker = EmbeddedBroker::start(config).map_err(|error| match error {
        StartError::Listen { address, cause } => cannot_listen(address, &cause, "--listen"),
        error => Error::new(error),
    })?;
    let address = broker.address();
    session.output.answer(&json!({ "broker": address }), || {
        format!("broker on {address}, in memory, for development and tests only; Ctrl-C ends it")
    })?;
    stopped(session.wish).await;
    Ok(())
}
