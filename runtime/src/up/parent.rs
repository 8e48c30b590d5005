//! How a node ends with the process that started it, however that ends: also when it is killed, and also when the node
//! itself is frozen.

use std::io::{self, Read};
use std::thread;

use nix::sys::signal::{Signal, raise};
use nix::unistd::Pid;

use crate::error::{Error, Result};

/// To be called at the start of a node whose parent is process `parent`.
pub(crate) fn end_with(parent: u32) -> Result<()> {
    // The kernel's signal reaches a frozen process, too. It comes when the parent's *thread* ends that has started us:
    // a local cluster stays on one thread.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(Error::new)?;
    // From here on it comes; if the parent was gone before, it does not.
    if Pid::parent().as_raw().cast_unsigned() != parent {
        return Err(Error::Failed(format!(
            "process {parent}, which has started this node, is gone"
        )));
    }
    // Elsewhere: nothing is ever written to our standard input, and it ends with who holds its other end.
    thread::Builder::new()
        .name("tanist-parent".to_owned())
        .spawn(|| {
            let mut input = io::stdin().lock();
            while input.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
            // As the kernel would. It cannot fail for this process itself.
            let _ = raise(Signal::SIGKILL);
        })?;
    Ok(())
}
