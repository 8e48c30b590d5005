//! [`admit_and_join`]: how a process becomes a member: it makes sure that it may, and writes its `Join`.

use tanist_actors::port::BrokerError;
use tanist_cluster::MemberId;
use tanist_cluster::admission::{Admission, admit};
use tanist_cluster::control::{Join, Record};
use uuid::Uuid;

use super::beats::Beats;
use super::control::{ControlLog, append};
use super::inquiry::Inquiry;
use super::{NodeError, NodeParts};

/// Joins as `join`, whose incarnation is replaced where that has been used up; once nobody stands in its way.
pub(super) async fn admit_and_join(
    join: &mut Join,
    parts: &NodeParts,
    control: &mut ControlLog,
    beats: &mut Beats,
) -> Result<MemberId, NodeError> {
    ask_around(join, parts, control, beats).await?;
    loop {
        parts.links.answer_as(join.incarnation);
        match write(join, parts, control).await {
            // Whether the record is there, nobody knows. If so, it is a member that never beats.
            Err(NodeError::Broker(BrokerError::Unreachable { reason, .. })) => {
                tracing::warn!("could not join ({reason}); trying again");
                join.incarnation = next(join.incarnation);
            }
            joined => return joined,
        }
    }
}

/// The incarnation after this one: the first is random.
pub(super) fn next(incarnation: Uuid) -> Uuid {
    Uuid::from_u128(incarnation.as_u128().wrapping_add(1))
}

async fn ask_around(
    join: &Join,
    parts: &NodeParts,
    control: &mut ControlLog,
    beats: &mut Beats,
) -> Result<(), NodeError> {
    let mut inquiry = Inquiry::default();
    loop {
        let view = control.view();
        match admit(view, join, None, |member| inquiry.peer(member)) {
            Admission::Welcome => return Ok(()),
            Admission::Refused(refusal) => return Err(NodeError::Refused(refusal)),
            Admission::Ask(members) => inquiry.ask(&members, view, parts, beats.partition()),
        }
        tokio::select! {
            biased;
            changed = control.changed() => {
                changed?;
            }
            heard = beats.heard() => {
                for heartbeat in heard {
                    inquiry.heard(heartbeat.member);
                }
            }
            () = inquiry.next() => {}
        }
    }
}

/// Writes the `Join`, and reads on until it is there.
async fn write(
    join: &Join,
    parts: &NodeParts,
    control: &mut ControlLog,
) -> Result<MemberId, NodeError> {
    let partition = control.partition().clone();
    let record = Record::Join(join.clone());
    let mut writing = std::pin::pin!(append(&*parts.broker, &partition, &record));
    let mut written = None;
    loop {
        if let Some(me) = control.view().find(join.incarnation) {
            return Ok(me);
        }
        // Cleared away as soon as it was there: somebody took it for dead.
        if written.is_some_and(|offset| control.view().read_to() > offset) {
            return Err(NodeError::Broker(BrokerError::Unreachable {
                address: "the control log".into(),
                reason: "the node was put out before it was in".into(),
            }));
        }
        tokio::select! {
            biased;
            changed = control.changed() => {
                changed?;
            }
            offset = &mut writing, if written.is_none() => written = Some(offset?),
        }
    }
}
