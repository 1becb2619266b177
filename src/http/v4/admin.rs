//! What an operator asks a node.

use std::sync::Arc;
use std::time::Duration;

use crate::actors::mailbox::{Refused, ask};
use crate::actors::watch::messages::ListHeld;
use crate::domain::shape::Shaped as _;
use crate::error::Error;
use crate::http::api::{Api, refused};
use crate::http::call::Call;
use crate::http::reply::Reply;
use crate::http::spec::{Load, Operation, Success};
use crate::json_object;

pub const EXPIRIES: Operation =
    Operation::new("node", "listExpiries", "Instances that have expired and are still shown, and why.")
        .answers(Success::Json(Expiries::SHAPE));

/// How long the WatchActor may take.
const LIMIT: Duration = Duration::from_secs(2);

json_object! {
    /// The expired instances this node still shows.
    pub struct Expiries {
        /// One each.
        "expiries" => expiries: Vec<Expiry>,
    }
}

json_object! {
    /// An expired instance.
    pub struct Expiry {
        /// Its tenant.
        "tenant" => tenant: String,
        /// Its service.
        "serviceId" => service_id: String,
        /// Its id.
        "instanceId" => instance_id: String,
        /// Why it is still shown: `window` (each waits 2 s), `preservation` (80 % and more expired at once), `share` (more
        /// than the configured share expired within a heartbeat interval).
        "rule" => rule: String,
        /// For how long it has been held, seconds.
        "heldSeconds" => held: i32,
        /// When it is let go at the latest, seconds from now.
        "releasedInSeconds" => released_in: i32,
    }
}

/// `GET /v4/{project}/admin/expiries`.
pub async fn expiries(api: Arc<Api>, _: Call) -> Result<Reply, Error> {
    let held = ask(&api.watch, ListHeld, LIMIT).await.map_err(|why| match why {
        // The store has no part in this: the actor is busy.
        Refused::Late => refused(Refused::Full),
        why => refused(why),
    })?;
    let seconds = |seconds| i32::try_from(seconds).unwrap_or(i32::MAX);
    let expiries = held.into_iter().map(|held| Expiry {
        tenant: held.at.tenant.to_string(),
        service_id: held.at.service.to_string(),
        instance_id: held.at.instance.to_string(),
        rule: held.rule.to_owned(),
        held: seconds(held.held_seconds),
        released_in: seconds(held.released_in_seconds),
    });
    api.encoded(Load::Memory, &Expiries { expiries: expiries.collect() })
}
