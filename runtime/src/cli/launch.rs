//! Puts a node together from settings, and runs it.

use std::sync::Arc;
use std::time::Duration;

use tanist_actors::port::{BrokerError, TokioClock};
use tanist_actors::worker::Thread;
use tokio::sync::watch;
use uuid::Uuid;

use crate::app::App;
use crate::error::{Error, Result};
use crate::kafka::{Contact, Kafka};
use crate::node::{Board, Node, NodeExit, NodeParts, Wish};
use crate::settings::Settings;
use crate::store::RocksStores;

/// The Kafka client of the settings; it waits for nothing yet.
pub(super) fn connect(settings: &Settings) -> Result<Kafka> {
    Kafka::new(settings.kafka()).map_err(|error| match error {
        // Nobody was asked yet: it is the properties that are wrong.
        BrokerError::Refused { .. } => Error::Usage(error.to_string()),
        BrokerError::Unreachable { .. } => error.into(),
    })
}

/// Runs a node of `app` until it ends by itself or by `wish`.
pub(super) async fn launch(
    app: App,
    settings: &Settings,
    board: Arc<Board>,
    wish: watch::Receiver<Wish>,
) -> Result<NodeExit> {
    let stores = RocksStores::open(&settings.data_dir, app.id(), &settings.stores())?;
    let kafka = connect(settings)?;
    let contact = kafka.contact();
    let parts = NodeParts {
        app: Arc::new(app),
        name: settings.node.clone(),
        workers: settings.workers,
        settings: settings.worker(),
        broker: Arc::new(kafka),
        stores: Arc::new(stores),
        clock: Arc::new(TokioClock::system()),
        thread: Thread::Own,
        board,
        http: None,
        incarnation: Uuid::new_v4(),
    };
    tokio::select! {
        biased;
        exit = run(parts, wish) => exit,
        error = given_up(contact, settings) => Err(error.into()),
    }
}

async fn run(parts: NodeParts, wish: watch::Receiver<Wish>) -> Result<NodeExit> {
    let node = tokio::select! {
        biased;
        node = Node::join(parts) => node?,
        // Nothing is in hand yet.
        () = stopped(wish.clone()) => return Ok(NodeExit::Stopped { committed: true }),
    };
    Ok(node.run(wish).await?)
}

/// Until the command is to end.
pub(super) async fn stopped(mut wish: watch::Receiver<Wish>) {
    // An error means that nobody is left who could say so: that is a wish, too.
    let _ = wish.wait_for(|wish| *wish == Wish::Stop).await;
}

/// Until no broker has answered for as long as the settings allow.
async fn given_up(mut contact: watch::Receiver<Contact>, settings: &Settings) -> BrokerError {
    let Some(timeout) = settings.broker_timeout else {
        return std::future::pending().await;
    };
    loop {
        if contact
            .wait_for(|contact| *contact == Contact::Lost)
            .await
            .is_err()
        {
            return std::future::pending().await;
        }
        let found = contact.wait_for(|contact| *contact != Contact::Lost);
        if tokio::time::timeout(timeout, found).await.is_err() {
            return unreachable_broker(settings, timeout);
        }
    }
}

fn unreachable_broker(settings: &Settings, timeout: Duration) -> BrokerError {
    BrokerError::Unreachable {
        address: settings.broker.clone(),
        reason: format!("none for {timeout:?}"),
    }
}
