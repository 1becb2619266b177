//! The HTTP server, the pings of heartbeats by websocket, and the metrics.

use std::time::Duration;

use super::super::endpoint::parse_listen_host;
use super::super::keys::table;
use super::super::reader::Reader;

/// Where and how requests are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// An address or a name, IPv6 without brackets; empty or unspecified: every address.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
    /// Threads that serve requests; at least 1.
    pub workers: usize,
    /// Limit of a request's header block, bytes.
    pub max_header_bytes: usize,
    /// Limit of a body for which no smaller one holds, bytes.
    pub max_body_bytes: usize,
    /// Limit of an instance, bytes.
    pub max_instance_bytes: usize,
    /// Limit of the properties of a service or an instance, bytes.
    pub max_properties_bytes: usize,
    /// Requests that may wait at once.
    pub max_concurrent: usize,
    /// Services and instances that a batch find may name.
    pub max_batch: usize,
    /// Limit of an answer's body, bytes.
    pub max_response_bytes: usize,
    /// Limit of what all answers hold of memory, bytes; at least that of one.
    pub max_response_memory: usize,
    /// Limit of the arrival of the headers.
    pub header_timeout: Duration,
    /// Limit of the arrival of the body.
    pub body_timeout: Duration,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// Limit of writing a response.
    pub response_timeout: Duration,
}

impl ServerConfig {
    pub(in super::super) fn read(reader: &mut Reader) -> Self {
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
            let expected = format!("write at least server.response.maxBytes, which is {max_response_bytes}");
            reader.refuse(&table::MAX_RESPONSE_MEMORY, expected);
        }
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
        }
    }
}

/// Websockets that serve as heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// How often such a client is pinged: 1 s to 1 h.
    pub ping_interval: Duration,
}

impl HeartbeatConfig {
    pub(in super::super) fn read(reader: &mut Reader) -> Self {
        Self { ping_interval: reader.duration(&table::PING_INTERVAL) }
    }
}

/// What is measured and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Whether `GET /metrics` is answered: metrics are enabled, and the exporter is one this server has.
    pub endpoint: bool,
}

impl MetricsConfig {
    pub(in super::super) fn read(reader: &mut Reader) -> Self {
        let exporter = reader.text(&table::METRICS_EXPORTER);
        let enable = reader.switch(&table::METRICS_ENABLE);
        let is_known = exporter.eq_ignore_ascii_case("prometheus");
        if !is_known && !exporter.is_empty() {
            reader.warn(
                &table::METRICS_EXPORTER,
                format!("metrics.exporter = {exporter:?} is not known: GET /metrics is not answered; write prometheus"),
            );
        }
        Self { endpoint: enable && is_known }
    }
}
