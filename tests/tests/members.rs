//! Workers of several members of an app, in one process, over the ports: standbys, hand-overs and failovers.

#[path = "members/app.rs"]
mod app;
#[path = "members/broken.rs"]
mod broken;
#[path = "members/handover.rs"]
mod handover;
#[path = "members/promotion.rs"]
mod promotion;
#[path = "members/standby.rs"]
mod standby;
#[path = "members/taken_away.rs"]
mod taken_away;
#[path = "members/world.rs"]
mod world;
