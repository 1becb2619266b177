//! This node's own instance, and the rules for every instance.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::endpoint::{bracketed, is_wildcard, parse_port, split_host_port};
use super::super::keys::table;
use super::super::reader::Reader;
use super::server::ServerConfig;

/// Where this node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datacenter {
    /// Data center.
    pub name: String,
    /// Region.
    pub region: String,
    /// Zone.
    pub available_zone: String,
}

/// This node's own instance, and the rules for every instance.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceConfig {
    /// `host:port` under which others reach this node, an IPv6 host in brackets: `10.12.0.1:30100`, `[fd00::1]:30100`.
    pub endpoint: String,
    /// The name this node registers: `service_center_` and the listening address with `_` for each `.` and `:`
    /// (`service_center_10_12_0_1`); on a wildcard address, of the endpoint's host.
    pub host_name: String,
    /// Where this node stands.
    pub datacenter: Option<Datacenter>,
    /// Seconds that every lease lasts, whatever the instance's health check says.
    pub ttl: Option<i64>,
    /// Shortest heartbeat interval.
    pub min_interval: Duration,
    /// Fewest heartbeats that may be missed.
    pub min_times: u32,
    /// Added to every instance's properties; wins over its own.
    pub properties: BTreeMap<String, String>,
    /// Whether expiries are held back while 80 % and more of all instances have expired.
    pub expiry_guard_preservation: bool,
    /// Share of all instances whose expiry within about a heartbeat interval is held back; above 0, at most 1 (never).
    pub expiry_guard_share: f64,
}

impl InstanceConfig {
    pub(in super::super) fn read(reader: &mut Reader, server: &ServerConfig, self_register: bool) -> Self {
        let endpoint = endpoint(reader, server, self_register);
        let published = split_host_port(&endpoint).map_or("", |(host, _)| host);
        let named = if is_wildcard(&server.host) { published } else { &server.host };
        let ttl: i64 = reader.integer(&table::INSTANCE_TTL);
        if (1..USUAL_INTERVAL).contains(&ttl) {
            let text = format!(
                "instances that send a heartbeat each {USUAL_INTERVAL} s, as clients usually do, expire between two of \
                 them: every lease lasts {ttl} s; set more than {USUAL_INTERVAL}, or 0 for what each health check says"
            );
            reader.warn(&table::INSTANCE_TTL, text);
        }
        Self {
            host_name: format!("service_center_{}", named.replace(['.', ':'], "_")),
            endpoint,
            datacenter: datacenter(reader),
            ttl: (ttl > 0).then_some(ttl),
            min_interval: reader.duration(&table::INSTANCE_MIN_INTERVAL),
            min_times: reader.integer(&table::INSTANCE_MIN_TIMES),
            properties: reader.map(&table::INSTANCE_PROPERTIES),
            expiry_guard_preservation: reader.switch(&table::EXPIRY_GUARD_PRESERVATION),
            expiry_guard_share: reader.ratio(&table::EXPIRY_GUARD_SHARE),
        }
    }
}

/// Seconds between two heartbeats where a client does not say otherwise.
const USUAL_INTERVAL: i64 = 30;

fn endpoint(reader: &mut Reader, server: &ServerConfig, self_register: bool) -> String {
    let Some(given) = reader.text_if_any(&table::INSTANCE_ENDPOINT) else {
        if self_register && is_wildcard(&server.host) {
            reader.refuse(
                &table::SERVER_HOST,
                "others cannot reach a wildcard address: set registry.instance.endpoint to the host:port under which \
                 they reach this node, or listen on one address",
            );
        }
        let endpoint = format!("{}:{}", bracketed(&server.host), server.port);
        reader.settle(&table::INSTANCE_ENDPOINT, &endpoint);
        return endpoint;
    };
    let port = match split_host_port(&given) {
        Some((_, None)) => Some(server.port),
        Some((host, Some(port))) if !is_wildcard(host) => parse_port(port),
        _ => None,
    };
    match (split_host_port(&given), port) {
        (Some((host, _)), Some(port)) if !is_wildcard(host) => format!("{}:{port}", bracketed(host)),
        _ => {
            reader.refuse(
                &table::INSTANCE_ENDPOINT,
                "write host or host:port, such as 10.12.0.1:30100 or [fd00::1]:30100, without rest:// and path",
            );
            given
        }
    }
}

fn datacenter(reader: &mut Reader) -> Option<Datacenter> {
    let keys = [&table::INSTANCE_DC_NAME, &table::INSTANCE_DC_REGION, &table::INSTANCE_DC_ZONE];
    let [name, region, available_zone] = keys.map(|key| reader.text_if_any(key));
    let some = name.is_some() || region.is_some() || available_zone.is_some();
    match (name, region, available_zone) {
        (Some(name), Some(region), Some(available_zone)) => Some(Datacenter { name, region, available_zone }),
        _ if some => {
            let set = keys.into_iter().find(|key| reader.is_given(key)).unwrap_or(keys[0]);
            let text = "registry.instance.datacenter.name, .region and .availableZone count only if all three are set";
            reader.warn(set, text);
            None
        }
        _ => None,
    }
}
