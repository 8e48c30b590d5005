//! The HTTP client of whoever asks nodes.

use std::time::Duration;

use ureq::{Agent, Body, http::Response};

use super::APP_HEADER;

/// One that gives up after `patience`, and takes every answer for one, whatever its status.
pub(crate) fn patient(patience: Duration) -> Agent {
    let config = Agent::config_builder()
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
