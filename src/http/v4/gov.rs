//! Routes of parts of the original server that this server does not have: traffic policies, which the original keeps in
//! servicecomb-kie, and its syncer. They answer what the original answers without a configuration of these parts, so that
//! clients and roles find the routes.

use std::sync::Arc;

use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::{Answer, Call};
use crate::http::spec::{Operation, Success};

const NO_KINDS: &str = "Always 400001: this server keeps no traffic policies.";

pub const CREATE: Operation = Operation::new("governance", "createPolicy", NO_KINDS).answers(Success::Never);
pub const LIST: Operation = Operation::new("governance", "listPolicies", NO_KINDS).answers(Success::Never);
pub const GET: Operation = Operation::new("governance", "readPolicy", NO_KINDS).answers(Success::Never);
pub const REPLACE: Operation =
    Operation::new("governance", "replacePolicy", NO_KINDS).answers(Success::Never);
pub const DELETE: Operation = Operation::new("governance", "deletePolicy", NO_KINDS).answers(Success::Never);

pub const SYNCER_HEALTH: Operation =
    Operation::new("node", "readSyncerHealth", "Always 500003: this server has no syncer.")
        .answers(Success::Never);

/// `/v1/{project}/gov/{kind}` and `/v1/{project}/gov/{kind}/{id}`. There is no kind of policy.
pub fn unknown_kind(_: &Arc<Api>, call: Call) -> Answer {
    let kind = call.param("kind");
    Error::invalid(format!("not support kind[{kind}] yet: this server keeps no traffic policies")).into()
}

/// `GET /v1/syncer/health`.
pub fn syncer_health(_: &Arc<Api>, _: Call) -> Answer {
    Error::new(Code::Internal, "sync config is empty: this server has no syncer").into()
}
