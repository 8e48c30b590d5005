//! [`Watch`]: whose process this member watches: everybody the director's, the director everybody's.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use tanist_actors::port::LocalPortFuture;
use tanist_cluster::MemberId;
use tanist_cluster::view::View;

use super::NodeParts;
use super::links::{Links, reachable};

/// See the module.
#[derive(Default)]
pub(super) struct Watch {
    watched: BTreeMap<MemberId, AbortHandle>,
    links: FuturesUnordered<LocalPortFuture<'static, Option<MemberId>>>,
}

impl Watch {
    /// Watches what `me` has to watch when `director` is the director.
    pub(super) fn follow(
        &mut self,
        view: &View,
        me: MemberId,
        director: Option<MemberId>,
        parts: &NodeParts,
    ) {
        let of_interest = |id: MemberId| {
            let watches = director == Some(me) || director == Some(id);
            id != me && watches && view.member(id).is_some()
        };
        self.watched.retain(|id, link| {
            let keep = of_interest(*id);
            if !keep {
                link.abort();
            }
            keep
        });
        for (id, member) in view.members().filter(|(id, _)| of_interest(*id)) {
            if self.watched.contains_key(&id) {
                continue;
            }
            let Some(address) = reachable(&member.join, parts.machine.as_deref()) else {
                continue;
            };
            let (abort, registration) = AbortHandle::new_pair();
            self.watched.insert(id, abort);
            let gone = gone(
                parts.links.clone(),
                address.to_owned(),
                member.join.incarnation,
            );
            let gone = Abortable::new(gone, registration);
            self.links
                .push(Box::pin(async move { gone.await.ok().map(|()| id) }));
        }
    }

    /// The next of them whose process is gone. Never done if nobody is watched.
    pub(super) async fn next(&mut self) -> MemberId {
        loop {
            match self.links.next().await {
                // It stays among the watched, so that it is not called again and again while it is not buried yet.
                Some(Some(gone)) => return gone,
                Some(None) => {}
                None => return std::future::pending().await,
            }
        }
    }
}

async fn gone(links: Arc<dyn Links>, address: String, incarnation: uuid::Uuid) {
    links.gone(&address, incarnation).await;
}
