//! [`Connection`]: a connection to a broker of our own, without librdkafka.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    RequestHeader, ResponseHeader, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer,
};

use super::clock::Deadline;
use super::security::{Login, Security, Stream, Tls};

/// How long one address may take to accept a connection: that of a machine that is gone says nothing at all.
const CONNECT: Duration = Duration::from_secs(1);
const SASL_HANDSHAKE: i16 = 1;
const SASL_AUTHENTICATE: i16 = 1;
/// No answer to these requests is larger.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Where a broker listens.
pub(super) type Address = (String, u16);

/// A connection to a broker on which requests are answered in their order.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    next_id: i32,
}

impl Connection {
    pub(super) fn to(
        address: &Address,
        security: &Security,
        deadline: Deadline,
    ) -> io::Result<Self> {
        let stream = connect(address, deadline)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(at_least_a_little(deadline)))?;
        stream.set_write_timeout(Some(at_least_a_little(deadline)))?;
        let stream = match &security.tls {
            Some(tls) => secured(tls, stream, &address.0)?,
            None => Box::new(stream),
        };
        let mut connection = Self { stream, next_id: 0 };
        if let Some(login) = &security.login {
            connection.log_in(login)?;
        }
        Ok(connection)
    }

    fn log_in(&mut self, login: &Login) -> io::Result<()> {
        let mechanism = StrBytes::from_static_str("PLAIN");
        let handshake = SaslHandshakeRequest::default().with_mechanism(mechanism);
        self.send(&handshake, SASL_HANDSHAKE)?;
        let answer = self.receive::<SaslHandshakeRequest>(SASL_HANDSHAKE)?;
        if let Some(error) = ResponseError::try_from_code(answer.error_code) {
            return Err(io::Error::other(format!("the login: {error:?}")));
        }
        let proof = format!("\0{}\0{}", login.username, login.password);
        let authenticate = SaslAuthenticateRequest::default().with_auth_bytes(proof.into());
        self.send(&authenticate, SASL_AUTHENTICATE)?;
        let answer = self.receive::<SaslAuthenticateRequest>(SASL_AUTHENTICATE)?;
        let Some(error) = ResponseError::try_from_code(answer.error_code) else {
            return Ok(());
        };
        let said = answer.error_message.unwrap_or_default();
        Err(io::Error::other(format!("the login: {error:?}: {said}")))
    }

    pub(super) fn send<R: Request + Encodable>(
        &mut self,
        request: &R,
        version: i16,
    ) -> io::Result<()> {
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.next_id)
            .with_client_id(Some(StrBytes::from_static_str("tanist-fence")));
        self.next_id += 1;
        let mut body = BytesMut::new();
        encode_request_header_into_buffer(&mut body, &header).map_err(io::Error::other)?;
        request
            .encode(&mut body, version)
            .map_err(io::Error::other)?;
        let mut frame = (body.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(&body);
        self.stream.write_all(&frame)
    }

    /// The answer to the first request that has not been answered yet.
    pub(super) fn receive<R: Request>(&mut self, version: i16) -> io::Result<R::Response> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let size = u32::from_be_bytes(size) as usize;
        if size > MAX_ANSWER_BYTES {
            return Err(io::Error::other(format!(
                "an answer of {size} bytes: no Kafka broker?"
            )));
        }
        let mut frame = BytesMut::zeroed(size);
        self.stream.read_exact(&mut frame)?;
        let header_version = R::Response::header_version(version);
        ResponseHeader::decode(&mut frame, header_version).map_err(io::Error::other)?;
        let answer = R::Response::decode(&mut frame, version).map_err(io::Error::other)?;
        match frame.remaining() {
            0 => Ok(answer),
            more => Err(io::Error::other(format!(
                "an answer with {more} bytes too many"
            ))),
        }
    }
}

fn connect((host, port): &Address, deadline: Deadline) -> io::Result<TcpStream> {
    let mut last = io::Error::other(format!("{host} has no address"));
    for address in (host.as_str(), *port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, at_least_a_little(deadline).min(CONNECT)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(feature = "tls")]
fn secured(tls: &Tls, stream: TcpStream, host: &str) -> io::Result<Box<dyn Stream>> {
    Ok(Box::new(tls.on(stream, host)?))
}

/// Such settings are refused, so that this is not reached.
#[cfg(not(feature = "tls"))]
fn secured(_: &Tls, _: TcpStream, _: &str) -> io::Result<Box<dyn Stream>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A socket takes no time-out of zero.
pub(super) fn at_least_a_little(deadline: Deadline) -> Duration {
    deadline.remaining().max(Duration::from_millis(1))
}

/// Reads `host:port`, with or without a protocol before it, as librdkafka does.
pub(super) fn address(broker: &str) -> io::Result<Address> {
    let broker = broker.trim();
    let broker = broker.split_once("://").map_or(broker, |(_, rest)| rest);
    let (host, port) = broker.rsplit_once(':').unwrap_or((broker, "9092"));
    let port = port
        .parse()
        .map_err(|_| io::Error::other(format!("{broker}: {port:?} is not a port")))?;
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_librdkafka_reads_it() {
        for (text, host, port) in [
            ("localhost:9092", "localhost", 9092),
            (" PLAINTEXT://k1.example:19092", "k1.example", 19092),
            ("[::1]:9093", "::1", 9093),
            ("kafka", "kafka", 9092),
        ] {
            assert_eq!(address(text).unwrap(), (host.to_owned(), port), "{text}");
        }
        assert!(address("localhost:no").is_err());
    }
}
