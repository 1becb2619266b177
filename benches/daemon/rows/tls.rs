//! Requests over TLS, over HTTP/1.1 and HTTP/2, beside plain ones, and new connections. Two daemons on one etcd have the same content, and
//! one of them speaks TLS. The daemon speaks HTTP/2 over TLS only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use rustls::ClientConfig;
use rustls::client::Resumption;

use super::load::{CONNECTIONS, FEW, OTHERS, OTHERS_EACH, answer};
use crate::client::{block_on, request};
use crate::compare::{Best, Comparison, Drive, Server, in_turn};
use crate::encryption::{Certificate, Protocol, connect};
use crate::fill::{LONG, Service, fill, instance_id};
use crate::floor::{Floor, Reads, Speaks};
use crate::http2;
use crate::node::{Backing, Kind, Node};
use crate::options::Options;
use crate::support::http::AsyncConnection;
use crate::table::{Line, Table};
use crate::wrk;

/// The rows measured here.
pub const ROWS: [&str; 7] = [
    "tls-find-1",
    "tls-find-100",
    "tls-heartbeat",
    "h2-find-1",
    "h2-find-100",
    "h2-heartbeat",
    "tls-connect",
];

/// A load of many requests at a time on few connections, which HTTP/2 is for.
const SHARED: [usize; 2] = [2, 16];
/// New connections of a round, and how many clients connect at a time.
const CONNECTS: usize = 2_000;
const CONNECTING: usize = 16;

type Request<'a> = (&'a str, String, Option<&'a str>);

/// Measures them. TLS is the same on both stores.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    if store == Kind::Embedded {
        return Ok(());
    }
    let backing = Backing::start(store);
    let certificate = Certificate::make()?;
    let (plain, encrypted) = (backing.node()?, backing.node_over_tls(&certificate)?);
    let address = plain.address();
    let consumer = Service::create(address, "consumer")?;
    let found = [1, 100].map(|count| {
        let service = Service::create(address, &format!("provider-{count}"))?;
        fill(address, std::slice::from_ref(&service), options.scale(count, count.min(10)), LONG)?;
        Ok::<_, String>(service)
    });
    let [one, hundred] = found;
    let (one, hundred) = (one?, hundred?);
    let others = Service::create_many(address, "other", options.scale(OTHERS, 5))?;
    fill(address, &others, options.scale(OTHERS_EACH, 4), LONG)?;
    let consumer = Some(consumer.id.as_str());
    let find = |service: &Service| vec![("GET", service.find_path(), consumer)];
    let beats = others.iter().take(FEW);
    let beats = beats.map(|service| ("PUT", service.heartbeat_path(&instance_id(0)), consumer)).collect();

    let mut run = Run { options, table, certificate, plain, encrypted };
    for (what, tls, http2, requests) in [
        ("find 1 instance", "tls-find-1", "h2-find-1", find(&one)),
        ("find 100 instances", "tls-find-100", "h2-find-100", find(&hundred)),
        ("heartbeat", "tls-heartbeat", "h2-heartbeat", beats),
    ] {
        if options.wants(tls) {
            run.over_tls(what, &requests)?;
        }
        if options.wants(http2) {
            run.over_http2(what, &requests)?;
        }
    }
    if options.wants("tls-connect") {
        run.connects(&one, consumer)?;
    }
    Ok(())
}

struct Run<'a> {
    options: &'a Options,
    table: &'a mut Table,
    certificate: Certificate,
    plain: Node,
    encrypted: Node,
}

impl Run<'_> {
    /// Plain floor, plain daemon, floor over TLS, daemon over TLS, in turn.
    fn over_tls(&mut self, what: &str, requests: &[Request<'_>]) -> Result<(), String> {
        let answer = self.answer(requests)?;
        let floor = Floor::start(&answer, Reads::Head)?;
        let floor_tls = Floor::start_over_tls(Speaks::Tls, &self.certificate, &answer)?;
        let load = wrk::Load::replay(CONNECTIONS, requests, None)?;
        let load_tls = wrk::Load::replay(CONNECTIONS, requests, None)?.over_tls();
        let servers: [(&mut dyn Server, &dyn Drive); 4] = [
            (&mut &floor, &load),
            (&mut self.plain, &load),
            (&mut &floor_tls, &load_tls),
            (&mut self.encrypted, &load_tls),
        ];
        let [floor_plain, plain, floor, ours] = in_turn(self.options, servers)?;
        let note = more(&plain, &floor_plain, &ours, &floor);
        self.push(&format!("{what}, over TLS"), Comparison { ours, floor }, note, Some(1.2));
        Ok(())
    }

    /// Plain daemon, floor over HTTP/2, daemon over HTTP/2, in turn: first one request at a time on a connection, as with HTTP/1.1.
    fn over_http2(&mut self, what: &str, requests: &[Request<'_>]) -> Result<(), String> {
        let answer = self.answer(requests)?;
        let floor = Floor::start(&answer, Reads::Head)?;
        let floor_h2 = Floor::start_over_tls(Speaks::Http2, &self.certificate, &answer)?;
        let load = wrk::Load::replay(CONNECTIONS, requests, None)?;
        for shape @ [connections, streams] in [[CONNECTIONS, 1], SHARED] {
            let tls = self.certificate.client(Protocol::Http2)?;
            let load_h2 = http2::Load::replay(tls, shape, requests)?;
            let servers: [(&mut dyn Server, &dyn Drive); 4] = [
                (&mut &floor, &load),
                (&mut self.plain, &load),
                (&mut &floor_h2, &load_h2),
                (&mut self.encrypted, &load_h2),
            ];
            let [floor_plain, plain, floor, ours] = in_turn(self.options, servers)?;
            let note = more(&plain, &floor_plain, &ours, &floor);
            let row = format!("{what}, over HTTP/2 and TLS, {connections} connections of {streams} streams");
            self.push(&row, Comparison { ours, floor }, note, None);
        }
        Ok(())
    }

    fn push(&mut self, row: &str, measured: Comparison, note: String, within: Option<f64>) {
        let line = Line::load(row, Kind::Etcd, &measured).note(note);
        self.table.push(match within {
            Some(times) => line.within(times),
            None => line,
        });
    }

    fn answer(&self, requests: &[Request<'_>]) -> Result<crate::support::http::Response, String> {
        let (method, path, consumer) = requests.first().ok_or("no request")?;
        answer(&self.plain, &request(method, path, *consumer))
    }

    /// A new connection for each find: with a whole handshake, and with the session of an earlier connection.
    fn connects(&mut self, service: &Service, consumer: Option<&str>) -> Result<(), String> {
        let find = service.find_request(consumer);
        let floor = Floor::start_over_tls(Speaks::Tls, &self.certificate, &answer(&self.plain, &find)?)?;
        let count = self.options.scale(CONNECTS, 20);
        // Tickets are kept by the name of a server, and both servers have the same name. Each gets a client of its own, so that the client
        // offers no ticket of the other server.
        let resumed = [self.certificate.client(Protocol::Http1)?, self.certificate.client(Protocol::Http1)?];
        let mut whole = ClientConfig::clone(&resumed[0]);
        whole.resumption = Resumption::disabled();
        let whole = Arc::new(whole);
        let whole = [Arc::clone(&whole), whole];
        for (what, clients) in [("whole handshake", whole), ("session resumed", resumed)] {
            let mut best = [(f64::MAX, Duration::MAX); 2];
            for _ in 0..self.options.rounds {
                let servers: [&mut dyn Server; 2] = [&mut &floor, &mut self.encrypted];
                for ((server, tls), best) in servers.into_iter().zip(&clients).zip(&mut best) {
                    let ([before, _], begin) = (server.spent()?, Instant::now());
                    block_on(connect_often(server.address(), tls, &find, count))?;
                    let took = begin.elapsed() / u32::try_from(count).unwrap_or(u32::MAX);
                    let spent = server.spent()?[0].saturating_sub(before).as_secs_f64() * 1e6 / count as f64;
                    *best = (best.0.min(spent), best.1.min(took));
                }
            }
            let [floor, ours] = best;
            let figure = format!(
                "{:.0} µs of CPU with one find, the floor {:.0} µs; {:.0}/s; a key of P-256",
                ours.0,
                floor.0,
                1.0 / ours.1.as_secs_f64()
            );
            let line = Line::figure(&format!("new connection over TLS, {what}"), Kind::Etcd, figure);
            self.table.push(line.target("CPU ≤ 1.2 × floor", ours.0 <= floor.0 * 1.2));
        }
        Ok(())
    }
}

/// How much TLS adds to the daemon and to the floor.
fn more(plain: &Best, floor_plain: &Best, ours: &Best, floor: &Best) -> String {
    format!(
        "plain {:.1} µs, floor {:.1} µs; so {:+.1} and {:+.1} µs",
        plain.cpu,
        floor_plain.cpu,
        ours.cpu - plain.cpu,
        floor.cpu - floor_plain.cpu
    )
}

async fn connect_often(
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
    find: &[u8],
    count: usize,
) -> Result<(), String> {
    let client = async |share: usize| {
        for _ in 0..share {
            let mut connection = AsyncConnection::over(connect(address, tls).await?);
            connection.send(find).await.map_err(|error| error.to_string())?;
            let answer = connection.read_response("GET").await.map_err(|error| error.to_string())?;
            if answer.status != 200 {
                return Err(format!("{}: {}", answer.status, answer.text()));
            }
        }
        Ok::<_, String>(())
    };
    try_join_all((0..CONNECTING).map(|number| client((count + number) / CONNECTING))).await.map(drop)
}
