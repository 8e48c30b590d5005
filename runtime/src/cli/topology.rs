//! `topology`: agents, topics and tables.

use std::collections::BTreeMap;

use clap::Args;
use tanist_actors::port::Broker;

use super::Session;
use super::launch::connect;
use crate::app::TopologyView;
use crate::error::Result;

pub(super) const EXAMPLES: &str = "\
Without --broker it shows what the program declares; with it, the partition counts that topics have, and which of them
do not exist yet.

Examples:
  topology
  topology --broker localhost:9092
  topology --mermaid               a diagram for Markdown";

#[derive(Args)]
pub(super) struct TopologyArgs {
    /// As a Mermaid diagram
    #[arg(long, conflicts_with = "json")]
    mermaid: bool,
}

pub(super) async fn run(session: Session, args: TopologyArgs) -> Result<()> {
    let Session { app, settings, .. } = &session;
    let view = if settings.is_given("broker") {
        let existing = connect(settings)?.topics(&app.topic_names()).await?;
        TopologyView::on_broker(app.id(), &app.topology(&existing)?)
    } else {
        TopologyView::declared(app.id(), &app.topology(&BTreeMap::new())?)
    };
    session.output.answer(&view, || match args.mermaid {
        true => view.mermaid(),
        false => view.to_string(),
    })
}
