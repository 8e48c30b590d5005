//! Tanist: stateful stream processing on Kafka with supervised actors.
//!
//! An [`app::App`] declares topics, tables and agents; a [`node::Node`] runs it.

pub mod app;
mod cli;
pub mod client;
mod error;
mod http;
pub mod kafka;
pub mod memory;
pub mod node;
mod settings;
pub mod store;
pub mod testing;

pub use error::{Error, Result};
pub use settings::{SettingFault, SettingFaults, Source};

/// What a program with agents usually needs.
pub mod prelude {
    pub use std::time::Duration;

    pub use serde::{Deserialize, Serialize};
    pub use tanist_actors::agent::{Agent, ShardContext};
    pub use tanist_actors::context::{Context, OutputRecord};
    pub use tanist_actors::failure::{Failure, Handled};
    pub use tanist_actors::record::{Headers, Record};
    pub use tanist_actors::stream::Stream;
    pub use tanist_actors::table::{Table, TableDef};
    pub use tanist_actors::topic::Topic;
    pub use tanist_cluster::Millis;

    pub use crate::app::App;
    pub use crate::client::Client;
}
