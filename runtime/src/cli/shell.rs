//! The runtime that commands run on.

/// Runs a command to its end. Nodes start their threads from here.
pub(super) fn run<T>(command: impl Future<Output = T>) -> T {
    actix::System::new().block_on(command)
}
