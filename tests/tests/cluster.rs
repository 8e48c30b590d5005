//! Several nodes, each a process, under load: killed, frozen, stopped and added, while an independent reader counts.

#[path = "cluster/events.rs"]
mod events;
#[path = "cluster/queries.rs"]
mod queries;
