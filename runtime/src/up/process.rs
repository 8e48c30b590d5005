//! [`NodeProcess`]: a node as a child process. It ends when this is dropped.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::order::Exit;

/// How much of a log is looked at for the last words of a process.
const TAIL_BYTES: u64 = 8 << 10;
/// How many lines of it are shown.
const TAIL_LINES: usize = 5;

/// Above this, a log is begun anew.
const MAX_LOG_BYTES: u64 = 16 << 20;

/// See the module.
pub(super) struct NodeProcess {
    /// Its standard input is a pipe that is never written to: where there is no parent-death signal, it notices by its end
    /// that we are gone.
    child: Child,
    log: PathBuf,
    /// Where in the log its own lines begin.
    began: u64,
}

impl NodeProcess {
    /// Starts `program`; what it writes goes to the end of `log`.
    pub(super) fn spawn(program: &Path, args: &[OsString], log: &Path) -> io::Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let began = out.metadata()?.len();
        let err = out.try_clone()?;
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(err)
            // A Ctrl-C of the terminal is for us alone: we ask the nodes to stop.
            .process_group(0)
            .spawn()?;
        Ok(Self {
            child,
            log: log.to_owned(),
            began,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its id is still its own: it is given back only when its end was asked for.
    pub(super) fn send(&self, signal: Signal) -> nix::Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)
    }

    /// Begins its log anew if there is much in it, which then is in a file beside it (`.old`), in place of what was there
    /// before. What the process writes between the two is lost.
    pub(super) fn bound_log(&mut self) -> io::Result<()> {
        let log = File::options().write(true).open(&self.log)?;
        if log.metadata()?.len() > MAX_LOG_BYTES {
            fs::copy(&self.log, self.log.with_extension("log.old"))?;
            // It appends: so it goes on at the new end.
            log.set_len(0)?;
            self.began = 0;
        }
        Ok(())
    }

    /// How it has ended, if it has.
    pub(super) fn ended(&mut self) -> io::Result<Option<Exit>> {
        Ok(self.child.try_wait()?.map(exit))
    }

    /// The last lines that it has written.
    pub(super) fn last_lines(&self) -> Vec<String> {
        let read = || -> io::Result<Vec<u8>> {
            let mut log = File::open(&self.log)?;
            let from = log.metadata()?.len().saturating_sub(TAIL_BYTES);
            log.seek(SeekFrom::Start(from.max(self.began)))?;
            let mut tail = Vec::new();
            log.take(TAIL_BYTES).read_to_end(&mut tail)?;
            Ok(tail)
        };
        // Without its log, its exit code is all that is known.
        let tail = read().unwrap_or_default();
        let tail = String::from_utf8_lossy(&tail);
        let lines: Vec<&str> = tail.lines().collect();
        let last = lines.len().saturating_sub(TAIL_LINES);
        lines[last..].iter().map(|&line| line.to_owned()).collect()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}
