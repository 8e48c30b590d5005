//! The broker that contestants run against: always a process of its own, so that its work is not counted as theirs.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tanist_broker::{Config, EmbeddedBroker};
use tempfile::TempDir;

use crate::Result;

/// Which broker to run against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Apache Kafka, fetched and started by `bin/kafka`.
    Kafka,
    /// Tanist's own.
    Embedded,
    /// One that runs already.
    At(String),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Choice, String> {
        match text {
            "kafka" => Ok(Choice::Kafka),
            "embedded" => Ok(Choice::Embedded),
            address if address.contains(':') => Ok(Choice::At(address.into())),
            other => Err(format!(
                "'{other}' is neither kafka nor embedded nor an address host:port"
            )),
        }
    }
}

/// What every benchmark against a broker is told.
#[derive(Args)]
pub(crate) struct Common {
    /// kafka (Apache Kafka, started for this), embedded, or the address of a broker that runs
    #[arg(long, default_value = "kafka")]
    pub(crate) broker: Choice,
    /// Runs of each contestant
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
}

/// Where a benchmark runs.
pub(crate) struct Ground {
    pub(crate) server: Server,
    /// Folder for all data; goes with this.
    pub(crate) scratch: TempDir,
    pub(crate) runs: u32,
}

impl Common {
    pub(crate) fn start(&self) -> Result<Ground> {
        let scratch = tempfile::tempdir()?;
        Ok(Ground {
            server: Server::start(&self.broker, scratch.path())?,
            scratch,
            runs: self.runs,
        })
    }
}

/// A broker for as long as this lives.
pub(crate) struct Server {
    address: String,
    child: Option<Child>,
}

/// Longest time for Apache Kafka to come up, fetching it included.
const START_WITHIN: Duration = Duration::from_secs(300);

impl Server {
    /// Starts what is chosen; `scratch` is for its data.
    fn start(choice: &Choice, scratch: &Path) -> Result<Server> {
        let port_file = scratch.join("broker-address");
        let mut command = match choice {
            Choice::At(address) => {
                return Ok(Server {
                    address: address.clone(),
                    child: None,
                });
            }
            Choice::Kafka => {
                let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
                // `tied` ends it when this process ends, however that comes.
                let mut bash = Command::new("bash");
                bash.args([
                    "-c",
                    ". \"$0/bin/lib.sh\"; tied TERM \"$0/bin/kafka\" run \"$@\"",
                ]);
                bash.arg(root)
                    .arg("--dir")
                    .arg(scratch.join("kafka"))
                    .arg("--port-file")
                    .arg(&port_file);
                bash
            }
            Choice::Embedded => {
                let mut broker = Command::new(std::env::current_exe()?);
                broker
                    .arg("embedded-broker")
                    .arg("--port-file")
                    .arg(&port_file)
                    .stdin(Stdio::piped());
                broker
            }
        };
        let child = command.spawn()?;
        let mut server = Server {
            address: String::new(),
            child: Some(child),
        };
        server.address = server.await_address(&port_file)?;
        Ok(server)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn await_address(&mut self, port_file: &Path) -> Result<String> {
        let deadline = Instant::now() + START_WITHIN;
        while Instant::now() < deadline {
            match fs::read_to_string(port_file) {
                Ok(address) if address.ends_with('\n') => return Ok(address.trim().into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                return Err(format!("the broker ended before it was ready: {status}").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(format!(
            "the broker was not ready within {} s",
            START_WITHIN.as_secs()
        )
        .into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Nothing better can be done about a child that has ended already.
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
            let _ = child.wait();
        }
    }
}

/// Arguments of the process that is the embedded broker.
#[derive(Args)]
pub(crate) struct EmbeddedArguments {
    /// File to write the address to
    #[arg(long)]
    port_file: PathBuf,
}

/// Serves until the process that started this one ends.
pub(crate) fn run_embedded(arguments: &EmbeddedArguments) -> Result<()> {
    let broker = EmbeddedBroker::start(Config::default())?;
    fs::write(&arguments.port_file, format!("{}\n", broker.address()))?;
    // Nobody writes to it: it ends with the one who holds the other side.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
