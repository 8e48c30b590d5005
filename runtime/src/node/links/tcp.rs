//! [`TcpLinks`]: a connection to the HTTP server of each process that is watched. Its answer to [`PATH`] names its
//! incarnation, and goes on for as long as the process lives.

use std::fs;
use std::io;
use std::time::Duration;

use tanist_actors::port::PortFuture;
use tanist_cluster::admission::Peer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::Links;

/// Where a process says that it is there.
pub(crate) const PATH: &str = "/alive";
/// The header that names its incarnation.
pub(crate) const INCARNATION_HEADER: &str = "tanist-incarnation";

/// How long [`Links::ask`] takes at most.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries that said nothing: at first, and at most.
const PAUSES: std::ops::Range<Duration> = Duration::from_millis(1)..Duration::from_secs(1);
/// No head of an answer is longer.
const MAX_HEAD_BYTES: usize = 4096;

/// See the module.
pub struct TcpLinks {
    incarnation: watch::Sender<Uuid>,
}

/// What a connection says of a process.
enum Found {
    There(TcpStream),
    Gone,
    Unclear,
}

impl TcpLinks {
    /// `incarnation` is what the server of this process tells.
    pub fn new(incarnation: watch::Sender<Uuid>) -> Self {
        Self { incarnation }
    }
}

impl Links for TcpLinks {
    fn answer_as(&self, incarnation: Uuid) {
        self.incarnation.send_replace(incarnation);
    }

    fn gone<'a>(&'a self, address: &'a str, incarnation: Uuid) -> PortFuture<'a, ()> {
        Box::pin(async move {
            let mut pause = PAUSES.start;
            loop {
                match call(address, incarnation).await {
                    Found::Gone => return,
                    Found::There(stream) => {
                        let mut broken = std::pin::pin!(until_broken(stream));
                        if timeout(PAUSES.end, &mut broken).await.is_err() {
                            broken.await;
                            pause = PAUSES.start;
                        }
                    }
                    Found::Unclear => {}
                }
                sleep(pause).await;
                pause = (pause * 2).min(PAUSES.end);
            }
        })
    }

    fn ask<'a>(&'a self, address: &'a str, incarnation: Uuid) -> PortFuture<'a, Peer> {
        let ask = async move {
            let mut pause = PAUSES.start;
            loop {
                match call(address, incarnation).await {
                    Found::There(_) => return Peer::Alive,
                    Found::Gone => return Peer::Gone,
                    Found::Unclear => sleep(pause).await,
                }
                pause *= 2;
            }
        };
        Box::pin(async move { timeout(PATIENCE, ask).await.unwrap_or(Peer::Unknown) })
    }
}

async fn call(address: &str, incarnation: Uuid) -> Found {
    match answer(address).await {
        Ok((stream, Some(found))) if found == incarnation => Found::There(stream),
        // Another process has the port by now.
        Ok(_) => Found::Gone,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Found::Gone,
        Err(_) => Found::Unclear,
    }
}

/// A connection, and which incarnation answers.
async fn answer(address: &str) -> io::Result<(TcpStream, Option<Uuid>)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {PATH} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let mut buffer = [0; 512];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read(&mut buffer).await?;
        if read == 0 || head.len() > MAX_HEAD_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&buffer[..read]);
    }
    Ok((stream, incarnation_in(&String::from_utf8_lossy(&head))))
}

fn incarnation_in(head: &str) -> Option<Uuid> {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = headers.find(|(name, _)| name.eq_ignore_ascii_case(INCARNATION_HEADER))?;
    value.trim().parse().ok()
}

async fn until_broken(mut stream: TcpStream) {
    let mut buffer = [0; 512];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// Names the machine, as far as its loopback reaches: processes in different containers of one machine cannot reach each
/// other there. `None` where that cannot be told.
pub fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let network = fs::read_link("/proc/self/ns/net").ok()?;
    Some(format!("{} {}", boot.trim(), network.display()))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A process that answers one call as `incarnation`, and then holds the connection.
    async fn answers(listener: &TcpListener, incarnation: Uuid) -> TcpStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 512];
        let read = stream.read(&mut request).await.unwrap();
        assert!(request[..read].starts_with(b"GET /alive HTTP/1.1\r\n"));
        let head = format!("HTTP/1.1 200 OK\r\nTanist-Incarnation: {incarnation}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    fn links() -> TcpLinks {
        TcpLinks::new(watch::Sender::new(Uuid::nil()))
    }

    #[tokio::test]
    async fn a_process_is_gone_when_its_connection_breaks_and_a_new_one_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let incarnation = Uuid::from_u128(7);
        let links = links();
        let mut gone = links.gone(&address, incarnation);
        let process = async {
            let first = answers(&listener, incarnation).await;
            drop(first);
            answers(&listener, incarnation).await
        };
        let second = tokio::select! {
            () = &mut gone => panic!("a connection that breaks alone says nothing"),
            second = process => second,
        };
        drop((second, listener));
        gone.await;
        assert_eq!(links.ask(&address, incarnation).await, Peer::Gone);
    }

    #[tokio::test]
    async fn another_process_at_the_address_is_another_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let [ours, other] = [1, 2].map(Uuid::from_u128);
        let links = links();
        let (found, _held) = tokio::join!(links.ask(&address, ours), answers(&listener, ours));
        assert_eq!(found, Peer::Alive);
        let ((), _held) = tokio::join!(links.gone(&address, ours), answers(&listener, other));
    }

    #[tokio::test]
    async fn a_process_that_accepts_and_is_silent_may_be_frozen() {
        // The system accepts for it.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert_eq!(links().ask(&address, Uuid::nil()).await, Peer::Unknown);
    }
}
