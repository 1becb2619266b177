//! A registration storm, as after a power failure. Many instances register as fast as they can, while consumers find and all other instances
//! send heartbeats. No request may fail, no find may be slow, and no lease may end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::client::{block_on, instances_in, once, request, send_all};
use crate::fill::{LONG, MINUTE, Service, fill, instance_id};
use crate::latency::Latencies;
use crate::node::{Backing, Kind};
use crate::options::Options;
use crate::paced::{Pace, RaisedAtEnd, joined, send};
use crate::table::{Line, Table};

/// The rows measured here.
pub const ROWS: [&str; 1] = ["storm"];

const SERVICES: usize = 1_000;
const EACH: usize = 100;
/// Instances that register in the storm, in a fifth of the services.
const STORM: usize = 20_000;
/// Clients that find.
const FINDERS: usize = 1_000;
/// The pause between two finds of a client.
const FIND_EVERY: Duration = Duration::from_secs(1);
/// Connections for the heartbeats of the other instances.
const BEATERS: usize = 32;
/// The pause between two heartbeats of an instance. Its lease lasts twice as long.
const BEAT_EVERY: Duration = Duration::from_secs(30);
/// The time of finds and heartbeats before the storm.
const BEFORE: Duration = Duration::from_secs(5);
/// The time of heartbeats in all. A lease without a heartbeat would have ended by then.
const LENGTH: Duration = Duration::from_secs(70);

/// Measures it on one daemon.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    let backing = Backing::start(store);
    let node = backing.node()?;
    let address = node.address();
    let services = Service::create_many(address, "service", options.scale(SERVICES, 10))?;
    let each = options.scale(EACH, 10);
    fill(address, &services, each, MINUTE)?;

    let held = services.len() * each;
    let beat_every = options.scale(BEAT_EVERY, BEAT_EVERY / 60);
    let beats = Pace { clients: BEATERS, every: beat_every.mul_f64(BEATERS as f64 / held as f64) };
    let finds =
        Pace { clients: options.scale(FINDERS, 20), every: options.scale(FIND_EVERY, FIND_EVERY / 50) };
    // The order of the registrations, so that the oldest lease is renewed first.
    let beat = |client: usize, turn: usize| {
        let number = (turn * BEATERS + client) % held;
        request(
            "PUT",
            &services[number % services.len()].heartbeat_path(&instance_id(number / services.len())),
            None,
        )
    };
    let is_found = AtomicBool::new(false);
    let find = |client: usize, turn: usize| {
        // The find before it was answered.
        is_found.fetch_or(turn > 0, Ordering::Relaxed);
        services[(client + turn * 7) % services.len()].find_request(None)
    };

    let (end_finds, end_beats) = (AtomicBool::new(false), AtomicBool::new(false));
    let stormy = &services[..services.len().div_ceil(5)];
    let storm_each = options.scale(STORM, 1_000) / stormy.len();
    let begin = Instant::now();
    let (storm, found, beaten) = std::thread::scope(|scope| {
        let beaters = scope.spawn(|| block_on(send(address, beats, &end_beats, beat)));
        let _end_beats = RaisedAtEnd(&end_beats);
        let finders = scope.spawn(|| block_on(send(address, finds, &end_finds, find)));
        let storm = {
            let _end_finds = RaisedAtEnd(&end_finds);
            std::thread::sleep(options.scale(BEFORE, Duration::from_secs(1)));
            // On a busy machine the first find may take longer.
            while !is_found.load(Ordering::Relaxed) && !finders.is_finished() {
                std::thread::sleep(Duration::from_millis(10));
            }
            let register = |number: usize| {
                let instance = instance_id(each + number / stormy.len());
                stormy[number % stormy.len()].register_request(&instance, held + number, LONG)
            };
            let begin = Instant::now();
            send_all(address, stormy.len() * storm_each, register, |_, _| {})?;
            (begin, Instant::now())
        };
        let found = joined(finders)?;
        std::thread::sleep(options.scale(LENGTH, Duration::ZERO).saturating_sub(begin.elapsed()));
        drop(_end_beats);
        Ok::<_, String>((storm, found, joined(beaters)?))
    })?;
    let lost = services.iter().enumerate().try_fold(0, |lost, (number, service)| {
        let want = if number < stormy.len() { each + storm_each } else { each };
        let has = instances_in(&once(address, &service.find_request(None))?);
        Ok::<usize, String>(lost + want.saturating_sub(has))
    })?;

    let (from, to) = storm;
    let within = |sent: &&crate::paced::Sent| sent.at >= from && sent.at <= to;
    let during: Vec<Duration> = found.iter().filter(within).map(|sent| sent.took).collect();
    let during = Latencies::new(during)?;
    let beats_during = Latencies::new(beaten.iter().filter(within).map(|sent| sent.took).collect());
    // A storm of few registrations may end before the next heartbeat is due.
    let beats_during = beats_during.map_or_else(|_| "none meanwhile".to_owned(), |took| took.text());
    let quiet: Vec<Duration> = found.iter().filter(|sent| sent.at < from).map(|sent| sent.took).collect();
    let quiet = Latencies::new(quiet)?;
    let seconds = (to - from).as_secs_f64();
    let figure = format!(
        "finds {}; before it {}; beats {}; {} registered in {seconds:.1} s ({:.0}/s), {:.0} beats/s, {lost} instances lost",
        during.text(),
        quiet.text(),
        beats_during,
        stormy.len() * storm_each,
        (stormy.len() * storm_each) as f64 / seconds,
        beaten.len() as f64 / begin.elapsed().as_secs_f64(),
    );
    let row = format!("storm of registrations, {held} beat, {} clients find", finds.clients);
    let met = during.percentile(99) <= Duration::from_millis(10) && lost == 0;
    let target = "find p99 ≤ 10 ms, no failed request, no expired lease";
    table.push(Line::figure(&row, store, figure).target(target, met));
    Ok(())
}
