//! `top`.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use hyper::Method;
use serde_json::Value;

use super::client::Call;
use super::failure::Failure;
use super::get::node::agrees;
use super::output::{Column, Format, Listing, Output, Style, column, counts, items, shown};
use super::session::{Session, queried};
use crate::clock::Stopwatch;
use crate::config::{logging::printable, parse_duration};

/// Shorter intervals would be load without use.
const SHORTEST: Duration = Duration::from_millis(500);
/// Clears the screen and goes to its first cell.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";
/// The counter of requests.
const REQUESTS: &str = "service_center_http_request_total{";

/// Show the nodes, the rate of requests, and the services with the most instances. On a terminal it goes on until Ctrl-C
///
/// Of a node: REVISION is the revision of the store that it shows; AGREES and STORE are those of get node; SERVICES and INSTANCES are of all
/// domains; WATCHERS are websocket sessions that watch; HELD are expired instances that it still shows; ALARMS are active. Of a service:
/// STATE says how its instances are (noneUp, someDown, allUp or empty); INSTANCES are the numbers by status; REVISION is the revision of the
/// store at which the service or one of its instances changed last
#[derive(Args)]
pub struct Top {
    /// How often the numbers are read
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    interval: Duration,
    /// Print once
    #[arg(long)]
    once: bool,
    /// Show services whose instances are in this state only
    #[arg(long, value_parser = ["noneUp", "someDown", "allUp", "empty"])]
    status: Option<String>,
    /// Show so many services
    #[arg(long, value_name = "NUMBER", default_value = "20", value_parser = clap::value_parser!(u8).range(1..=200))]
    lines: u8,
}

impl Top {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        let goes_on = !self.once && session.output.is_text() && std::io::stdout().is_terminal();
        let interval = self.interval.max(SHORTEST);
        let mut before: Option<(f64, Stopwatch)> = None;
        loop {
            let page = self.services(session).await?;
            let nodes = session.pages("admin/nodes", &[], None).await?;
            if !session.output.is_text() {
                let answer = serde_json::json!({"nodes": nodes, "services": page});
                let output = session.output;
                return output.value(session.terminal, &answer);
            }
            let now = (requests(session).await?, Stopwatch::start());
            let rate = before.map(|(count, start)| {
                (now.0 - count).max(0.0) / now.1.since(start).as_secs_f64().max(f64::EPSILON)
            });
            before = Some(now);
            if goes_on {
                session.terminal.write(CLEAR);
            }
            print(session, &nodes, &page, rate)?;
            if !goes_on {
                return Ok(());
            }
            tokio::time::sleep(interval).await;
        }
    }

    async fn services(&self, session: &mut Session<'_, '_>) -> Result<Value, Failure> {
        let query = [
            ("sort", "instances".to_owned()),
            ("order", "desc".to_owned()),
            ("status", self.status.clone().unwrap_or_default()),
            ("limit", self.lines.to_string()),
        ];
        session.get(&format!("govern/services{}", queried(&query))).await
    }
}

/// The requests that this node has counted since its start.
async fn requests(session: &mut Session<'_, '_>) -> Result<f64, Failure> {
    let metrics = session.client.call(&Call::new(Method::GET, "/metrics")).await?;
    let metrics = String::from_utf8_lossy(&metrics);
    let values = metrics.lines().filter(|line| line.starts_with(REQUESTS));
    Ok(values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
}

fn print(
    session: &mut Session<'_, '_>,
    nodes: &[Value],
    page: &Value,
    rate: Option<f64>,
) -> Result<(), Failure> {
    let rate = rate.map(|rate| format!(", {rate:.0} requests/s on this node")).unwrap_or_default();
    let head = format!(
        "{}  revision {}: {} services ({}), instances: {}{rate}",
        session.client.address(),
        shown(page, "/revision"),
        shown(page, "/total"),
        counts(page, "/counts"),
        counts(page, "/instanceCounts"),
    );
    // A table of this command is narrow, so nothing is cut.
    let output: Output = session.output.in_format(Format::Wide);
    session.terminal.say(&output.styled(&printable(&head), Style::Bold));
    session.terminal.say("");
    let columns = vec![
        column("NODE", "/node"),
        column("REVISION", "/revision"),
        agrees(nodes),
        column("STORE", "/storeContact/state"),
        column("SERVICES", "/services"),
        column("INSTANCES", "/instances"),
        column("WATCHERS", "/watchers"),
        column("HELD", "/heldExpiries"),
        Column("ALARMS", Box::new(|node| items(node, "/alarms").len().to_string())),
    ];
    let name = |node: &Value| shown(node, "/node");
    output.list(session.terminal, &Listing { columns, items: nodes.to_vec(), name })?;
    session.terminal.say("");
    let columns = vec![
        column("SERVICE", "/serviceName"),
        column("APPID", "/appId"),
        column("ENV", "/environment"),
        column("STATE", "/state"),
        Column("INSTANCES", Box::new(|service| counts(service, "/instances"))),
        column("REVISION", "/lastChangeRevision"),
    ];
    let services = items(page, "/items").to_vec();
    let name = |service: &Value| shown(service, "/serviceName");
    output.list(session.terminal, &Listing { columns, items: services, name })
}
