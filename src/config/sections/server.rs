//! Keys of the HTTP server, of heartbeats by websocket, and of the metrics.

use std::time::Duration;

use super::super::endpoint::{ListenUrl, Scheme, is_wildcard, parse_listen_host};
use super::super::keys::table;
use super::super::reader::ConfigReader;
use super::super::web_origin::WebOrigin;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// An address or a name, IPv6 without brackets. Empty or `0.0.0.0`: every address of the machine.
    pub host: String,
    pub port: u16,
    /// At least 1.
    pub workers: usize,
    pub max_header_bytes: usize,
    /// For bodies of requests that have no smaller limit.
    pub max_body_bytes: usize,
    pub max_instance_bytes: usize,
    /// For the properties of a service or an instance.
    pub max_properties_bytes: usize,
    pub max_concurrent: usize,
    /// Services and instances that one batch find may name.
    pub max_batch: usize,
    pub max_response_bytes: usize,
    /// Bytes that all answers together may hold in memory. At least `max_response_bytes`.
    pub max_response_memory: usize,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    pub idle_timeout: Duration,
    pub response_timeout: Duration,
    /// Origins of pages that may change the registry, besides the server's own.
    pub cors_origins: Vec<WebOrigin>,
    /// Where the address of a client is found. Tried in this order. If none has an address, [`AddressLookup::Peer`] counts.
    pub lookups: Vec<AddressLookup>,
    /// The limit of requests per client address, if any.
    pub rate: Option<RateConfig>,
    /// The limit of requests per account, if any.
    pub account_rate: Option<RateConfig>,
}

/// A limit of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateConfig {
    /// At least 1.
    pub requests: u32,
    pub unit: Duration,
}

/// A place that has the address of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressLookup {
    /// The other end of the connection.
    Peer,
    /// The last address in the header `X-Forwarded-For`.
    ForwardedFor,
    /// The header `X-Real-IP`.
    RealIp,
}

impl RateConfig {
    /// The limits of addresses and of accounts; `None` if there is no limit.
    fn read(reader: &mut ConfigReader) -> [Option<Self>; 2] {
        let requests = [reader.integer(&table::RATE_REQUESTS), reader.integer(&table::ACCOUNT_RATE_REQUESTS)];
        let unit = match reader.choice(&table::RATE_UNIT) {
            "ms" => Duration::from_millis(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => Duration::from_secs(1),
        };
        requests.map(|requests| (requests > 0).then_some(Self { requests, unit }))
    }
}

impl AddressLookup {
    fn read_all(reader: &mut ConfigReader) -> Vec<Self> {
        let lookup = |name: &String| match name.to_ascii_lowercase().as_str() {
            "remoteaddr" => Some(AddressLookup::Peer),
            "x-forwarded-for" => Some(AddressLookup::ForwardedFor),
            "x-real-ip" => Some(AddressLookup::RealIp),
            _ => None,
        };
        let names = reader.list(&table::RATE_LOOKUPS);
        let lookups: Vec<AddressLookup> = names.iter().filter_map(lookup).collect();
        if lookups.len() < names.len() {
            reader.refuse(
                &table::RATE_LOOKUPS,
                "write RemoteAddr, X-Forwarded-For, X-Real-IP, or some of them",
            );
        }
        lookups
    }
}

impl ServerConfig {
    pub(in super::super) fn read(reader: &mut ConfigReader) -> Self {
        let host = parse_listen_host(&reader.text(&table::SERVER_HOST)).unwrap_or_else(|expected| {
            reader.refuse(&table::SERVER_HOST, expected);
            table::SERVER_HOST.default.to_owned()
        });
        let workers = match reader.text_if_any(&table::SERVER_WORKERS) {
            Some(_) => reader.integer(&table::SERVER_WORKERS),
            None => {
                reader.settle(&table::SERVER_WORKERS, reader.cores);
                reader.cores
            }
        };
        let max_response_bytes = reader.integer(&table::MAX_RESPONSE_BYTES);
        let max_response_memory = reader.integer(&table::MAX_RESPONSE_MEMORY);
        if max_response_memory < max_response_bytes {
            let expected =
                format!("write at least {max_response_bytes}, the value of server.response.maxBytes");
            reader.refuse(&table::MAX_RESPONSE_MEMORY, expected);
        }
        let mut cors_origins = Vec::new();
        for origin in reader.list(&table::CORS_ORIGINS) {
            match WebOrigin::parse(&origin) {
                Ok(origin) => cors_origins.push(origin),
                Err(expected) => reader.refuse(&table::CORS_ORIGINS, expected),
            }
        }
        let [rate, account_rate] = RateConfig::read(reader);
        Self {
            host,
            port: reader.integer(&table::SERVER_PORT),
            workers: workers.max(1),
            max_header_bytes: reader.integer(&table::MAX_HEADER_BYTES),
            max_body_bytes: reader.integer(&table::MAX_BODY_BYTES),
            max_instance_bytes: reader.integer(&table::MAX_INSTANCE_BYTES),
            max_properties_bytes: reader.integer(&table::MAX_PROPERTIES_BYTES),
            max_concurrent: reader.integer(&table::MAX_CONCURRENT),
            max_batch: reader.integer(&table::MAX_BATCH),
            max_response_bytes,
            max_response_memory,
            header_timeout: reader.duration(&table::HEADER_TIMEOUT),
            body_timeout: reader.duration(&table::BODY_TIMEOUT),
            idle_timeout: reader.duration(&table::IDLE_TIMEOUT),
            response_timeout: reader.duration(&table::RESPONSE_TIMEOUT),
            cors_origins,
            lookups: AddressLookup::read_all(reader),
            rate,
            account_rate,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// How often a client is pinged whose websocket serves as heartbeat: 1 s to 1 h.
    pub ping_interval: Duration,
}

impl HeartbeatConfig {
    pub(in super::super) fn read(reader: &mut ConfigReader) -> Self {
        Self { ping_interval: reader.duration(&table::PING_INTERVAL) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Whether requests and the registry are counted.
    pub enable: bool,
    /// Whether `GET /metrics` is answered: this server has the exporter.
    pub has_exporter: bool,
    /// Where it is answered, if not on `server.port`.
    pub listen: Option<ListenUrl>,
}

/// The path of the metrics.
const METRICS_PATH: &str = "/metrics";

impl MetricsConfig {
    pub(in super::super) fn read(reader: &mut ConfigReader, server: &ServerConfig, has_tls: bool) -> Self {
        let exporter = reader.text(&table::METRICS_EXPORTER);
        let enable = reader.switch(&table::METRICS_ENABLE);
        let is_known = exporter.eq_ignore_ascii_case("prometheus");
        if !is_known && !exporter.is_empty() {
            reader.warn(
                &table::METRICS_EXPORTER,
                format!("metrics.exporter = {exporter:?} is not known, so GET /metrics is answered 404; write prometheus"),
            );
        }
        let url = reader.text_if_any(&table::METRICS_LISTEN);
        let listen = url.and_then(|url| {
            let listen = ListenUrl::parse(&url, METRICS_PATH).and_then(|listen| listen.fits(server, has_tls));
            listen.map_err(|expected| reader.refuse(&table::METRICS_LISTEN, expected)).ok()
        });
        if listen.is_some() && !is_known {
            let text =
                "metrics.prometheus.listenURL has no effect, because metrics.exporter is not prometheus";
            reader.warn(&table::METRICS_LISTEN, text);
        }
        Self { enable, has_exporter: is_known, listen: listen.filter(|_| is_known) }
    }
}

impl ListenUrl {
    /// Says what is wrong with the address beside that of the server.
    fn fits(self, server: &ServerConfig, has_tls: bool) -> Result<Self, String> {
        if self.scheme == Scheme::Https && !has_tls {
            return Err(
                "write http://, or switch on ssl.enable: https uses the certificate of the server".to_owned()
            );
        }
        let is_same_host = self.host == server.host || is_wildcard(&self.host) || is_wildcard(&server.host);
        if self.port == server.port && is_same_host {
            return Err(format!(
                "write another port than {}, which is server.port, or leave the key out: {METRICS_PATH} is then answered there",
                server.port
            ));
        }
        Ok(self)
    }
}
