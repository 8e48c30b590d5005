//! Nodes as processes that are killed, frozen and doubled, while an independent reader counts.

#[path = "nodes/kills.rs"]
mod kills;
#[path = "nodes/takeover.rs"]
mod takeover;
