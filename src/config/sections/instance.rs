//! Keys of the node's own instance, and of every instance.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::endpoint::{bracketed, is_wildcard, parse_port, split_host_port};
use super::super::keys::table;
use super::super::reader::ConfigReader;
use super::server::ServerConfig;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datacenter {
    pub name: String,
    pub region: String,
    pub available_zone: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct InstanceConfig {
    /// `host:port` under which others reach this node: `10.12.0.1:30100`, `[fd00::1]:30100`.
    pub endpoint: String,
    /// The host name of the node's instance: `service_center_` and the listening address, with `_` for each `.` and `:`
    /// (`service_center_10_12_0_1`). On a wildcard address, the host of `endpoint` instead.
    pub host_name: String,
    pub datacenter: Option<Datacenter>,
    /// The TTL of every lease, in seconds, whatever the health check of the instance says.
    pub ttl: Option<i64>,
    /// The shortest heartbeat interval that an instance may have.
    pub min_interval: Duration,
    /// The smallest number of heartbeats that an instance may miss.
    pub min_times: u32,
    /// Added to the properties of every instance. They win over its own.
    pub properties: BTreeMap<String, String>,
    /// Whether expiries are held back while 80 % or more of all instances have expired.
    pub expiry_guard_preservation: bool,
    /// If more than this share of all instances expire within about a heartbeat interval, their expiries are held back. Above 0;
    /// 1 is never.
    pub expiry_guard_share: f64,
    /// At most this share of the instances of a service may expire within a heartbeat interval. Above 0; 1 is no limit.
    pub expiry_guard_service_share: f64,
}

impl InstanceConfig {
    pub(in super::super) fn read(
        reader: &mut ConfigReader,
        server: &ServerConfig,
        self_register: bool,
    ) -> Self {
        let endpoint = endpoint(reader, server, self_register);
        let published = split_host_port(&endpoint).map_or("", |(host, _)| host);
        let named = if is_wildcard(&server.host) { published } else { &server.host };
        let ttl: i64 = reader.integer(&table::INSTANCE_TTL);
        if (1..USUAL_INTERVAL).contains(&ttl) {
            let text = format!(
                "every lease lasts {ttl} s, but most clients send a heartbeat every {USUAL_INTERVAL} s, so their instances expire \
                 between two heartbeats; set more than {USUAL_INTERVAL}, or 0 to use the health check of each instance"
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
            expiry_guard_service_share: reader.ratio(&table::EXPIRY_GUARD_SERVICE_SHARE),
        }
    }
}

/// The heartbeat interval of clients that do not set another one, in seconds.
const USUAL_INTERVAL: i64 = 30;

fn endpoint(reader: &mut ConfigReader, server: &ServerConfig, self_register: bool) -> String {
    let Some(given) = reader.text_if_any(&table::INSTANCE_ENDPOINT) else {
        if self_register && is_wildcard(&server.host) {
            reader.refuse(
                &table::SERVER_HOST,
                "others cannot reach a wildcard address; set registry.instance.endpoint to the host:port under which they \
                 reach this node, or listen on one address",
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
                "write host or host:port, such as 10.12.0.1:30100 or [fd00::1]:30100, without rest:// and without a path",
            );
            given
        }
    }
}

fn datacenter(reader: &mut ConfigReader) -> Option<Datacenter> {
    let keys = [&table::INSTANCE_DC_NAME, &table::INSTANCE_DC_REGION, &table::INSTANCE_DC_ZONE];
    let [name, region, available_zone] = keys.map(|key| reader.text_if_any(key));
    let some = name.is_some() || region.is_some() || available_zone.is_some();
    match (name, region, available_zone) {
        (Some(name), Some(region), Some(available_zone)) => Some(Datacenter { name, region, available_zone }),
        _ if some => {
            let set = keys.into_iter().find(|key| reader.is_given(key)).unwrap_or(keys[0]);
            let text = "the data center is ignored; set all three of registry.instance.datacenter.name, .region and .availableZone";
            reader.warn(set, text);
            None
        }
        _ => None,
    }
}
