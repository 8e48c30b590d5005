//! Where the log goes: to stderr, that of actix and of librdkafka included.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::Settings;

/// Begins to log; a service tells what happens, other commands only what goes wrong.
pub(super) fn start(settings: &Settings, is_service: bool) {
    let usual = if is_service {
        // actix says at each start and stop what our own lines say, too.
        "info,actix_server=warn,actix_web=warn"
    } else {
        "warn"
    };
    let filter = settings.log.as_deref().unwrap_or(usual);
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new(usual));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .finish();
    // Fails if the program has set one up itself: then that is what it wants.
    let _ = subscriber.try_init();
}
