//! What Prometheus and Grafana get: the targets of the service discovery, the board, the alerts, and the metrics that these name.

mod expressions;
mod rules;
mod scrape;
mod targets;
