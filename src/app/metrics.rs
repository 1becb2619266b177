//! The ticks of the metrics, and their separate listener (`metrics.prometheus.listenURL`).

use std::sync::Arc;

use rustls::ServerConfig;

use super::error::AppError;
use super::listen_address;
use super::rules::MetricsSetup;
use crate::clock::Clock;
use crate::config::{ListenUrl, Scheme};
use crate::http::api::Api;
use crate::http::routes;
use crate::http::server::{self, Bound, RunningServer, Settings};
use crate::metrics;
use crate::tls::files::FileSet;

/// The most connections of the separate listener, and the most requests that wait.
const MOST: usize = 64;

/// Notes what is known from the configuration.
pub(super) fn begin(setup: &MetricsSetup) {
    metrics::BACKEND_COUNT.set(setup.backends);
    if !setup.are_counted {
        metrics::requests::disable();
    }
}

/// Keeps what the values of the last minute are computed from.
pub(super) async fn tick(clock: Clock) {
    loop {
        tokio::time::sleep(metrics::TICK).await;
        metrics::tick(clock.monotonic());
    }
}

/// Serves the metrics, and nothing else, at their own address.
pub(super) async fn listen(
    url: &ListenUrl,
    api: &Api,
    server: &Settings,
    tls: Option<Arc<FileSet<ServerConfig>>>,
) -> Result<RunningServer, AppError> {
    let address = listen_address("metrics.prometheus.listenURL: the host", &url.host, url.port)?;
    let bound = Bound::bind(address).map_err(|error| AppError::Listen { address, error })?;
    let settings = Settings {
        workers: 1,
        max_connections: MOST,
        max_requests: MOST,
        tls: tls.filter(|_| url.scheme == Scheme::Https),
        rate: None,
        access: None,
        access_log: None,
        tracer: None,
        ..server.clone()
    };
    let (api, route) = (api.clone(), routes::metrics_at(&url.path));
    let started = server::start(vec![bound], move || Arc::new(api.clone()), [route], settings).await;
    let started = started.map_err(|error| AppError::Listen { address, error })?;
    log::info!("the metrics are at {address}, path {}", url.path);
    Ok(started)
}
