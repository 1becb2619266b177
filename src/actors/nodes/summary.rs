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
        /// When the summary was written, milliseconds since 1970 by the clock of the node.
        "timeMillis" => time: i64,
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
