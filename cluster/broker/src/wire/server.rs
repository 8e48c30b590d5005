//! The thread of the wire face: it accepts, lets time pass, and does what the owner commands.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::clock;
use super::connection::Connection;
use crate::hub::{Hub, Mode};

/// The longest that time stands still for the core.
const TICK: Duration = Duration::from_millis(100);

/// What the owner wants; each is answered once it is done.
pub(crate) enum Command {
    /// Close the port and every connection.
    Stop(Sender<()>),
    /// Open the port again.
    Start(Sender<std::io::Result<()>>),
    /// Cut the connections of this client, or all.
    Cut(Option<String>, Sender<usize>),
    /// End the thread.
    Shutdown,
}

/// An open connection, and the client that it is known to be.
struct Open {
    client: Option<Arc<str>>,
    abort: AbortHandle,
}

type Opens = Arc<Mutex<BTreeMap<u64, Open>>>;

fn lock(opens: &Opens) -> MutexGuard<'_, BTreeMap<u64, Open>> {
    opens.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Server {
    hub: Arc<Hub>,
    address: SocketAddr,
    listener: Option<TcpListener>,
    connections: JoinSet<()>,
    opens: Opens,
    accepted: u64,
}

impl Server {
    pub(crate) fn new(hub: Arc<Hub>, listener: TcpListener, address: SocketAddr) -> Self {
        Self {
            hub,
            address,
            listener: Some(listener),
            connections: JoinSet::new(),
            opens: Opens::default(),
            accepted: 0,
        }
    }

    /// Serves until it is told to end, or its owner is gone.
    pub(crate) async fn run(mut self, mut commands: UnboundedReceiver<Command>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let nap = self.nap();
            tokio::select! {
                accepted = accept(self.listener.as_ref()) => self.open(accepted),
                Some(ended) = self.connections.join_next() => {
                    if let Err(error) = ended
                        && error.is_panic()
                    {
                        tracing::error!(%error, "a connection panicked");
                    }
                }
                _ = ticks.tick() => self.tick(),
                () = tokio::time::sleep(nap) => self.tick(),
                () = self.hub.timers_changed() => {}
                command = commands.recv() => match command {
                    Some(Command::Stop(done)) => {
                        self.stop().await;
                        let _ = done.send(());
                    }
                    Some(Command::Start(done)) => {
                        let _ = done.send(self.start().await);
                    }
                    Some(Command::Cut(client, done)) => {
                        let _ = done.send(self.cut(client.as_deref()));
                    }
                    Some(Command::Shutdown) | None => return self.stop().await,
                },
            }
        }
    }

    fn tick(&self) {
        if self.hub.mode() == Mode::Running {
            self.hub.tick(clock::now());
        }
    }

    /// How long until the core wants to be told the time; the regular ticks come anyway.
    fn nap(&self) -> Duration {
        let wake_at = self
            .hub
            .wake_at()
            .filter(|_| self.hub.mode() == Mode::Running);
        let until = wake_at.map_or(i64::MAX, |at| at.0.saturating_sub(clock::now().0));
        Duration::from_millis(u64::try_from(until).unwrap_or(0))
            .clamp(Duration::from_millis(1), 2 * TICK)
    }

    fn open(&mut self, accepted: std::io::Result<TcpStream>) {
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                return;
            }
        };
        let number = self.accepted;
        self.accepted += 1;
        let (hub, address) = (Arc::clone(&self.hub), self.address);
        let connection = Connection {
            hub,
            address,
            stream,
            unread: BytesMut::new(),
        };
        let (opens, its_opens) = (Arc::clone(&self.opens), Arc::clone(&self.opens));
        let abort = self.connections.spawn(async move {
            let known = connection.serve(|client| {
                if let Some(open) = lock(&its_opens).get_mut(&number)
                    && open.client.as_ref() != Some(client)
                {
                    open.client = Some(Arc::clone(client));
                }
            });
            if let Err(error) = known.await {
                tracing::debug!(%error, "a connection was given up");
            }
            lock(&its_opens).remove(&number);
        });
        lock(&opens).insert(
            number,
            Open {
                client: None,
                abort,
            },
        );
    }

    fn cut(&self, client: Option<&str>) -> usize {
        let mut opens = lock(&self.opens);
        let before = opens.len();
        opens.retain(|_, open| {
            let is_meant = client.is_none_or(|client| open.client.as_deref() == Some(client));
            if is_meant {
                open.abort.abort();
            }
            !is_meant
        });
        before - opens.len()
    }

    async fn stop(&mut self) {
        self.listener = None;
        lock(&self.opens).clear();
        self.connections.shutdown().await;
    }

    async fn start(&mut self) -> std::io::Result<()> {
        if self.listener.is_none() {
            self.listener = Some(TcpListener::bind(self.address).await?);
        }
        Ok(())
    }
}

async fn accept(listener: Option<&TcpListener>) -> std::io::Result<TcpStream> {
    match listener {
        Some(listener) => match listener.accept().await {
            Ok((stream, _)) => Ok(stream),
            Err(error) => {
                // Out of file descriptors, most likely: give it time to pass.
                tokio::time::sleep(TICK).await;
                Err(error)
            }
        },
        None => std::future::pending().await,
    }
}
