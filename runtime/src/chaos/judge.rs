//! [`Judge`]: the independent reader: a program that shares no code with the app, which reads what the app has written
//! while it happens, and judges it in the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::pauses::Gap;
use crate::error::{Error, Result};

/// See the module. Ends when it is dropped.
pub(crate) struct Judge {
    program: PathBuf,
    child: Child,
}

/// What it has found: an object of JSON, its only output.
#[derive(Debug, Deserialize)]
pub(crate) struct Judgement {
    /// Whether all that it has read is as it has to be.
    pub(crate) sound: bool,
    /// How many inputs are accounted for.
    pub(crate) inputs: u64,
    /// What it has found, for people.
    pub(crate) text: String,
    /// When there was nothing to read of a partition.
    pub(crate) gaps: Vec<Gap>,
    /// What the app's tables have to hold now: by table and key.
    #[serde(default)]
    pub(crate) tables: BTreeMap<String, BTreeMap<String, Value>>,
}

impl Judge {
    /// Starts the program of this name: beside the app's own, in the folder above (an example's), or wherever the system
    /// finds it.
    pub(crate) fn start(name: &str, broker: &str, least_gap_ms: i64) -> Result<Self> {
        let program = find(name);
        let child = Command::new(&program)
            .args(["--follow", "--json", "--broker", broker])
            .args(["--least-gap", &least_gap_ms.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C of the terminal is for us alone.
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let child = child.map_err(|error| {
            Error::Usage(format!(
                "cannot start the reader that judges this app, {}: {error}; build it first, or put it on the PATH",
                program.display()
            ))
        })?;
        Ok(Self { program, child })
    }

    /// Lets it read to the end, and asks for its judgement.
    pub(crate) async fn judge(mut self) -> Result<Judgement> {
        drop(self.child.stdin.take());
        let mut told = String::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            stdout.read_to_string(&mut told).await?;
        }
        let exit = self.child.wait().await?;
        serde_json::from_str(&told).map_err(|error| {
            let program = self.program.display();
            Error::Failed(format!(
                "{program} ended with {exit} and no judgement: {error}"
            ))
        })
    }
}

fn find(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    let folders = here.ancestors().skip(1).take(2);
    let mut beside = folders.map(|folder| folder.join(name));
    beside
        .find(|program| program.is_file())
        .unwrap_or_else(|| Path::new(name).to_owned())
}
