//! What a node says about itself in the store, for the other nodes. They never call each other.

use crate::domain::event::Revision;
use crate::json_object;

json_object! {
    /// The summary of a node.
    pub struct NodeSummary {
        /// The host and the process.
        "node" => node: String,
        /// The instance by which the node is registered. Empty if it is not.
        "instanceId" => instance_id: String,
        /// The address of the node for clients.
        "endpoint" => endpoint: String,
        /// The version of the program.
        "version" => version: String,
        /// The release of the original server whose API the node implements.
        "apiVersion" => api_version: String,
        /// When the process started, milliseconds since 1970 by its clock.
        "startedMillis" => started: i64,
        /// The revision that the snapshot of the node has.
        "revision" => revision: i64,
        /// The digest of that snapshot: 16 hexadecimal digits.
        "digest" => digest: String,
        /// The sum of what is shown besides, because expiries are held back.
        "heldDigest" => held_digest: String,
        /// Service versions of all tenants.
        "services" => services: i64,
        /// Instances of all tenants.
        "instances" => instances: i64,
        /// Websocket sessions that watch.
        "watchers" => watchers: i64,
        /// Expired instances that the node still shows.
        "heldExpiries" => held_expiries: i64,
        /// The active alarms.
        "alarms" => alarms: Vec<String>,
        /// Since when the node reaches the store without an outage, milliseconds since 1970 by its clock. 0 if it does not reach it, or if
        /// the node is of a version that does not say.
        "storeReachedMillis" => store_reached: i64,
        /// Since when the node does not reach the store, as above. 0 if it reaches it.
        "storeLostMillis" => store_lost: i64,
        /// The limits of the node.
        "limits" => limits: Vec<LimitUse>,
        /// When the summary was written, milliseconds since 1970 by the clock of the node.
        "timeMillis" => time: i64,
    }
}

json_object! {
    /// A limit, and how much of it is in use.
    pub struct LimitUse {
        /// What is limited.
        "name" => name: String,
        /// How much is in use.
        "used" => used: i64,
        /// The most that may be in use. What is over it is rejected.
        "limit" => limit: i64,
        /// `node`: the limit is that of the node. `tenant`: it is that of the tenant of the request. `registry`: it is that of the whole
        /// registry.
        "scope" => scope: String,
    }
}

impl NodeSummary {
    /// The digest and the revision that it belongs to. `None` before the node has listed the store.
    pub fn digest_at(&self) -> Option<(Revision, u64)> {
        let digest = u64::from_str_radix(&self.digest, 16).ok()?;
        (self.revision > 0).then_some((self.revision, digest))
    }
}

/// A digest as a text.
pub fn digest_text(digest: u64) -> String {
    format!("{digest:016x}")
}
