//! Tanist: stateful stream processing on Kafka with supervised actors.
//!
//! A program declares its topics, tables and agents in an [`app::App`] and hands itself over to it with
//! [`App::main`](app::App::main), which gives it a command line: run a node, send records, ask for tables, start an embedded
//! broker. [`testing::TestApp`] runs the same app without a broker, on virtual time.
//!
//! The way through the crate: `cli` reads the command line and `settings`; `node` joins the app's nodes, takes its shards and
//! runs workers (crate `tanist-actors`), which reach the world through ports: [`kafka`] and [`store`], or [`memory`].

pub mod app;
mod chaos;
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
mod up;

pub use error::{Error, Result};
pub use settings::{SettingFault, SettingFaults, Source};
pub use tanist_actors::codec;

/// What a program with agents usually needs.
pub mod prelude {
    pub use std::time::Duration;

    pub use serde::{Deserialize, Serialize};
    pub use tanist_actors::agent::{Agent, ShardContext};
    pub use tanist_actors::context::{Context, OutputRecord};
    pub use tanist_actors::failure::{Failure, Handled};
    pub use tanist_actors::record::{Headers, Record, RecordHeaders};
    pub use tanist_actors::stream::Stream;
    pub use tanist_actors::table::{Table, TableDef};
    pub use tanist_actors::topic::Topic;
    pub use tanist_cluster::Millis;

    pub use crate::app::App;
    pub use crate::client::Client;
}
