//! [`Inquiry`]: finds out whether members that stand in the way of joining are still there.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tanist_actors::port::{LocalPortFuture, TopicPartition};
use tanist_cluster::MemberId;
use tanist_cluster::admission::Peer;
use tanist_cluster::view::View;

use super::NodeParts;
use super::links::reachable;

/// So many heartbeats show that a member is there: one may have been under way when it died or froze. A member that lives
/// sends more in the time for which it may be silent.
const BEATS_OF_THE_LIVING: u32 = 2;

/// See the module.
#[derive(Default)]
pub(super) struct Inquiry {
    /// Whoever was asked about; unknown until there is an answer.
    known: BTreeMap<MemberId, Peer>,
    beats: BTreeMap<MemberId, u32>,
    asking: FuturesUnordered<LocalPortFuture<'static, (MemberId, Peer)>>,
}

impl Inquiry {
    /// What is known of a member.
    pub(super) fn peer(&self, member: MemberId) -> Peer {
        self.known.get(&member).copied().unwrap_or(Peer::Unknown)
    }

    /// Begins to find out about those of `members` that nobody has asked about yet: by a connection, else by listening for
    /// heartbeats (on topic `heartbeats`, see [`Inquiry::heard`]) for as long as a member may be silent.
    pub(super) fn ask(
        &mut self,
        members: &[MemberId],
        view: &View,
        parts: &NodeParts,
        heartbeats: &TopicPartition,
    ) {
        for &id in members {
            let Some(member) = view.member(id) else {
                continue;
            };
            if self.known.contains_key(&id) {
                continue;
            }
            self.known.insert(id, Peer::Unknown);
            let address = reachable(&member.join, parts.machine.as_deref()).map(str::to_owned);
            let incarnation = member.join.incarnation;
            let (links, broker) = (parts.links.clone(), parts.broker.clone());
            let (clock, cluster) = (parts.clock.clone(), parts.cluster.clone());
            let heartbeats = heartbeats.clone();
            tracing::info!(member = %id, node = %member.join.node, "is that node still there?");
            self.asking.push(Box::pin(async move {
                if let Some(address) = address {
                    let peer = links.ask(&address, incarnation).await;
                    if peer != Peer::Unknown {
                        return (id, peer);
                    }
                }
                // Silence counts while the broker answers, before it and after it.
                loop {
                    let before = broker.offsets(std::slice::from_ref(&heartbeats)).await;
                    clock.sleep(cluster.failure_timeout).await;
                    let after = broker.offsets(std::slice::from_ref(&heartbeats)).await;
                    // What came in between is read by now.
                    clock.sleep(cluster.heartbeat_interval).await;
                    if before.is_ok() && after.is_ok() {
                        return (id, Peer::Gone);
                    }
                }
            }));
        }
    }

    /// A heartbeat of a member was read.
    pub(super) fn heard(&mut self, member: MemberId) {
        // One that refuses connections may have written it before it died.
        if let Some(peer @ Peer::Unknown) = self.known.get_mut(&member) {
            let beats = self.beats.entry(member).or_default();
            *beats += 1;
            if *beats >= BEATS_OF_THE_LIVING {
                *peer = Peer::Alive;
            }
        }
    }

    /// Until something is known that was not. Never done if nobody is asked about.
    pub(super) async fn next(&mut self) {
        loop {
            let Some((member, peer)) = self.asking.next().await else {
                return std::future::pending().await;
            };
            if self.peer(member) == Peer::Unknown {
                self.known.insert(member, peer);
                return;
            }
        }
    }
}
