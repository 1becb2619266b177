//! What the record of events costs: each event by itself, and registrations on a daemon with and without a record.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use service_center::clock::Stopwatch;
use service_center::domain::Tenant;
use service_center::domain::event::{InstanceRef, ServiceRecord};
use service_center::domain::json::{self, TextMap};
use service_center::domain::{Instance, Service};
use service_center::recorder::{
    self, Cause, Change, InstanceTurn, Note, Purpose, Requester, RingLimits, SeenInstance, Step, Write, codec,
};
use service_center::trace::RequestId;

use crate::client::{request, send_all};
use crate::compare::pair;
use crate::fill::{LONG, Service as Filled, fill, instance_id};
use crate::node::{Backing, Kind, Node};
use crate::options::Options;
use crate::table::{Line, Table};
use crate::wrk::Load;

/// The rows measured here.
pub const ROWS: [&str; 3] = ["recorder-event", "recorder-register", "recorder-memory"];

/// How much CPU time an event may cost.
const MOST: f64 = 2.0;
/// How many MB the record may add: its bound.
const MOST_MEMORY: f64 = 40.0;
/// How many events gather before they are taken: 10 ms at 10,000 a second.
const GATHERED: usize = 100;
/// Connections of wrk.
const CONNECTIONS: usize = 64;
/// Registrations a second for which a round has services.
const MOST_A_SECOND: usize = 40_000;
/// Instances that are registered in a service before the next service.
const EACH: usize = 10;

/// The work is the same on both stores.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    if store == Kind::Etcd {
        return Ok(());
    }
    if options.wants("recorder-event") {
        let cost = (0..options.rounds).map(|_| event(options)).fold(f64::MAX, f64::min);
        let figure =
            format!("{cost:.2} µs: told by the watch and by the writer, joined, kept, encoded for the disk");
        let line = Line::figure("an event in the record", store, figure);
        table.push(line.target(&format!("≤ {MOST} µs"), cost <= MOST));
    }
    if options.wants("recorder-register") {
        let backing = Backing::start(store);
        let (mut recording, mut silent) = (backing.node()?, backing.node_without_record()?);
        let load = |round, node: &Node| load(options, round, node);
        let [with, without] = pair(options, [&mut recording, &mut silent], load)?;
        let share = (with.cpu / without.cpu - 1.0) * 100.0;
        let figure = format!(
            "{:.1} µs of CPU with a record, {:.1} without: {share:+.1} %, {:.0} and {:.0} a second",
            with.cpu, without.cpu, with.rate, without.rate
        );
        table.push(Line::figure("register, what the record of events costs", store, figure));
    }
    if options.wants("recorder-memory") {
        let backing = Backing::start(store);
        let with = growth(options, backing.node()?)?;
        let without = growth(options, backing.node_without_record()?)?;
        let figures =
            |sizes: &[f64]| sizes.iter().map(|size| format!("{size:.0}")).collect::<Vec<_>>().join(", ");
        let extra = with.iter().zip(&without).map(|(with, without)| with - without).fold(0.0, f64::max);
        let figure = format!(
            "{} MB with a record after 100,000 registrations and each 100,000 changes, {} MB without: +{extra:.0} MB",
            figures(&with),
            figures(&without)
        );
        let line = Line::figure("memory of the record of events", store, figure);
        table.push(line.target(&format!("≤ {MOST_MEMORY} MB more"), extra <= MOST_MEMORY));
    }
    Ok(())
}

/// Resident memory in MB after registrations, and after each of three rounds in which the status of every instance changes.
fn growth(options: &Options, mut node: Node) -> Result<Vec<f64>, String> {
    let (services, each) = (options.scale(100, 5), options.scale(1_000, 10));
    let services = Filled::create_many(node.address(), "held", services)?;
    fill(node.address(), &services, each, LONG)?;
    let mut sizes = Vec::new();
    for status in ["DOWN", "UP", "DOWN", ""] {
        // The allocator gives back within two seconds what is not needed any more.
        std::thread::sleep(options.scale(Duration::from_secs(5), Duration::from_millis(100)));
        sizes.push(node.resident()? as f64 / 1e6);
        if status.is_empty() {
            break;
        }
        let change = |number: usize| {
            let instance = instance_id(number / services.len());
            let path = services[number % services.len()].instance_path(&instance);
            request("PUT", &format!("{path}/status?value={status}"), None)
        };
        send_all(node.address(), services.len() * each, change, |_, _| {})?;
    }
    Ok(sizes)
}

/// Registrations in services that no other round uses.
fn load(options: &Options, round: usize, node: &Node) -> Result<Load, String> {
    let most = options.scale(MOST_A_SECOND * options.round.as_secs() as usize / EACH, 50);
    let word = format!("recorded-{round:03}");
    let services = Filled::create_many(node.address(), &word, most)?;
    let ids: Vec<&str> = services.iter().map(|service| service.id.as_str()).collect();
    Load::register(CONNECTIONS, &ids, EACH, &word)
}

/// Microseconds for an event: a registration that the watch and the writer tell. All on this thread, so the time is CPU time.
fn event(options: &Options) -> f64 {
    let count = options.scale(200_000, 2_000);
    let (recorder, _reader, mut recording) =
        recorder::record(RingLimits { events: 100_000, bytes: 40 << 20 });
    let service = Service { service_name: "provider".to_owned(), ..Service::default() };
    let json = Bytes::from(json::encode(&service));
    let service = Arc::new(ServiceRecord { document: service, json, mod_revision: 1 });
    let changes: Vec<SeenInstance> = (0..count).map(|number| registered(number, &service)).collect();
    let requests: Vec<Arc<Requester>> = (0..count).map(requester).collect();
    let (mut bytes, mut now) = (Vec::new(), Duration::from_secs(1));
    let began = Stopwatch::start();
    for (number, (seen, by)) in changes.into_iter().zip(requests).enumerate() {
        let ticket = recorder.begin();
        let (revision, key) = (seen.revision, seen.key.clone());
        let step = Step { time: 1, revision, changes: vec![Change::Instance(seen)], begun: recorder.begun() };
        recorder.note(Note::Seen(step));
        let (keys, purpose) = (key.into_iter().collect(), Purpose::Other);
        let write = Write { ticket, keys, revision: Some(revision), purpose, cause: Cause::Request(by) };
        recorder.note(Note::Wrote(write));
        if number % GATHERED == GATHERED - 1 {
            now += Duration::from_millis(10);
            let recorded = recording.take(now, 1);
            bytes.clear();
            recorded.events.iter().for_each(|event| codec::encode_event(&mut bytes, event));
        }
    }
    began.elapsed().as_secs_f64() * 1e6 / count as f64
}

fn registered(number: usize, service: &Arc<ServiceRecord>) -> SeenInstance {
    let id = format!("{number:032x}");
    let instance = Instance {
        instance_id: id.clone(),
        service_id: "7062417bf9ebd4c646bb23059003cea42180894a".to_owned(),
        endpoints: vec!["rest://10.12.0.7:8080".to_owned(), "grpc://10.12.0.7:8081".to_owned()],
        host_name: "provider-7d9f8b6c5-x2x4q".to_owned(),
        status: "UP".to_owned(),
        properties: TextMap::from([
            ("zone".to_owned(), "a".to_owned()),
            ("weight".to_owned(), "100".to_owned()),
        ]),
        ..Instance::default()
    };
    let service_id = instance.service_id.clone();
    SeenInstance {
        at: InstanceRef {
            tenant: Tenant::default_tenant(),
            service: service_id.as_str().into(),
            instance: id.as_str().into(),
        },
        revision: 2 + number as i64,
        turn: InstanceTurn::Created,
        key: Some(format!("/cse-sr/inst/files/default/default/{service_id}/{id}").into()),
        json: Bytes::from(json::encode(&instance)),
        before: None,
        service: Some(Arc::clone(service)),
    }
}

fn requester(number: usize) -> Arc<Requester> {
    let id = format!("0af7651916cd43dd{number:010x}");
    let request_id = RequestId::given(id.as_bytes()).unwrap_or_else(|| unreachable!("an id of a request"));
    Arc::new(Requester { account: None, client: "10.12.0.9".parse().ok(), request_id })
}
