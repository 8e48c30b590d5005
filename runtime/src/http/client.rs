//! The HTTP client of whoever asks nodes.

use std::net::SocketAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tanist_cluster::control::Join;
use ureq::http::StatusCode;
use ureq::{Agent, Body, http::Response};

use super::APP_HEADER;
use super::question::{Part, Question, Refusal};
use super::status::NodeStatus;
use crate::node::reachable;

/// How long another node may take to take a call, and to answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long it may take to say how it is: one that is frozen holds nobody up.
const STATUS_WITHIN: Duration = Duration::from_millis(600);
/// How long it may take for its part of an answer when another can be asked in its place, and when a copy is as good anyway.
const REPLACED_AFTER: Duration = Duration::from_secs(1);
const COPY_AFTER: Duration = Duration::from_millis(250);
/// The largest answer of another node.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// One that gives up after `patience`, and takes every answer for one, whatever its status.
pub(crate) fn patient(patience: Duration) -> Agent {
    let config = Agent::config_builder()
        .timeout_connect(Some(CONNECT_WITHIN.min(patience)))
        .timeout_global(Some(patience))
        .http_status_as_error(false)
        .build();
    config.into()
}

/// Whether who answered belongs to `app`.
pub(crate) fn is_of_app(response: &Response<Body>, app: &str) -> bool {
    let header = response.headers().get(APP_HEADER);
    header.and_then(|header| header.to_str().ok()) == Some(app)
}

/// How long a node is waited for: one that is frozen takes calls, and never answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Nobody else can answer.
    Last,
    /// Others can.
    OthersLeft,
    /// So can copies, which will do.
    CopiesLeft,
}

/// Asks the other nodes of an app. Blocks.
pub(crate) struct Peers {
    app: String,
    /// The machine that this is, on whose loopback others may be.
    machine: Option<String>,
    agent: Agent,
}

impl Peers {
    /// Of a node of `app` on `machine`.
    pub(crate) fn new(app: &str, machine: Option<String>) -> Self {
        Self {
            app: app.to_owned(),
            machine,
            agent: patient(ANSWER_WITHIN),
        }
    }

    /// What the node of `join` has of the answer to `question`; else why that is not known.
    pub(super) fn part(
        &self,
        join: &Join,
        question: &Question,
        patience: Patience,
    ) -> Result<Part, String> {
        let url = self.url(join, "part")?;
        let within = match patience {
            Patience::Last => ANSWER_WITHIN,
            Patience::OthersLeft => REPLACED_AFTER,
            Patience::CopiesLeft => COPY_AFTER,
        };
        let request = self.agent.post(url).config().timeout_global(Some(within));
        self.read(request.build().send_json(question))
    }

    /// What the node of `join` says of itself.
    pub(super) fn status(&self, join: &Join) -> Result<NodeStatus, String> {
        let url = self.url(join, "status")?;
        let request = self.agent.get(url).config();
        let request = request.timeout_global(Some(STATUS_WITHIN)).build();
        let status: NodeStatus = self.read(request.call())?;
        match status.node == join.node {
            true => Ok(status),
            false => Err(format!("node {} has its address by now", status.node)),
        }
    }

    fn url(&self, join: &Join, path: &str) -> Result<String, String> {
        let address = reachable(join, self.machine.as_deref());
        let there_is = || match &join.http {
            Some(address) => format!(
                "it answers at {address} on another machine, which cannot be reached from here: ask there"
            ),
            None => "it answers nowhere".to_owned(),
        };
        Ok(format!("http://{}/{path}", address.ok_or_else(there_is)?))
    }

    fn read<T: DeserializeOwned>(
        &self,
        answered: Result<Response<Body>, ureq::Error>,
    ) -> Result<T, String> {
        let mut response = answered.map_err(|error| match error {
            ureq::Error::Timeout(_) => "no answer in time: it may be frozen".to_owned(),
            error => format!("no answer ({error})"),
        })?;
        if !is_of_app(&response, &self.app) {
            return Err("somebody else has its address by now".to_owned());
        }
        let status = response.status();
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES);
        let odd = |error| format!("its answer cannot be understood ({error})");
        match status {
            StatusCode::OK => body.read_json().map_err(odd),
            _ => Err(body.read_json::<Refusal>().map_err(odd)?.error),
        }
    }
}

/// What whoever is at `url` answers; none if nobody does in time, or another than a node of `app`: its node is gone then, and
/// the port was given away.
pub(crate) fn ask_app(agent: &Agent, app: &str, url: &str) -> Option<Response<Body>> {
    let response = agent.get(url).call().ok()?;
    is_of_app(&response, app).then_some(response)
}

/// What the node at `address` says of itself.
pub(crate) fn ask_status(agent: &Agent, app: &str, address: SocketAddr) -> Option<NodeStatus> {
    let mut response = ask_app(agent, app, &format!("http://{address}/status"))?;
    response.body_mut().read_json().ok()
}
