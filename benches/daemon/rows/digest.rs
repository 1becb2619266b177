//! What the digest costs when a registration is published: the hashes of its two entries, beside all that the builder does for them. In
//! this process, because a daemon without the digest does not exist.

use std::time::{Duration, Instant};

use bytes::Bytes;
use service_center::cache::{SnapshotBuilder, digest};
use service_center::domain::Tenant;
use service_center::domain::event::{InstanceRecord, InstanceRef, PutKind, RegistryEvent};

use crate::node::Kind;
use crate::options::Options;
use crate::table::{Line, Table};

/// The rows measured here.
pub const ROWS: [&str; 1] = ["digest"];

const SERVICES: usize = 1_000;
const EACH: usize = 100;
/// Registrations in one publish.
const PUBLISHED_AT_ONCE: usize = 16;
/// One percent of what a registration costs on the embedded store.
const MOST: Duration = Duration::from_nanos(400);

struct Registration {
    at: InstanceRef,
    record: InstanceRecord,
    lease: i64,
}

pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    let (services, each) = (options.scale(SERVICES, 10), options.scale(EACH, 10));
    let all: Vec<Registration> = (0..services * each).map(|number| registration(number, services)).collect();
    let count = u32::try_from(all.len()).map_err(|error| error.to_string())?;
    let (mut hashing, mut publishing) = (Duration::MAX, Duration::MAX);
    for _ in 0..options.rounds {
        let began = Instant::now();
        let sum = all.iter().fold(0_u64, |sum, of| {
            let hashes = digest::instance(&of.at, of.record.mod_revision, &of.record.json)
                .wrapping_add(digest::lease(&of.at, of.lease));
            sum.wrapping_add(hashes)
        });
        hashing = hashing.min(began.elapsed() / count);
        let mut builder = SnapshotBuilder::default();
        let began = Instant::now();
        for (number, some) in all.chunks(PUBLISHED_AT_ONCE).enumerate() {
            for of in some {
                let put = RegistryEvent::InstancePut(of.at.clone(), PutKind::Created, of.record.clone());
                builder.apply(put);
                builder.apply(RegistryEvent::LeasePut(of.at.clone(), of.lease));
            }
            drop(builder.publish(i64::try_from(number).unwrap_or(i64::MAX)));
        }
        publishing = publishing.min(began.elapsed() / count);
        if builder.current().digest() != sum {
            return Err("the builder has another digest than its entries".to_owned());
        }
    }
    let figure = format!("{hashing:?} of {publishing:?} for a registration in the builder");
    let line = Line::figure(&format!("digest, {count} instances"), store, figure);
    table.push(line.target(&format!("≤ {MOST:?}"), hashing <= MOST));
    Ok(())
}

fn registration(number: usize, services: usize) -> Registration {
    let (service, instance) = (format!("{:040x}", number % services), format!("{number:032x}"));
    let json = format!(
        "{{\"instanceId\":\"{instance}\",\"serviceId\":\"{service}\",\"endpoints\":[\"rest://10.0.{}.{}:8080\"],\"hostName\":\
         \"host-{number}\",\"status\":\"UP\",\"properties\":{{\"zone\":\"a\",\"weight\":\"100\"}},\"healthCheck\":{{\"mode\":\"push\",\
         \"interval\":30,\"times\":3}},\"timestamp\":\"1700000000\",\"modTimestamp\":\"1700000000\",\"version\":\"1.0.0\"}}",
        number / 256 % 256,
        number % 256
    );
    Registration {
        at: InstanceRef {
            tenant: Tenant::default_tenant(),
            service: service.into(),
            instance: instance.into(),
        },
        record: InstanceRecord {
            json: Bytes::from(json),
            mod_revision: i64::try_from(number).unwrap_or(i64::MAX),
            compact: None,
        },
        lease: i64::try_from(number).unwrap_or(i64::MAX),
    }
}
