//! [`Error`]: why a command ended without success, and with which exit code.

use tanist_actors::port::BrokerError;
use tanist_cluster::admission::Refusal;

use crate::app::Faults;
use crate::node::{ControlError, NodeError};
use crate::settings::SettingFaults;
use crate::store::DataDirError;

/// What the commands of an app answer; see [`crate::app::App::main`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Settings that cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingFaults),
    /// Declarations that cannot be used, or topics that do not fit them.
    #[error("{0}")]
    Declarations(#[from] Faults),
    /// Arguments that cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The control log.
    #[error(transparent)]
    Control(ControlError),
    /// The table does not have the key.
    #[error("table {table} has no key {key}")]
    NotFound {
        /// The table.
        table: String,
        /// The key as it was asked for.
        key: String,
    },
    /// The nodes that are running do not let this one in.
    #[error(transparent)]
    Refused(Refusal),
    /// There is no node to ask.
    #[error("{0}")]
    NoNode(String),
    /// All has ended, but not all is known to be committed.
    #[error("{0}")]
    NotCommitted(String),
    /// Nodes of a local cluster have ended by themselves.
    #[error("{text}")]
    NodesEnded {
        /// The exit code of all of them, if it is one; else 1.
        code: u8,
        /// Which, how, and what they said at last.
        text: String,
    },
    /// A signal ended it before it was done; what was done, and what was not.
    #[error("{text}")]
    Interrupted {
        /// The exit code that says which.
        code: u8,
        /// What was done, and what was not.
        text: String,
    },
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// An error of an app's own command.
    pub fn new(message: impl ToString) -> Self {
        Self::Failed(message.to_string())
    }

    /// What a process that ends with it answers; described in the help of every app.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Control(_) | Self::Broker(BrokerError::Refused { .. }) => 1,
            Self::Settings(_)
            | Self::Declarations(_)
            | Self::Usage(_)
            | Self::DataDir(_)
            | Self::Refused(_) => 2,
            Self::Broker(BrokerError::Unreachable { .. }) => 3,
            Self::NotFound { .. } => 4,
            Self::NotCommitted(_) => 5,
            Self::NoNode(_) => 6,
            Self::NodesEnded { code, .. } | Self::Interrupted { code, .. } => *code,
        }
    }
}

/// All exit codes, and what they mean.
pub(crate) const EXIT_CODES: &[(u8, &str)] = &[
    (0, "done"),
    (
        1,
        "failed; up: also if its nodes have ended by themselves, unless all with one code: then that",
    ),
    (
        2,
        "wrong usage, settings, declarations or data directory; a taken port; a node not let in",
    ),
    (3, "no broker answered within --broker-timeout"),
    (4, "get: the table does not have the key"),
    (5, "up, worker: ended, but not all is known to be committed"),
    (
        6,
        "get, scan, status, kill and other orders: no node of this app is running here",
    ),
    (
        130,
        "ended by Ctrl-C before it was done, or by a second one at once",
    ),
    (143, "the same by SIGTERM"),
];

/// For the help of every command.
pub(crate) fn exit_codes() -> String {
    let lines = EXIT_CODES
        .iter()
        .map(|(code, meaning)| format!("\n{code:>5}  {meaning}"));
    let lines = lines.collect::<String>();
    format!("Exit codes (docs/troubleshooting.md tells what helps):{lines}")
}

impl From<NodeError> for Error {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Faults(faults) => Self::Declarations(faults),
            NodeError::Broker(error) | NodeError::Control(ControlError::Broker(error)) => {
                Self::Broker(error)
            }
            NodeError::Control(error) => Self::Control(error),
            NodeError::Refused(refusal) => Self::Refused(refusal),
            NodeError::CannotCatchUp { .. } => Self::Failed(error.to_string()),
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_away_is_told_from_one_that_refuses() {
        let away = BrokerError::Unreachable {
            address: "a:1".into(),
            reason: "refused".into(),
        };
        let refused = BrokerError::Refused {
            what: "create topics".into(),
            reason: "no".into(),
        };
        let code = |error: NodeError| Error::from(error).exit_code();
        assert_eq!(code(NodeError::Broker(away.clone())), 3);
        assert_eq!(code(NodeError::Control(ControlError::Broker(away))), 3);
        assert_eq!(code(NodeError::Broker(refused)), 1);
        assert_eq!(code(NodeError::Faults(Faults(Vec::new()))), 2);
    }

    #[test]
    fn the_help_tells_every_exit_code_once() {
        let mut told: Vec<u8> = EXIT_CODES.iter().map(|(code, _)| *code).collect();
        assert!(told.is_sorted());
        told.dedup();
        assert_eq!(told.len(), EXIT_CODES.len());
        let text = String::new;
        for error in [
            Error::Usage(text()),
            Error::NotFound {
                table: text(),
                key: text(),
            },
            Error::NoNode(text()),
            Error::NotCommitted(text()),
            Error::Failed(text()),
            Error::Broker(BrokerError::Unreachable {
                address: text(),
                reason: text(),
            }),
        ] {
            assert!(told.contains(&error.exit_code()), "{error:?}");
        }
    }
}
