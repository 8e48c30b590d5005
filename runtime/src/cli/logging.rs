//! Where the log goes: to stderr, or to a file while something else is shown in the terminal; that of actix and of
//! librdkafka included.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::error::{Error, Result};
use crate::settings::Settings;

/// Begins to log, to the end of `file` if there is one; a service tells what happens, other commands only what goes wrong.
pub(super) fn start(settings: &Settings, is_service: bool, file: Option<&Path>) -> Result<()> {
    let usual = if is_service {
        // actix says at each start and stop what our own lines say, too; and calls it an error of ours if somebody does not
        // speak HTTP.
        "info,actix_server=warn,actix_web=warn,actix_http=off"
    } else {
        "warn"
    };
    let filter = settings.log.as_deref().unwrap_or(usual);
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new(usual));
    let writer = match file {
        Some(path) => BoxMakeWriter::new(Arc::new(open(path)?)),
        None => BoxMakeWriter::new(io::stderr),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(file.is_none() && io::stderr().is_terminal())
        .with_writer(writer)
        .finish();
    // Fails if the program has set one up itself: then that is what it wants.
    let _ = subscriber.try_init();
    Ok(())
}

fn open(path: &Path) -> Result<File> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let file = File::options().create(true).append(true).open(path);
    file.map_err(|error| Error::Usage(format!("cannot write {}: {error}", path.display())))
}
