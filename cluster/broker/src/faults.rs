//! Which requests go wrong, by order of a test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::messages::ApiKey;

use crate::core::Millis;
use crate::error::BrokerError;

/// What goes wrong with a request. A caller in the same process cannot wait for an answer that comes later: where one
/// over the network would wait, it gets `RequestTimedOut` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not done, and never answered.
    LoseRequest,
    /// Done, and never answered.
    LoseAnswer,
    /// Not done, and answered with this error.
    Refuse(BrokerError),
    /// Done and answered so much later. Over the network it also holds up what comes behind it on its connection.
    Delay(Duration),
    /// Done at once, and answered so much later.
    DelayAnswer(Duration),
    /// Done twice, answered once.
    Twice,
    /// Done after the next request of the same API by the same client, and never answered.
    Late,
    /// Done so much later, and never answered; what comes behind it is not held up.
    LateBy(Duration),
    /// Not done; the connection is cut.
    CutBefore,
    /// Done; the connection is cut instead of an answer.
    CutAfter,
    /// Done; but the markers of a transaction that it ends are written so much later.
    DelayMarkers(Duration),
    /// The same, but for a group's offsets, which count at once: in Kafka, brokers write markers each for itself.
    DelayRecordMarkers(Duration),
}

/// The markers that are held back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    /// For how long.
    pub(crate) span: Millis,
    /// Those of offsets are not.
    pub(crate) only_of_records: bool,
}

impl Fault {
    /// The markers that are held back of a transaction that the request ends.
    pub(crate) fn held(self) -> Option<Held> {
        let (span, only_of_records) = match self {
            Self::DelayMarkers(span) => (span, false),
            Self::DelayRecordMarkers(span) => (span, true),
            _ => return None,
        };
        Some(Held {
            span: millis(span),
            only_of_records,
        })
    }
}

/// Orders a fault for the requests that match.
#[derive(Debug, Clone)]
pub struct FaultRule {
    fault: Fault,
    api: Option<ApiKey>,
    client: Option<String>,
    skip: u64,
    times: u64,
}

impl FaultRule {
    /// The fault hits the next request of any API and client, once.
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            api: None,
            client: None,
            skip: 0,
            times: 1,
        }
    }

    /// Only requests of this API.
    #[must_use]
    pub fn api(self, api: ApiKey) -> Self {
        Self {
            api: Some(api),
            ..self
        }
    }

    /// Only requests of the client with exactly this id.
    #[must_use]
    pub fn client(self, id: impl Into<String>) -> Self {
        Self {
            client: Some(id.into()),
            ..self
        }
    }

    /// The first `count` that match pass unharmed.
    #[must_use]
    pub fn skip(self, count: u64) -> Self {
        Self {
            skip: count,
            ..self
        }
    }

    /// The fault hits `count` times.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self {
            times: count,
            ..self
        }
    }

    fn matches(&self, api: ApiKey, client: &str) -> bool {
        self.api.is_none_or(|wanted| wanted == api)
            && self.client.as_deref().is_none_or(|wanted| wanted == client)
    }
}

/// A rule that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleId(u64);

#[derive(Debug)]
struct Rule {
    rule: FaultRule,
    hits: u64,
}

#[derive(Debug, Default)]
struct Rules {
    rules: BTreeMap<RuleId, Rule>,
    added: u64,
}

impl Rules {
    /// The oldest rule that matches and is neither still skipping nor used up decides.
    fn decide(&mut self, api: ApiKey, client: &str) -> Option<Fault> {
        for Rule { rule, hits } in self.rules.values_mut() {
            if !rule.matches(api, client) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if *hits < rule.times {
                *hits += 1;
                return Some(rule.fault);
            }
        }
        None
    }
}

/// The faults that a test has ordered; a handle that is cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    rules: Arc<Mutex<Rules>>,
}

impl Faults {
    /// Adds a rule. Older rules go first.
    pub fn add(&self, rule: FaultRule) -> RuleId {
        let mut rules = self.lock();
        rules.added += 1;
        let id = RuleId(rules.added);
        rules.rules.insert(id, Rule { rule, hits: 0 });
        id
    }

    /// How often the rule has hit.
    pub fn hits(&self, id: RuleId) -> u64 {
        self.lock().rules.get(&id).map_or(0, |rule| rule.hits)
    }

    /// Removes a rule.
    pub fn remove(&self, id: RuleId) {
        self.lock().rules.remove(&id);
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// What is to go wrong with this request.
    pub(crate) fn decide(&self, api: ApiKey, client: &str) -> Option<Fault> {
        self.lock().decide(api, client)
    }

    fn lock(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The span in the core's unit.
pub(crate) fn millis(span: Duration) -> Millis {
    Millis(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_hits_its_api_and_client_after_the_skipped_and_so_often_as_it_says() {
        let faults = Faults::default();
        let rule = FaultRule::new(Fault::LoseAnswer)
            .api(ApiKey::EndTxn)
            .client("a")
            .skip(1)
            .times(2);
        let id = faults.add(rule);
        assert_eq!(faults.decide(ApiKey::Produce, "a"), None);
        assert_eq!(faults.decide(ApiKey::EndTxn, "b"), None);
        let decisions: Vec<_> = (0..4).map(|_| faults.decide(ApiKey::EndTxn, "a")).collect();
        let hit = Some(Fault::LoseAnswer);
        assert_eq!(decisions, [None, hit, hit, None]);
        assert_eq!(faults.hits(id), 2);
    }

    #[test]
    fn the_older_rule_goes_first() {
        let faults = Faults::default();
        faults.add(FaultRule::new(Fault::Twice));
        faults.add(FaultRule::new(Fault::Late));
        assert_eq!(faults.decide(ApiKey::Produce, ""), Some(Fault::Twice));
        assert_eq!(faults.decide(ApiKey::Produce, ""), Some(Fault::Late));
    }
}
