//! The version and the readiness of this node.

use std::sync::Arc;

use crate::domain::shape::Shaped as _;
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::{Answer, Call};
use crate::http::dto;
use crate::http::reply::Reply;
use crate::http::spec::{Operation, Success};

pub const VERSION: Operation =
    Operation::new("node", "readVersion", "Returns the versions of the node and of its API.")
        .answers(Success::Json(dto::node::VersionInfo::SHAPE));

pub const READINESS: Operation =
    Operation::new("node", "readReadiness", "200 if the node serves requests; 503 while it starts or stops.")
        .fails_with(&[Code::Overloaded])
        .uncounted();

/// `GET …/version`.
pub fn version(api: &Arc<Api>, call: Call) -> Answer {
    Reply::json(api.node.version(call.surface()).clone()).into()
}

/// `GET …/health/readiness`.
pub fn readiness(api: &Arc<Api>, _: Call) -> Answer {
    if api.node.is_ready() {
        Reply::empty().into()
    } else {
        Reply::error(&Error::new(Code::Overloaded, "this node is starting or stopping")).into()
    }
}
