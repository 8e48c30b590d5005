//! A local cluster: nodes of the app as child processes, which one kills, freezes, stops and starts.
//!
//! The way of an order: a key, or a request of another terminal, becomes an [`Order`]; [`LocalCluster`] carries it out on
//! a process, if the table in `order` allows it. What happens comes back as facts: a child that ended, what `watch` has
//! read from a node. They are folded into a [`View`], which becomes a `screen` that is drawn, or lines of text
//! (`face`). [`Host`] holds it all together.
//!
//! `parent` is the other side: how a node ends when whoever started it does.

mod broker;
mod event;
mod face;
mod host;
mod local;
mod moves;
mod order;
mod parent;
mod process;
mod screen;
mod terminal;
mod view;
mod watch;

pub(crate) use broker::{BROKER, LocalBroker};
pub(crate) use event::{Event, time_of_day};
pub(crate) use face::Face;
pub(crate) use host::{Doors, Host, Served, doors};
pub(crate) use local::{LocalCluster, NodeLaunch};
pub(crate) use order::{Act, Order, OrderError};
pub(crate) use parent::end_with;
pub(crate) use screen::thousands;
pub(crate) use terminal::restore;
pub(crate) use view::{Pauses, View};
