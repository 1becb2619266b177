//! The receipt of a drain.

use crate::json_object;

json_object! {
    /// Which consumers have learned of the change of an instance. A consumer counts once for each of its processes.
    pub struct Receipt {
        /// The revision of the change.
        "revision" => revision: Option<i64>,
        /// How many of them have been sent the change by their watch, or have asked again.
        "seen" => seen: Option<i64>,
        /// How many consumers use the service: those that watch on any node, and those that found it within the last poll interval
        /// (`registry.drain.pollInterval`).
        "of" => of: Option<i64>,
        /// Whether all of them have.
        "complete" => complete: Option<bool>,
        /// Those that have not and that the caller may read, at most 200.
        "missing" => missing: Option<Vec<Missing>>,
        /// The nodes that have not answered in time. Their consumers are not counted.
        "silent" => silent: Option<Vec<String>>,
        /// The addresses of registered nodes that do not count: nodes of the original server, and nodes that are dead or cut off from
        /// the store. Their consumers are not counted.
        "uncounted" => uncounted: Option<Vec<String>>,
    }
}

json_object! {
    /// A consumer that has not learned of a change.
    pub struct Missing {
        /// The consumer.
        "consumer" => consumer: Option<MissingService>,
        /// The address of the client. Left out if it is not known.
        "client" => client: String,
        /// The node that it is connected to, or that it asked last: host and process.
        "node" => node: String,
        /// When the node last sent it something or answered it: RFC 3339. Left out if it never has.
        "last" => last: String,
    }
}

json_object! {
    /// A consumer. All but the id is left out if the service is not known any more.
    pub struct MissingService {
        /// The tenant, as `domain/project`.
        "tenant" => tenant: String,
        /// The id of the service.
        "serviceId" => service_id: String,
        /// Its environment.
        "environment" => environment: String,
        /// Its application.
        "appId" => app_id: String,
        /// Its name.
        "serviceName" => service_name: String,
        /// Its version.
        "version" => version: String,
    }
}
