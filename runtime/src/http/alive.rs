//! `/alive`: says which start of the node this is, and goes on saying nothing for as long as the process lives. Others
//! notice by the broken connection that it is gone.

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data};
use futures_util::stream;

use super::Api;
use crate::node::INCARNATION_HEADER;

pub(super) async fn alive(api: Data<Api>) -> HttpResponse {
    let incarnation = api.incarnation.borrow().to_string();
    HttpResponse::Ok()
        .insert_header((INCARNATION_HEADER, incarnation))
        .streaming(stream::pending::<Result<Bytes, std::convert::Infallible>>())
}
