//! A disk that fills up: a small tmpfs in a mount namespace of a test's own, which needs no privileges on most systems and
//! goes away with the process. The unit tests of the store have this file, too, by its path.

use std::path::Path;
use std::process::Command;

/// How large it is.
const SIZE: &str = "48m";

/// A command that mounts a small disk on `dir` and goes on with the words that follow. None, which is said, where the system
/// lets nobody do so.
#[allow(clippy::print_stderr, reason = "whoever runs the tests has to know")]
pub fn on_small_disk(dir: &Path) -> Option<Command> {
    let command = || {
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-c"])
            .arg(format!(
                "mount -t tmpfs -o size={SIZE} tmpfs \"$0\" && exec \"$@\""
            ))
            .arg(dir);
        command
    };
    let mounted = command().arg("true").output();
    if mounted.is_ok_and(|output| output.status.success()) {
        return Some(command());
    }
    eprintln!(
        "SKIPPED: this system lets nobody mount a small disk (unshare --map-root-user --mount)"
    );
    None
}
