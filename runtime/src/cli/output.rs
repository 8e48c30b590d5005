//! [`Output`]: the answer of a command, on stdout: for people, or as JSON.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::error::{Error, Result};

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read it.
    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// Whether somebody looks at it.
    pub(super) fn is_terminal(self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// A line, or what is said in its place to programs.
    pub(super) fn answer(self, json: &impl Serialize, line: impl FnOnce() -> String) -> Result<()> {
        if !self.json {
            return self.text(&line());
        }
        let json = serde_json::to_string(json).map_err(Error::new)?;
        self.text(&json)
    }

    /// Text as it is, and the end of the line.
    pub(super) fn text(self, text: &str) -> Result<()> {
        let mut stdout = io::stdout().lock();
        let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
        match written {
            // Whoever read it has seen enough (`| head`).
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            written => Ok(written?),
        }
    }

    /// Progress, for people who wait: on stderr.
    pub(super) fn progress(self, text: &str) {
        // If nobody can read it, nothing is lost.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// What is to be known of an answer, if anything: on stderr.
    pub(super) fn warn(self, warning: Option<String>) {
        if let Some(warning) = warning {
            self.progress(&format!("warning: {warning}"));
        }
    }

    /// Why the command has failed.
    pub(super) fn error(error: &Error) {
        // If nobody can read it, the exit code says it still.
        let _ = writeln!(io::stderr(), "error: {error}");
    }
}
