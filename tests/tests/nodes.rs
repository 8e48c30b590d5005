//! Nodes as processes that are killed, frozen, doubled and badly fed, while an independent reader counts.

#[path = "nodes/kills.rs"]
mod kills;
#[path = "nodes/refusals.rs"]
mod refusals;
#[path = "nodes/takeover.rs"]
mod takeover;
