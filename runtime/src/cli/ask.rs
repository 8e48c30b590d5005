//! [`Asked`]: asks the node that runs on this machine.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::Body;
use ureq::http::{Response, StatusCode};

use crate::error::{Error, Result};
use crate::http::{APP_HEADER, AddressFile, Freshness, Refusal, from_here, is_of_app, patient};
use crate::settings::Settings;

/// How long an answer may take. Those that ask the broker in turn wait a second for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The parameter by which a copy will do.
pub(super) const STALE_OK: &str = "stale-ok";

/// How long an order may take: a node that stops hands its shards over first.
const ORDER_PATIENCE: Duration = Duration::from_secs(60);

/// A node to ask.
pub(super) struct Asked {
    app: String,
    address: SocketAddr,
    agent: ureq::Agent,
}

/// An answer, or that there is none for this key.
pub(super) enum Answer<T> {
    There(T),
    NoKey(Freshness),
}

impl Asked {
    /// The node that the settings name: by its fixed port, or by the file in its data directory.
    pub(super) fn find(settings: &Settings) -> Result<Self> {
        let address = match settings.http.port() {
            0 => by_file(settings)?,
            _ => from_here(settings.http),
        };
        Ok(Self::at(settings.app.clone(), address))
    }

    /// The node of `app` at this address.
    pub(super) fn at(app: String, address: SocketAddr) -> Self {
        Self {
            app,
            address,
            agent: patient(PATIENCE),
        }
    }

    /// Asks for `path`, whose parts are escaped, with these parameters.
    pub(super) fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        parameters: &[(&str, String)],
    ) -> Result<Answer<T>> {
        let path: Vec<String> = path.iter().map(|part| escape(part)).collect();
        let url = format!("http://{}/{}", self.address, path.join("/"));
        let request = parameters
            .iter()
            .fold(self.agent.get(&url), |request, (name, value)| {
                request.query(*name, value)
            });
        self.read(request.call())
    }

    /// The same, where no key is asked for.
    pub(super) fn answer<T: DeserializeOwned>(
        &self,
        path: &[&str],
        parameters: &[(&str, String)],
    ) -> Result<T> {
        self.there(self.get(path, parameters)?)
    }

    /// Gives an order to a local cluster, and waits until it is carried out.
    pub(super) fn order<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T> {
        let path: Vec<String> = path.iter().map(|part| escape(part)).collect();
        let url = format!("http://{}/{}", self.address, path.join("/"));
        let request = patient(ORDER_PATIENCE).post(&url);
        let answered = request.header(APP_HEADER, &self.app).send_empty();
        self.there(self.read(answered)?)
    }

    fn there<T>(&self, answer: Answer<T>) -> Result<T> {
        match answer {
            Answer::There(answer) => Ok(answer),
            Answer::NoKey(_) => Err(self.odd(&"it was not asked for a key")),
        }
    }

    fn read<T: DeserializeOwned>(
        &self,
        answered: Result<Response<Body>, ureq::Error>,
    ) -> Result<Answer<T>> {
        let mut response = answered.map_err(|error| self.gone(&error))?;
        if !is_of_app(&response, &self.app) {
            return Err(Error::NoNode(format!(
                "who answers at {} is no node of app {}: is the one that you mean running?",
                self.address, self.app
            )));
        }
        let status = response.status();
        let body = response.body_mut();
        if status == StatusCode::OK {
            let answer = body.read_json().map_err(|error| self.odd(&error))?;
            return Ok(Answer::There(answer));
        }
        let refusal: Refusal = body.read_json().map_err(|error| self.odd(&error))?;
        match refusal.kind.as_str() {
            "no_key" => Ok(Answer::NoKey(refusal.freshness)),
            "no_path" => Err(Error::NoNode(format!(
                "who answers at {} is a single node, and orders go to an `up`: start one, or name its data directory \
                 with --data-dir",
                self.address
            ))),
            "no_table" | "no_node" | "bad_request" => Err(Error::Usage(refusal.error)),
            _ => Err(Error::Failed(refusal.error)),
        }
    }

    fn gone(&self, error: &ureq::Error) -> Error {
        Error::NoNode(format!(
            "no node of app {} answers at {} ({error}): is it running?",
            self.app, self.address
        ))
    }

    fn odd(&self, error: &dyn Display) -> Error {
        Error::Failed(format!(
            "the answer of the node at {} cannot be understood: {error}",
            self.address
        ))
    }
}

fn by_file(settings: &Settings) -> Result<SocketAddr> {
    AddressFile::read(&settings.data_dir).ok_or_else(|| {
        Error::NoNode(format!(
            "no node of app {} is running here ({} is not there): start one with `worker` or several with `up`, or name the data directory \
             of the one that you mean with --data-dir",
            settings.app,
            AddressFile::path(&settings.data_dir).display()
        ))
    })
}

/// Keeps what is safe in a path, and writes every other byte as `%` and two digits.
fn escape(part: &str) -> String {
    let mut escaped = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'~' => {
                escaped.push(byte.into())
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
