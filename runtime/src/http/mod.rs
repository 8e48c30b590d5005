//! What a node answers over HTTP, to whoever reaches it: there is no access control.
//!
//! | path | answer |
//! | --- | --- |
//! | `/health/live` | 200 while the process runs: one whose handler blocks its thread ends itself, after `max_poll_interval` |
//! | `/health/ready` | 200 when every shard of this node is recovered and at work, else 503, also when a handler blocks its thread |
//! | `/alive` | which start of the node this is; the answer goes on for as long as the process lives |
//! | `/status` | of this node: shards, positions, lag, rates |
//! | `/cluster` | the same of all nodes |
//! | `/plan` | who is to have which shard, and why |
//! | `/events?after=&wait_ms=` | what happened lately, a line of JSON each; waits until something does |
//! | `/topology` | agents, topics, tables |
//! | `/tables/{table}/{key}?stale-ok=` | the committed value of a key, on whichever node it is |
//! | `/tables/{table}?prefix=&from=&to=&after=&limit=&stale-ok=` | committed entries in the order of their keys |
//! | `POST /part` | what this node alone has of the answer to such a query: for other nodes |
//!
//! Where the active of a shard is away, or with `stale-ok=true`, a copy may answer: then the answer has `stale`, and
//! `lag_records` if that is known.
//!
//! `api` is the node as a value, `status` and `tables` what it has itself; `query` (by `search` and `question`) and
//! `cluster` ask the others, too, through `client`. This file is the protocol. `local` is what a local cluster answers,
//! for all of its nodes.

mod address;
mod alive;
mod api;
mod client;
mod cluster;
mod events;
mod local;
mod query;
mod question;
mod rates;
mod search;
mod status;
mod tables;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::middleware::DefaultHeaders;
use actix_web::web::{self, Data, Json, Path, Query, QueryConfig};
use actix_web::{App, HttpResponse, HttpServer};
use serde_json::json;

pub(crate) use address::{AddressFile, from_here};
pub(crate) use api::Api;
pub(crate) use client::{Peers, ask_app, ask_status, is_of_app, patient};
pub(crate) use cluster::{ClusterStatus, PlanStatus};
pub(crate) use local::LocalApi;
pub(crate) use question::{Found, Freshness, Page, Range, Refusal};
pub(crate) use rates::{Rates, total};
pub(crate) use status::{NodeStatus, Role};
#[cfg(test)]
pub(crate) use status::{ShardLine, examples};
pub(crate) use tables::{MAX_PAGE, key_text};

use crate::node::ALIVE_PATH;
use question::{How, Question};
use tables::QueryError;

/// The header by which a client knows that it speaks to the app that it means.
pub(crate) const APP_HEADER: &str = "tanist-app";

/// A server that answers.
pub(crate) struct Server {
    address: SocketAddr,
    handle: ServerHandle,
}

impl Server {
    /// Listens at `address` and answers for `api`, until it is stopped. Needs the runtime of the command line.
    pub(crate) fn start(address: SocketAddr, api: Arc<Api>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let name = api.app.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(Data::from(api.clone()))
                .app_data(QueryConfig::default().error_handler(|error, _| {
                    let response = refused(&QueryError::Bad(error.to_string()));
                    InternalError::from_response(error, response).into()
                }))
                .wrap(DefaultHeaders::new().add((APP_HEADER, name.clone())))
                .route("/health/live", web::get().to(live))
                .route("/health/ready", web::get().to(ready))
                .route(ALIVE_PATH, web::get().to(alive::alive))
                .route("/events", web::get().to(events::events))
                .route("/status", web::get().to(status))
                .route("/cluster", web::get().to(cluster))
                .route("/plan", web::get().to(plan))
                .route("/topology", web::get().to(topology))
                .route("/tables", web::get().to(tables))
                .route("/tables/{table}", web::get().to(scan))
                .route("/tables/{table}/{key:.*}", web::get().to(get))
                .route("/part", web::post().to(part))
                .default_service(web::to(nothing))
        })
        .workers(1)
        // Who has hung up does not wait for the rest of an answer.
        .h1_allow_half_closed(false)
        .disable_signals()
        .listen(listener)?
        .run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Ok(Self { address, handle })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it, whoever is asking just now.
    pub(crate) async fn stop(self) {
        self.handle.stop(false).await;
    }
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "live": true }))
}

async fn ready(api: Data<Api>) -> HttpResponse {
    match api.ready() {
        Ok(()) => match api.warnings() {
            warnings if warnings.is_empty() => HttpResponse::Ok().json(json!({ "ready": true })),
            warnings => HttpResponse::Ok().json(json!({ "ready": true, "warnings": warnings })),
        },
        Err(reason) => {
            HttpResponse::ServiceUnavailable().json(json!({ "ready": false, "error": reason }))
        }
    }
}

async fn status(api: Data<Api>) -> HttpResponse {
    HttpResponse::Ok().json(api.status().await)
}

async fn cluster(api: Data<Api>) -> HttpResponse {
    HttpResponse::Ok().json(api.cluster().await)
}

async fn plan(api: Data<Api>) -> HttpResponse {
    match api.plan() {
        Some(plan) => HttpResponse::Ok().json(plan),
        None => answer(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_ready",
            "there is no plan yet: the nodes are just joining",
        ),
    }
}

async fn topology(api: Data<Api>) -> HttpResponse {
    match api.topology() {
        Some(topology) => HttpResponse::Ok().json(topology),
        None => refused(&QueryError::NotJoined),
    }
}

async fn tables(api: Data<Api>) -> HttpResponse {
    match api.tables() {
        Ok(tables) => HttpResponse::Ok().json(json!({ "tables": tables.names() })),
        Err(error) => refused(&error),
    }
}

async fn get(api: Data<Api>, path: Path<(String, String)>, how: Query<How>) -> HttpResponse {
    let (table, key) = path.into_inner();
    match api.get(&table, &key, how.stale_ok).await {
        Ok((Some(value), freshness)) => HttpResponse::Ok().json(Found {
            table,
            key,
            value,
            freshness,
        }),
        Ok((None, freshness)) => HttpResponse::NotFound().json(Refusal {
            kind: "no_key".to_owned(),
            error: format!("table {table} has no key {key}"),
            freshness,
        }),
        Err(error) => refused(&error),
    }
}

async fn scan(api: Data<Api>, table: Path<String>, range: Query<Range>) -> HttpResponse {
    match api.scan(&table, &range).await {
        Ok(page) => HttpResponse::Ok().json(page),
        Err(error) => refused(&error),
    }
}

async fn part(api: Data<Api>, question: Json<Question>) -> HttpResponse {
    let api = api.into_inner();
    match web::block(move || api.part(&question)).await {
        Ok(Ok(part)) => HttpResponse::Ok().json(part),
        Ok(Err(error)) => refused(&error),
        Err(error) => answer(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_ready",
            &error.to_string(),
        ),
    }
}

async fn nothing() -> HttpResponse {
    let there_is = "there is /health/live, /health/ready, /alive, /status, /cluster, /plan, /events, /topology, /tables, /tables/{table}, /tables/{table}/{key}";
    answer(StatusCode::NOT_FOUND, "no_path", there_is)
}

fn refused(error: &QueryError) -> HttpResponse {
    let (status, kind) = match error {
        QueryError::NoTable { .. } => (StatusCode::NOT_FOUND, "no_table"),
        QueryError::Bad(_) => (StatusCode::BAD_REQUEST, "bad_request"),
        QueryError::NotJoined | QueryError::NoAnswer { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
        }
        QueryError::Broken { .. } => (StatusCode::SERVICE_UNAVAILABLE, "broken"),
        QueryError::Table(_) => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    };
    answer(status, kind, &error.to_string())
}

fn answer(status: StatusCode, kind: &str, error: &str) -> HttpResponse {
    HttpResponse::build(status).json(Refusal {
        kind: kind.to_owned(),
        error: error.to_owned(),
        freshness: Freshness::default(),
    })
}
