//! The broker as a program starts it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::core::Settings;
use crate::faults::Faults;
use crate::hub::{Hub, Mode};
use crate::port::BrokerPort;
use crate::wire::server::{Command, Server};

/// How to start a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to listen; port 0 takes any free one. Anybody who reaches the address may do anything.
    pub listen: SocketAddr,
    /// What it behaves like.
    pub settings: Settings,
}

impl Default for Config {
    /// Any free port of this machine alone.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            settings: Settings::default(),
        }
    }
}

/// Why a broker could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address is not to be had.
    #[error(
        "cannot listen on {address}: {cause}; choose another address, or port 0 for any free port"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The broker's thread is not to be had.
    #[error("cannot start the broker's thread: {0}")]
    Thread(std::io::Error),
}

/// A broker that speaks Kafka's protocol, on a thread of its own; it ends when this is dropped.
///
/// ```
/// use tanist_broker::{Config, EmbeddedBroker};
///
/// let broker = EmbeddedBroker::start(Config::default())?;
/// assert_ne!(broker.address().port(), 0); // a client's `bootstrap.servers`
/// # Ok::<(), tanist_broker::StartError>(())
/// ```
#[derive(Debug)]
pub struct EmbeddedBroker {
    address: SocketAddr,
    hub: Arc<Hub>,
    commands: UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Starts a broker and returns once it listens.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let hub = Arc::new(Hub::new(config.settings));
        let (commands, orders) = unbounded_channel();
        let (started, start) = channel();
        let its_hub = Arc::clone(&hub);
        let thread = std::thread::Builder::new()
            .name("tanist-broker".to_owned())
            .spawn(move || {
                let runtime = match tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                {
                    Ok(runtime) => runtime,
                    Err(error) => return report(&started, Err(StartError::Thread(error))),
                };
                runtime.block_on(async {
                    match listen(config.listen).await {
                        Ok((listener, address)) => {
                            report(&started, Ok(address));
                            Server::new(its_hub, listener, address).run(orders).await;
                        }
                        Err(cause) => {
                            report(
                                &started,
                                Err(StartError::Listen {
                                    address: config.listen,
                                    cause,
                                }),
                            );
                        }
                    }
                });
            })
            .map_err(StartError::Thread)?;
        let address = start.recv().unwrap_or_else(|_| {
            Err(StartError::Thread(std::io::Error::other(
                "it ended before it said a word",
            )))
        })?;
        Ok(Self {
            address,
            hub,
            commands,
            thread: Some(thread),
        })
    }

    /// Where it is reached.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The faults that a test orders.
    pub fn faults(&self) -> &Faults {
        &self.hub.faults
    }

    /// The same broker for calls from this process. Its callers name the time, which must go with the wall clock, in
    /// milliseconds since 1970: the broker's thread reads that.
    pub fn in_process(&self) -> BrokerPort {
        BrokerPort::of(Arc::clone(&self.hub))
    }

    /// Like a process that is held by a debugger: connections stay open and new ones are taken, but nothing is done or
    /// answered.
    pub fn pause(&self) {
        self.hub.set_mode(Mode::Paused);
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.hub.set_mode(Mode::Running);
    }

    /// Closes all connections and refuses new ones. What is stored stays, open transactions included.
    pub fn stop(&self) {
        self.hub.set_mode(Mode::Stopped);
        self.command(Command::Stop);
    }

    /// Takes connections again, at the same address.
    pub fn restart(&self) -> Result<(), StartError> {
        let answer = self.command(Command::Start);
        let listening =
            answer.unwrap_or_else(|| Err(std::io::Error::other("the broker's thread has ended")));
        listening.map_err(|cause| StartError::Listen {
            address: self.address,
            cause,
        })?;
        self.hub.set_mode(Mode::Running);
        Ok(())
    }

    /// Cuts the open connections of the client with this id, or of all; returns how many there were. They may come back
    /// at once.
    pub fn cut_connections(&self, client: Option<&str>) -> usize {
        let client = client.map(str::to_owned);
        self.command(|done| Command::Cut(client, done)).unwrap_or(0)
    }

    /// Has the broker's thread do something and waits until it is done; none if the thread has ended.
    fn command<R>(&self, command: impl FnOnce(Sender<R>) -> Command) -> Option<R> {
        let (done, answer) = channel();
        self.commands.send(command(done)).ok()?;
        answer.recv().ok()
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Shutdown);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the broker's thread panicked");
        }
    }
}

fn report<R>(to: &Sender<R>, what: R) {
    // The other side waits for exactly this.
    let _ = to.send(what);
}

/// Listens, and says under which address a client of this machine finds it.
async fn listen(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let mut address = listener.local_addr()?;
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    Ok((listener, address))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_taken_address_is_refused_by_name() {
        let broker = EmbeddedBroker::start(Config::default()).unwrap();
        let config = Config {
            listen: broker.address(),
            ..Config::default()
        };
        let refused = EmbeddedBroker::start(config).unwrap_err();
        assert!(
            refused.to_string().contains(&broker.address().to_string()),
            "{refused}"
        );
    }

    #[test]
    fn a_dropped_broker_has_gone() {
        let broker = EmbeddedBroker::start(Config::default()).unwrap();
        let address = broker.address();
        let _open = TcpStream::connect(address).unwrap();
        drop(broker);
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_stopped_broker_listens_at_its_address_again() {
        let broker = EmbeddedBroker::start(Config::default()).unwrap();
        broker.stop();
        assert!(TcpStream::connect(broker.address()).is_err());
        broker.restart().unwrap();
        broker.restart().unwrap();
        assert!(TcpStream::connect(broker.address()).is_ok());
    }

    #[tokio::test]
    async fn an_asynchronous_program_can_start_and_end_one() {
        let broker = EmbeddedBroker::start(Config::default()).unwrap();
        broker.stop();
        broker.restart().unwrap();
    }
}
