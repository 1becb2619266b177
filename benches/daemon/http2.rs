//! Load over HTTP/2, which wrk does not speak: on each stream of each connection the next request follows its predecessor's answer.
//! It runs in this process, so its CPU time is not the server's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use h2::client::{Builder, SendRequest};
use rustls::ClientConfig;
use tokio::time::{sleep_until, timeout};

use crate::client::{ANSWER_LIMIT, block_on};
use crate::compare::{Counted, Drive};
use crate::encryption::connect;
use crate::latency::Latencies;

/// Threads that the connections are spread over, as with wrk.
const THREADS: usize = 2;
/// What a client lets the server send before it has read. The default of 64 KiB would make a server wait, and clients set more.
const WINDOW: u32 = 4 << 20;

/// A load to be put on a server, again and again.
pub struct Load {
    tls: Arc<ClientConfig>,
    requests: Vec<http::Request<()>>,
    connections: usize,
    streams: usize,
}

impl Load {
    /// These requests in turn, each a method, a path and perhaps a consumer's id. `streams` of each connection wait for an answer.
    pub fn replay(
        tls: Arc<ClientConfig>,
        [connections, streams]: [usize; 2],
        requests: &[(&str, String, Option<&str>)],
    ) -> Result<Self, String> {
        let request = |(method, path, consumer): &(&str, String, Option<&str>)| {
            let mut head = http::Request::builder().method(*method).uri(format!("https://bench.test{path}"));
            if let Some(id) = consumer {
                head = head.header("x-consumerid", *id);
            }
            head.body(()).map_err(|error| error.to_string())
        };
        let requests = requests.iter().map(request).collect::<Result<_, _>>()?;
        Ok(Self { tls, requests, connections, streams })
    }

    async fn drive(
        &self,
        address: SocketAddr,
        connections: usize,
        next: &AtomicUsize,
        length: Duration,
    ) -> Result<Vec<Duration>, String> {
        let mut clients = Vec::new();
        let mut drivers = tokio::task::JoinSet::new();
        for _ in 0..connections {
            let stream = connect(address, &self.tls).await?;
            let builder = Builder::new()
                .initial_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .handshake::<_, Bytes>(stream);
            let (client, connection) = builder.await.map_err(|error| error.to_string())?;
            drivers.spawn(async move { drop(connection.await) });
            clients.extend(std::iter::repeat_n(client, self.streams));
        }
        let end = Instant::now() + length;
        let stream = async |client: SendRequest<Bytes>| {
            let (mut client, mut took) = (client, Vec::new());
            while Instant::now() < end {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let begin = Instant::now();
                let request = self.requests[number % self.requests.len()].clone();
                let answered = timeout(ANSWER_LIMIT, exchange(&mut client, request)).await;
                answered.map_err(|_| format!("no answer within {ANSWER_LIMIT:?}"))??;
                took.push(begin.elapsed());
            }
            Ok::<_, String>(took)
        };
        let all = try_join_all(clients.into_iter().map(stream)).await?;
        // All end at the same time, so that the load is the same throughout.
        sleep_until(end.into()).await;
        Ok(all.into_iter().flatten().collect())
    }
}

async fn exchange(client: &mut SendRequest<Bytes>, request: http::Request<()>) -> Result<(), String> {
    let failed = |error: h2::Error| format!("over HTTP/2: {error}");
    std::future::poll_fn(|cx| client.poll_ready(cx)).await.map_err(failed)?;
    let (answer, _) = client.send_request(request, true).map_err(failed)?;
    let answer = answer.await.map_err(failed)?;
    if !matches!(answer.status().as_u16(), 200 | 304) {
        return Err(format!("over HTTP/2: {}", answer.status()));
    }
    let mut body = answer.into_body();
    while let Some(chunk) = body.data().await {
        let length = chunk.map_err(failed)?.len();
        body.flow_control().release_capacity(length).map_err(failed)?;
    }
    Ok(())
}

impl Drive for Load {
    fn run(&self, address: SocketAddr, length: Duration) -> Result<Counted, String> {
        let next = AtomicUsize::new(0);
        let took = std::thread::scope(|scope| {
            let thread = |number: usize| {
                let share = self.connections * (number + 1) / THREADS - self.connections * number / THREADS;
                let next = &next;
                scope.spawn(move || block_on(self.drive(address, share, next, length)))
            };
            let threads: Vec<_> = (0..THREADS).map(thread).collect();
            let mut took = Vec::new();
            for thread in threads {
                took.extend(crate::paced::joined(thread)?);
            }
            Ok::<_, String>(took)
        })?;
        let took = Latencies::new(took)?;
        Ok(Counted {
            rate: took.count() as f64 / length.as_secs_f64(),
            requests: took.count() as u64,
            p50: took.percentile(50),
            p99: took.percentile(99),
        })
    }
}
