//! What a node spends on telling its watchers of a registration at another node.

use std::time::{Duration, Instant};

use super::cluster::{Cluster, Loaded};
use crate::client::once;
use crate::crowd::Crowd;
use crate::fill::{LONG, instance_id};
use crate::node::Kind;
use crate::options::Options;
use crate::rows::watchers::dependent;
use crate::table::{Line, Table};

const WATCHERS: usize = 2_000;
const EVENTS: usize = 100;

/// What a watcher costs.
#[derive(Clone, Copy, Debug)]
pub struct Pushes {
    /// CPU of the node for an event to a watcher, in microseconds.
    pub push: f64,
    /// Memory of a watcher in bytes.
    pub watcher: f64,
}

/// Watchers at one node, registrations at the other.
pub fn measure(options: &Options, table: &mut Table) -> Result<Pushes, String> {
    let mut cluster = Cluster::start(2)?;
    let [watched, other] = [cluster.nodes[0].address(), cluster.nodes[1].address()];
    let (consumer, provider) = dependent(watched)?;
    let (watchers, events) = (options.scale(WATCHERS, 10), options.scale(EVENTS, 2));
    let before = cluster.nodes[0].resident()?;
    let mut crowd = Crowd::connect(&[watched], &consumer.id, watchers)?;
    let pause = options.scale(Duration::from_secs(2), Duration::ZERO);
    std::thread::sleep(pause);
    let memory = cluster.nodes[0].resident()?.saturating_sub(before);
    cluster.idle(pause, options.scale(Duration::from_secs(5), Duration::from_millis(200)))?;
    let begin = Instant::now();
    let observed = cluster.observe(|_| {
        for number in 0..events {
            once(other, &provider.register_request(&instance_id(number), number, LONG))?;
            crowd.told(Duration::ZERO)?;
        }
        Ok(Loaded { requests: vec![0, events as u64], length: begin.elapsed() })
    })?;
    let pushes = Pushes {
        push: observed.nodes[0] * 1e6 / (watchers * events) as f64,
        watcher: memory as f64 / watchers as f64,
    };
    let row = format!("{events} registrations, {watchers} watchers at another node");
    let figure =
        format!("{:.2} µs an event and watcher, {:.1} kB a watcher", pushes.push, pushes.watcher / 1024.0);
    table.push(Line::figure(&row, Kind::Etcd, figure));
    Ok(pushes)
}
