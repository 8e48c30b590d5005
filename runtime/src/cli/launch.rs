//! [`Launch`]: a node, put together from settings.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tanist_actors::port::{BrokerError, Clock, TokioClock};
use tanist_actors::worker::Thread;
use tanist_cluster::admission::Peer;
use tokio::sync::watch;
use uuid::Uuid;

use super::ask::Asked;
use crate::app::App;
use crate::error::{Error, Result};
use crate::http::{AddressFile, Api, NodeStatus, Peers, Rates, Server};
use crate::kafka::{Contact, Kafka};
use crate::node::{Board, Node, NodeExit, NodeParts, OpenStores, TcpLinks, Wish, machine};
use crate::settings::Settings;
use crate::store::RocksStores;

/// The Kafka client of the settings; it waits for nothing yet.
pub(super) fn connect(settings: &Settings) -> Result<Kafka> {
    Kafka::new(settings.kafka()).map_err(|error| match error {
        // Nobody was asked yet: it is the settings that are wrong.
        BrokerError::Refused { reason, .. } => {
            Error::Usage(format!("the Kafka client cannot be started: {reason}"))
        }
        BrokerError::Unreachable { .. } => error.into(),
    })
}

/// The address of the setting `flag` is taken, or not of this machine.
pub(super) fn cannot_listen(address: SocketAddr, error: &io::Error, flag: &str) -> Error {
    Error::Usage(format!(
        "cannot listen on {address}: {error}; choose another address with {flag}, or port 0 for any free port"
    ))
}

/// The same for a command beside the nodes of an app: unless a broker is given, it is theirs.
pub(super) async fn connect_beside(settings: &Settings) -> Result<Kafka> {
    let mut settings = settings.clone();
    if !settings.is_given("broker")
        && let Ok(asked) = Asked::find(&settings)
    {
        let status =
            tokio::task::spawn_blocking(move || asked.answer::<NodeStatus>(&["status"], &[]));
        if let Ok(Ok(status)) = status.await {
            settings.broker = status.broker.address;
        }
    }
    connect(&settings)
}

/// A node that answers queries, and has not begun to work.
pub(super) struct Launch {
    parts: NodeParts,
    data: Arc<RocksStores>,
    contact: watch::Receiver<Contact>,
    broker_timeout: Option<Duration>,
    api: Arc<Api>,
    server: Server,
    address_file: AddressFile,
}

impl Launch {
    /// Takes hold of the data directory, and listens.
    pub(super) fn new(app: App, settings: &Settings) -> Result<Self> {
        let data = RocksStores::open(&settings.data_dir, app.id(), &settings.stores())?;
        let data = Arc::new(data);
        let stores = Arc::new(OpenStores::new(data.clone()));
        let kafka = connect(settings)?;
        let contact = kafka.contact();
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::system());
        let board = Arc::new(Board::new(settings.node.clone(), clock.clone()));
        let broker = Arc::new(kafka);
        let incarnation = Uuid::new_v4();
        let answers_as = watch::Sender::new(incarnation);
        let api = Arc::new(Api {
            app: app.id().to_owned(),
            node: settings.node.clone(),
            guarantee: settings.guarantee,
            address: settings.broker.clone(),
            broker: broker.clone(),
            contact: contact.clone(),
            board: board.clone(),
            stores: stores.clone(),
            clock: clock.clone(),
            rates: Mutex::new(Rates::default()),
            incarnation: answers_as.subscribe(),
            peers: Peers::new(app.id(), machine()),
            joined: OnceLock::new(),
        });
        let listen = settings.http;
        let server = Server::start(listen, api.clone())
            .map_err(|error| cannot_listen(listen, &error, "--http"))?;
        let address_file = AddressFile::write(&settings.data_dir, server.address())?;
        let advertised = match &settings.advertised_http {
            Some((host, 0)) => format!("{host}:{}", server.address().port()),
            Some((host, port)) => format!("{host}:{port}"),
            None => server.address().to_string(),
        };
        let parts = NodeParts {
            app: Arc::new(app),
            name: settings.node.clone(),
            workers: settings.workers,
            settings: settings.worker(),
            cluster: settings.cluster.clone(),
            broker,
            stores,
            clock,
            thread: Thread::Own,
            board,
            links: Arc::new(TcpLinks::new(answers_as)),
            http: Some(advertised),
            machine: machine(),
            incarnation,
        };
        Ok(Self {
            parts,
            data,
            contact,
            broker_timeout: settings.broker_timeout,
            api,
            server,
            address_file,
        })
    }

    /// What it answers.
    pub(super) fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// What is in its data directory.
    pub(super) fn data(&self) -> &Arc<RocksStores> {
        &self.data
    }

    /// Where it answers.
    pub(super) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Runs until it ends by itself, or by `wish`.
    pub(super) async fn run(self, wish: watch::Receiver<Wish>) -> Result<NodeExit> {
        let listens = self.address();
        tracing::info!(node = %self.parts.name, http = %listens, "answers queries");
        let api = self.api;
        let exit = tokio::select! {
            biased;
            exit = run(self.parts, listens, &api, wish) => exit,
            error = given_up(self.contact, self.broker_timeout, &api.address) => Err(error.into()),
            never = api.watch_rates() => match never {},
        };
        self.server.stop().await;
        drop(self.address_file);
        exit
    }
}

async fn run(
    parts: NodeParts,
    listens: SocketAddr,
    api: &Api,
    wish: watch::Receiver<Wish>,
) -> Result<NodeExit> {
    leads_here(&parts, listens).await?;
    let node = tokio::select! {
        biased;
        node = Node::open(parts) => node?,
        // Nothing is in hand yet.
        () = stopped(wish.clone()) => return Ok(NodeExit::Stopped { committed: true }),
    };
    api.open(node.topology());
    Ok(node.run(wish).await?)
}

/// Checks the address that other nodes are told: where nobody is, or another, they would take this node for dead.
async fn leads_here(parts: &NodeParts, listens: SocketAddr) -> Result<()> {
    let Some(told) = parts.http.as_ref() else {
        return Ok(());
    };
    if *told == listens.to_string() {
        return Ok(());
    }
    match parts.links.ask(told, parts.incarnation).await {
        Peer::Alive => Ok(()),
        Peer::Gone => Err(Error::Usage(format!(
            "{told} does not lead to this node, which listens at {listens}: correct --advertised-http, or what leads from \
             the one to the other"
        ))),
        Peer::Unknown => {
            tracing::warn!(
                "this node cannot reach itself at {told}, where other nodes are to reach it"
            );
            Ok(())
        }
    }
}

/// Until the command is to end.
pub(super) async fn stopped(mut wish: watch::Receiver<Wish>) {
    // An error means that nobody is left who could say so: that is a wish, too.
    let _ = wish.wait_for(|wish| *wish == Wish::Stop).await;
}

/// Until no broker has answered for longer than the settings allow.
async fn given_up(
    mut contact: watch::Receiver<Contact>,
    timeout: Option<Duration>,
    address: &str,
) -> BrokerError {
    let Some(timeout) = timeout else {
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
            return BrokerError::Unreachable {
                address: address.to_owned(),
                reason: format!(
                    "none for {timeout:?}, which is the limit that was set (--broker-timeout)"
                ),
            };
        }
    }
}
