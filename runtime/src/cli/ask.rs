//! [`Asked`]: asks the node that runs on this machine.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::http::StatusCode;

use super::launch::address_file;
use crate::error::{Error, Result};
use crate::http::APP_HEADER;
use crate::settings::Settings;

/// How long an answer may take. Those that ask the broker in turn wait a second for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A node to ask.
pub(super) struct Asked {
    app: String,
    address: SocketAddr,
    agent: ureq::Agent,
}

/// Why a node did not answer what it was asked.
#[derive(Deserialize)]
struct Refusal {
    kind: String,
    error: String,
}

/// An answer, or that there is none for this key.
pub(super) enum Answer<T> {
    There(T),
    NoKey,
}

impl Asked {
    /// The node that the settings name: by its fixed port, or by the file in its data directory.
    pub(super) fn find(settings: &Settings) -> Result<Self> {
        let address = match settings.http.port() {
            0 => by_file(settings)?,
            _ => settings.http,
        };
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .build();
        Ok(Self {
            app: settings.app.clone(),
            address,
            agent: config.into(),
        })
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
        let mut response = request.call().map_err(|error| self.gone(&error))?;
        let app = response.headers().get(APP_HEADER);
        if app.and_then(|app| app.to_str().ok()) != Some(&self.app) {
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
            "no_key" => Ok(Answer::NoKey),
            "no_table" | "bad_request" => Err(Error::Usage(refusal.error)),
            _ => Err(Error::Failed(refusal.error)),
        }
    }

    fn gone(&self, error: &ureq::Error) -> Error {
        Error::NoNode(format!(
            "no node of app {} answers at {} ({error}): is it running?",
            self.app, self.address
        ))
    }

    fn odd(&self, error: &ureq::Error) -> Error {
        Error::Failed(format!(
            "the answer of the node at {} cannot be understood: {error}",
            self.address
        ))
    }
}

fn by_file(settings: &Settings) -> Result<SocketAddr> {
    let path = address_file(&settings.data_dir);
    let text = fs::read_to_string(&path).ok();
    let address = text.and_then(|text| text.trim().parse().ok());
    address.ok_or_else(|| {
        Error::NoNode(format!(
            "no node of app {} is running here ({} is not there): start one with `worker`, or name the data directory \
             of the one that you mean with --data-dir",
            settings.app,
            path.display()
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
