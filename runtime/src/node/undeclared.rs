//! Tables that this node has had and the app does not declare: one that was renamed begins empty, which is to be said.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::NodeParts;
use crate::app::AppTopology;

/// Warns of each of `changelogs`, those that the copies on the disk know, that is still there and belongs to no table of
/// the app.
pub(super) async fn say(
    parts: &NodeParts,
    topology: &AppTopology,
    changelogs: &BTreeSet<Arc<str>>,
) {
    let declared: BTreeSet<Arc<str>> = topology.topics.names.iter().cloned().collect();
    let undeclared: Vec<Arc<str>> = changelogs.difference(&declared).cloned().collect();
    if undeclared.is_empty() {
        return;
    }
    // A broker that does not answer is complained of where it is needed.
    let there = parts.broker.topics(&undeclared).await.unwrap_or_default();
    for topic in there.keys() {
        tracing::warn!(
            %topic,
            "no table of the app has this changelog, which one had before: the table was renamed or removed. One that was \
             renamed begins empty: give it back its name to have what it held. If that is not wanted any more, delete the \
             topic (kafka-topics --delete --topic {topic})"
        );
    }
}
