//! The nodes of the cluster, and whether this node can write to the store.

use std::sync::Arc;

use super::fresh_read::read_by_flags;
use crate::cache::Snapshot;
use crate::cache::find::FindQuery;
use crate::domain::Tenant;
use crate::domain::service::{DEFAULT_APP, REGISTRY_SERVICE};
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto::joined;
use crate::http::parameters;
use crate::http::reply::Reply;
use crate::http::spec::{Operation, Success};

pub const HEALTH: Operation = Operation::new(
    "node",
    "readHealth",
    "Lists the nodes of the cluster. 400002 if this node has not reached the store for about 50 s.",
)
.with(parameters::FRESH)
.answers(Success::Json(joined::INSTANCES))
.fails_with(&[Code::Unhealthy])
.uncounted();

/// `GET /health`: the instances of the registry's own service, of all versions, in the environment of this node. 400002 if this
/// node has not reached the store for long, so that clients go to a node that can write.
pub async fn health(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    if let Some(why) = api.contact.complaint(&api.clock) {
        return Err(Error::new(Code::Unhealthy, why));
    }
    let tenant = Tenant::default_tenant();
    let find = FindQuery {
        tenant: &tenant,
        target: &tenant,
        environment: "",
        app_id: DEFAULT_APP,
        name: REGISTRY_SERVICE,
        tags: &[],
        consumer: "",
    };
    let found = |snapshot: &Snapshot| {
        let found = snapshot.find(&find, &api.rules.shared)?;
        Ok(found.answer.into_owned())
    };
    let answer = read_by_flags(&api, &call, found).await?;
    api.answers.check(answer.size())?;
    Ok(Reply::json(answer.body()))
}
