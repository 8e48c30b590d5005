//! [`LocalApi`]: what a local cluster answers, on this machine only.
//!
//! | path | answer |
//! | --- | --- |
//! | `POST /nodes` | adds a node |
//! | `POST /nodes/{node}/{act}` | kills, freezes, thaws, stops or starts it; answers when that is done |
//! | any other `GET` | what a node that runs answers |

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::middleware::DefaultHeaders;
use actix_web::web::{self, Data, Path};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde_json::json;
use tanist_cluster::NodeName;

use super::client::{ask_app, patient};
use super::{APP_HEADER, Server, answer};
use crate::up::{Act, Doors, Order, OrderError};

/// How long a node may take to answer what is passed on to it.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer that is passed on.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// See the module. Shared by the threads that answer.
pub(crate) struct LocalApi {
    pub(crate) app: String,
    pub(crate) doors: Doors,
}

impl Server {
    /// Listens at `address` and answers for `api`, until it is stopped. Needs the runtime of the command line.
    pub(crate) fn start_local(address: SocketAddr, api: Arc<LocalApi>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let agent = patient(PATIENCE);
        let name = api.app.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(Data::from(api.clone()))
                .app_data(Data::new(agent.clone()))
                .wrap(DefaultHeaders::new().add((APP_HEADER, name.clone())))
                .route("/nodes", web::post().to(add))
                .route("/nodes/{node}/{act}", web::post().to(act))
                .default_service(web::get().to(pass_on))
        })
        .workers(1)
        .disable_signals()
        .listen(listener)?
        .run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Ok(Self { address, handle })
    }
}

async fn add(api: Data<LocalApi>, request: HttpRequest) -> HttpResponse {
    api.order(&request, Order::Add, "added").await
}

async fn act(
    api: Data<LocalApi>,
    request: HttpRequest,
    path: Path<(String, String)>,
) -> HttpResponse {
    let (node, act) = path.into_inner();
    match act.parse::<Act>() {
        Ok(act) => {
            let order = Order::Node(act, NodeName::new(node));
            api.order(&request, order, act.done()).await
        }
        Err(()) => {
            let there_is = format!(
                "a node can be killed, frozen, thawed, stopped or started, but not `{act}`"
            );
            answer(StatusCode::NOT_FOUND, "no_path", &there_is)
        }
    }
}

impl LocalApi {
    async fn order(&self, request: &HttpRequest, order: Order, did: &str) -> HttpResponse {
        // A web page that somebody looks at can send requests to this machine, but none with a header of ours.
        let header = request.headers().get(APP_HEADER);
        if header.and_then(|header| header.to_str().ok()) != Some(&self.app) {
            let error = format!("an order needs the header {APP_HEADER}: {}", self.app);
            return answer(StatusCode::FORBIDDEN, "bad_request", &error);
        }
        match self.doors.order(order).await {
            Ok(node) => HttpResponse::Ok().json(json!({ "node": node, "done": did })),
            Err(error) => refused(&error),
        }
    }
}

fn refused(error: &OrderError) -> HttpResponse {
    let (status, kind) = match error {
        OrderError::NoSuchNode { .. } => (StatusCode::NOT_FOUND, "no_node"),
        OrderError::Refused { .. } => (StatusCode::CONFLICT, "refused"),
        OrderError::System { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        OrderError::Ending => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    answer(status, kind, &error.to_string())
}

async fn pass_on(
    api: Data<LocalApi>,
    agent: Data<ureq::Agent>,
    request: HttpRequest,
) -> HttpResponse {
    let (nodes, app) = (api.doors.nodes.borrow().clone(), api.app.clone());
    let asked = request.uri().path_and_query();
    let asked = asked.map_or_else(|| "/".to_owned(), ToString::to_string);
    let answered = web::block(move || {
        let mut answers = nodes
            .iter()
            .map(|node| ask(&agent, &app, &format!("http://{node}{asked}")));
        answers.find_map(|answer| answer)
    });
    match answered.await {
        Ok(Some((status, kind, body))) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            HttpResponse::build(status)
                .insert_header((CONTENT_TYPE, kind))
                .body(body)
        }
        Ok(None) | Err(_) => {
            let error = "no node answers just now: `up` shows how they are";
            answer(StatusCode::SERVICE_UNAVAILABLE, "not_ready", error)
        }
    }
}

/// Status, type and content of an answer.
fn ask(agent: &ureq::Agent, app: &str, url: &str) -> Option<(u16, String, Vec<u8>)> {
    let mut response = ask_app(agent, app, url)?;
    let kind = response.headers().get("content-type");
    let kind = kind
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or("application/json")
        .to_owned();
    let body = response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER_BYTES)
        .read_to_vec()
        .ok()?;
    Some((response.status().as_u16(), kind, body))
}
