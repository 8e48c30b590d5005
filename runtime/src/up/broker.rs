//! [`LocalBroker`]: the broker of a local cluster.

use tanist_broker::EmbeddedBroker;

use super::order::{Act, Exit, OrderError, State, Step};

/// What it is called in orders.
pub(crate) const BROKER: &str = "broker";

/// See the module.
pub(crate) enum LocalBroker {
    /// In this process. What it holds outlives that it is stopped.
    Embedded {
        broker: EmbeddedBroker,
        /// As if it were a process of its own.
        state: State,
    },
    /// Somebody else's.
    At(String),
}

impl LocalBroker {
    /// One that runs in this process.
    pub(crate) fn embedded(broker: EmbeddedBroker) -> Self {
        Self::Embedded {
            broker,
            state: State::Running,
        }
    }

    /// Its bootstrap addresses.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Embedded { broker, .. } => broker.address().to_string(),
            Self::At(address) => address.clone(),
        }
    }

    /// Stops it, starts it, has it stand still, or lets it go on.
    pub(crate) fn carry_out(&mut self, act: Act) -> Result<(), OrderError> {
        let refused = |is| OrderError::Refused {
            act,
            node: BROKER.into(),
            is,
        };
        let Self::Embedded { broker, state } = self else {
            return Err(refused("is not ours: whoever has started it can do that"));
        };
        if act == Act::Kill {
            return Err(refused(
                "keeps everything in memory, and that would be lost; `stop` and `start` keep it",
            ));
        }
        let next = match (state.step(act).map_err(refused)?, act) {
            (Step::Spawn, _) => {
                broker.restart().map_err(|error| OrderError::System {
                    act,
                    node: BROKER.into(),
                    reason: error.to_string(),
                })?;
                State::Running
            }
            (Step::Send(..), Act::Freeze) => {
                broker.pause();
                State::Frozen
            }
            (Step::Send(..), Act::Thaw) => {
                broker.resume();
                State::Running
            }
            (Step::Send(..), _) => {
                broker.stop();
                State::Ended(Exit::Code(0))
            }
        };
        *state = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use tanist_broker::Config;

    use super::*;

    #[test]
    fn an_embedded_broker_is_stopped_and_started_and_never_killed() {
        let mut broker = LocalBroker::embedded(EmbeddedBroker::start(Config::default()).unwrap());
        let is_there = |broker: &LocalBroker| TcpStream::connect(broker.address()).is_ok();
        broker.carry_out(Act::Stop).unwrap();
        // A process that another test starts just now has all that is open here, until it becomes another program.
        let tries = (0..1000).map(|_| std::thread::sleep(std::time::Duration::from_millis(1)));
        assert!(tries.into_iter().any(|()| !is_there(&broker)));
        assert!(broker.carry_out(Act::Freeze).is_err());
        broker.carry_out(Act::Start).unwrap();
        assert!(is_there(&broker));
        broker.carry_out(Act::Freeze).unwrap();
        broker.carry_out(Act::Thaw).unwrap();
        let error = broker.carry_out(Act::Kill).unwrap_err().to_string();
        assert!(error.contains("would be lost"), "{error}");
    }

    #[test]
    fn somebody_elses_broker_is_left_alone() {
        let mut broker = LocalBroker::At("kafka:9092".into());
        let error = broker.carry_out(Act::Stop).unwrap_err().to_string();
        assert!(error.contains("is not ours"), "{error}");
    }
}
