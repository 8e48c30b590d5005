//! Ctrl-C and SIGTERM: the first is a wish to stop in an orderly way, the second ends the process at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::Result;
use crate::node::Wish;
use crate::up::restore;

/// Listens from now on.
pub(super) fn listen() -> Result<watch::Receiver<Wish>> {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let (wish, wishes) = watch::channel(Wish::Run);
    tokio::spawn(async move {
        let mut come = async || {
            // As a shell counts processes that a signal has ended.
            tokio::select! {
                _ = interrupt.recv() => 128 + 2,
                _ = terminate.recv() => 128 + 15,
            }
        };
        come().await;
        tracing::info!("stopping: finishing what is in hand; once more ends the process at once");
        // An error means that the command has ended by itself.
        let _ = wish.send(Wish::Stop);
        let code = come().await;
        restore();
        std::process::exit(code);
    });
    Ok(wishes)
}
