//! How a call reaches the core: while the broker runs, and under the faults that are ordered for it.

use kafka_protocol::messages::ApiKey;

use super::BrokerPort;
use crate::core::{Core, Millis};
use crate::error::{BrokerError, Result};
use crate::faults::{Fault, millis};
use crate::hub::{Mode, When};

impl BrokerPort {
    fn check_mode(&self) -> Result<()> {
        match self.hub.mode() {
            Mode::Running => Ok(()),
            Mode::Paused => Err(BrokerError::RequestTimedOut),
            Mode::Stopped => Err(BrokerError::NetworkException),
        }
    }

    /// A call that changes something, under the faults that are ordered for it.
    pub(super) fn change<R>(
        &self,
        api: ApiKey,
        now: Millis,
        call: impl Fn(&mut Core, Millis) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        self.check_mode()?;
        self.hub.do_due(now);
        let waiting = self.hub.waiting_for(api, &self.client);
        let result = self.suffer(api, now, call);
        self.hub.do_waiting(api, &self.client, waiting, now);
        result
    }

    fn suffer<R>(
        &self,
        api: ApiKey,
        now: Millis,
        call: impl Fn(&mut Core, Millis) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let silence = Err(BrokerError::RequestTimedOut);
        let when = match self.hub.faults.decide(api, &self.client) {
            Some(Fault::Late) => When::AfterNext,
            Some(Fault::Delay(span) | Fault::LateBy(span)) => When::At(now.plus(millis(span))),
            Some(Fault::LoseRequest) => return silence,
            Some(Fault::CutBefore) => return Err(BrokerError::NetworkException),
            Some(Fault::Refuse(error)) => return Err(error),
            Some(fault @ (Fault::DelayMarkers(_) | Fault::DelayRecordMarkers(_))) => {
                let held = fault.held().unwrap_or_default();
                return self.hub.with_markers_held(held, |core| call(core, now));
            }
            fault => {
                return self.hub.with(|core| {
                    let result = call(core, now);
                    match fault {
                        None => result,
                        Some(Fault::Twice) => {
                            let _ = call(core, now);
                            result
                        }
                        Some(Fault::CutAfter) => result.and(Err(BrokerError::NetworkException)),
                        Some(_) => result.and(silence),
                    }
                });
            }
        };
        self.hub.put_off(api, &self.client, when, move |core, now| {
            // Nobody waits for the answer any more.
            let _ = call(core, now);
        });
        silence
    }

    /// A call that changes nothing: that it is done twice or too late makes no difference.
    pub(super) fn look<R>(
        &self,
        api: ApiKey,
        now: Millis,
        call: impl FnOnce(&Core) -> Result<R>,
    ) -> Result<R> {
        self.check_mode()?;
        self.hub.do_due(now);
        match self.hub.faults.decide(api, &self.client) {
            None | Some(Fault::Twice | Fault::DelayMarkers(_) | Fault::DelayRecordMarkers(_)) => {
                self.hub.with(|core| call(core))
            }
            Some(Fault::Refuse(error)) => Err(error),
            Some(Fault::CutBefore | Fault::CutAfter) => Err(BrokerError::NetworkException),
            Some(_) => Err(BrokerError::RequestTimedOut),
        }
    }
}
