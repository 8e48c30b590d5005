//! `/events`: the timeline of the node.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use serde::Deserialize;

use super::Api;

/// The longest that one may wait for an event.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Which events.
#[derive(Deserialize)]
pub(super) struct Wanted {
    /// Only those after the one of this number.
    #[serde(default)]
    after: u64,
    /// How long to wait for one if there is none.
    #[serde(default)]
    wait_ms: u64,
}

pub(super) async fn events(api: Data<Api>, wanted: Query<Wanted>) -> HttpResponse {
    let timeline = api.board.timeline();
    let mut last = timeline.watch();
    let wait = Duration::from_millis(wanted.wait_ms).min(MAX_WAIT);
    let news = last.wait_for(|last| *last > wanted.after);
    // Neither too late nor without end: then there is nothing to tell.
    let _ = tokio::time::timeout(wait, news).await;
    let mut lines = String::new();
    for event in timeline.after(wanted.after) {
        if let Ok(line) = serde_json::to_string(&event) {
            lines.push_str(&line);
            lines.push('\n');
        }
    }
    HttpResponse::Ok()
        .content_type("application/jsonl")
        .body(lines)
}
