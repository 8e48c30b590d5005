//! [`Order`]: what can be done to the nodes of a local cluster, and when.
//!
//! ```text
//!              start               stop
//!    Ended ------------> Running ---------> Stopping --.
//!      ^                 |  ^  |                |      |
//!      |          freeze |  |  | kill           | kill |
//!      |                 v  | thaw              v      |
//!      |               Frozen ---- kill ----> Killed   |
//!      |                                        |      |
//!      `--------- the process has ended --------+------'
//! ```
//! A process may end by itself at any time.

use std::fmt;
use std::str::FromStr;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tanist_cluster::NodeName;

/// What can be done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Act {
    /// SIGKILL: as a power cut.
    Kill,
    /// SIGSTOP: it stands still, as in a very long pause of the machine.
    Freeze,
    /// SIGCONT.
    Thaw,
    /// SIGTERM: it finishes what it has in hand, and hands its shards over.
    Stop,
    /// Started again, with what it has on disk.
    Start,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Node(Act, NodeName),
    /// One more node.
    Add,
}

/// How a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

/// How a node's process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Frozen,
    /// It was asked to stop, and has not ended yet.
    Stopping,
    /// It was killed, and the system has not told yet that it has ended.
    Killed,
    Ended(Exit),
}

/// What is to be done to carry out an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Spawn,
    Send(Signal, State),
}

/// Why an order was not carried out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OrderError {
    /// Nobody is called so.
    #[error("there is no node {node}: there are {}", .nodes.join(", "))]
    NoSuchNode { node: NodeName, nodes: Vec<String> },
    /// It makes no sense as things are.
    #[error("cannot {act} {node}: it {is}")]
    Refused {
        act: Act,
        node: NodeName,
        is: &'static str,
    },
    /// The system refuses.
    #[error("cannot {act} {node}: {reason}")]
    System {
        act: Act,
        node: NodeName,
        reason: String,
    },
    /// All is about to end.
    #[error("the local cluster is ending")]
    Ending,
}

impl State {
    /// What to do for `act`; or how the node is, which speaks against it.
    pub(super) fn step(self, act: Act) -> Result<Step, &'static str> {
        match (self, act) {
            (Self::Running | Self::Frozen | Self::Stopping, Act::Kill) => {
                Ok(Step::Send(Signal::SIGKILL, Self::Killed))
            }
            (Self::Running, Act::Freeze) => Ok(Step::Send(Signal::SIGSTOP, Self::Frozen)),
            (Self::Frozen, Act::Thaw) => Ok(Step::Send(Signal::SIGCONT, Self::Running)),
            (Self::Running, Act::Stop) => Ok(Step::Send(Signal::SIGTERM, Self::Stopping)),
            (Self::Ended(_), Act::Start) => Ok(Step::Spawn),
            (Self::Ended(_), _) => Err("has ended; `start` starts it again"),
            (Self::Frozen, Act::Freeze) => Err("is frozen already; `thaw` lets it go on"),
            (Self::Frozen, _) => Err("is frozen; `thaw` or `kill` it first"),
            (Self::Running, Act::Thaw) => Err("is not frozen"),
            (Self::Running, Act::Start) => Err("is running already"),
            (Self::Stopping, _) => Err("is stopping; wait until it has ended, or `kill` it"),
            (Self::Killed, _) => Err("was killed, and is about to end"),
        }
    }

    /// Whether there is a process.
    pub(crate) fn is_alive(self) -> bool {
        !matches!(self, Self::Ended(_))
    }

    /// Whether it is no surprise that it ends so.
    pub(super) fn expects(self, exit: Exit) -> bool {
        matches!(
            (self, exit),
            (Self::Killed, _)
                | (Self::Stopping, Exit::Code(0))
                // It had only just been started, and did not listen yet.
                | (Self::Stopping, Exit::Signal(15))
        )
    }
}

impl Act {
    /// How it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
            Self::Stop => "stop",
            Self::Start => "start",
        }
    }

    /// What is said when it is done.
    pub(crate) fn done(self) -> &'static str {
        match self {
            Self::Kill => "killed",
            Self::Freeze => "frozen",
            Self::Thaw => "thawed",
            Self::Stop => "stopped",
            Self::Start => "started",
        }
    }

    /// Whether it is done only when the process has ended.
    pub(crate) fn is_an_end(self) -> bool {
        matches!(self, Self::Kill | Self::Stop)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Act {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [
            Self::Kill,
            Self::Freeze,
            Self::Thaw,
            Self::Stop,
            Self::Start,
        ];
        all.into_iter().find(|act| act.name() == text).ok_or(())
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => f.write_str(signal.as_str()),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Frozen => f.write_str("frozen"),
            Self::Stopping => f.write_str("stopping"),
            Self::Killed => f.write_str("killed"),
            Self::Ended(Exit::Code(0)) => f.write_str("stopped"),
            Self::Ended(Exit::Signal(9)) => f.write_str("killed"),
            Self::Ended(exit) => write!(f, "ended: {exit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTS: [Act; 5] = [Act::Kill, Act::Freeze, Act::Thaw, Act::Stop, Act::Start];

    #[test]
    fn an_order_is_carried_out_only_where_it_makes_sense() {
        let allowed = |state: State| ACTS.map(|act| state.step(act).is_ok());
        assert_eq!(allowed(State::Running), [true, true, false, true, false]);
        assert_eq!(allowed(State::Frozen), [true, false, true, false, false]);
        assert_eq!(allowed(State::Stopping), [true, false, false, false, false]);
        assert_eq!(allowed(State::Killed), [false; 5]);
        let ended = State::Ended(Exit::Code(1));
        assert_eq!(allowed(ended), [false, false, false, false, true]);
    }

    #[test]
    fn an_order_that_is_carried_out_leads_to_another_state_and_only_a_start_needs_a_new_process() {
        for state in [State::Running, State::Frozen, State::Stopping] {
            for act in ACTS {
                match state.step(act) {
                    Ok(Step::Send(_, next)) => assert!(next != state && next.is_alive()),
                    Ok(Step::Spawn) => panic!("{state} has a process"),
                    Err(_) => {}
                }
            }
        }
    }

    #[test]
    fn what_is_typed_is_what_is_shown() {
        for act in ACTS {
            assert_eq!(act.to_string().parse(), Ok(act));
        }
        assert_eq!("nuke".parse::<Act>(), Err(()));
    }
}
