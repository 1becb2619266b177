//! What leases cost etcd: instances with a lease of their own, and instances that share the lease of a thousand. No daemon writes shared
//! leases; the store is used directly. benches/README.md says what the rows measure.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use service_center::config::EtcdEndpoint;
use service_center::store::etcd::{EtcdOptions, EtcdStore};
use service_center::store::{KeepAlive, LeaseId, Op, Store, Txn};

use crate::client::block_on;
use crate::node::{Backing, Kind};
use crate::options::Options;
use crate::table::{Line, Table};

const INSTANCES: usize = 50_000;
/// Instances that share a lease.
const SHARING: usize = 1_000;
/// Transactions in a batch, as in a batch of a busy node.
const BATCH: usize = 20;
/// Batches, or grants, on their way at once.
const AT_ONCE: usize = 8;
/// Leases that are renewed at once: those of the heartbeats of 100 ms at 10,000 heartbeats a second.
const RENEWED_AT_ONCE: usize = 1_000;
const TTL_SECONDS: i64 = 30_000;
/// About the size of the document of an instance.
const DOCUMENT: usize = 300;

/// What etcd spends, in microseconds for an instance, and in bytes.
struct Spent {
    grant: f64,
    put: f64,
    renewal: f64,
    memory: f64,
}

/// Measures both, each on an etcd of its own.
pub fn measure(options: &Options, table: &mut Table) -> Result<(), String> {
    let count = options.scale(INSTANCES, 200);
    for (row, sharing) in [("a lease for each instance", 1), ("a lease for 1,000 instances", SHARING)] {
        let Spent { grant, put, renewal, memory } = block_on(spend(count, sharing))?;
        let figure = format!(
            "CPU of etcd for an instance: granting {grant:.2} µs, writing {put:.1} µs, a renewal {renewal:.3} µs; memory of etcd {memory:.0} B an instance"
        );
        table.push(Line::figure(row, Kind::Etcd, figure));
    }
    Ok(())
}

async fn spend(count: usize, sharing: usize) -> Result<Spent, String> {
    let backing = Backing::start(Kind::Etcd);
    let endpoint = EtcdEndpoint::parse(&backing.endpoint()?).map_err(|error| error.to_string())?;
    let store =
        EtcdStore::connect(EtcdOptions::plain([endpoint])).await.map_err(|error| error.to_string())?;
    let store: Arc<dyn Store> = Arc::new(store);
    let cpu =
        || Ok::<f64, String>(backing.members_cpu()?.iter().map(Duration::as_secs_f64).sum::<f64>() * 1e6);
    let memory_before = backing.etcd_resident()? as f64;
    let start = cpu()?;
    let grants = (0..count.div_ceil(sharing)).map(|_| store.grant(TTL_SECONDS));
    let leases: Vec<LeaseId> = stream::iter(grants)
        .buffer_unordered(AT_ONCE * BATCH)
        .map_ok(|lease| lease.id)
        .try_collect()
        .await
        .map_err(|error| error.to_string())?;
    let granted = cpu()?;
    let numbers: Vec<usize> = (0..count).collect();
    let batches = numbers.chunks(BATCH).map(|numbers| {
        store.batch(numbers.iter().map(|number| registration(*number, leases[number / sharing])).collect())
    });
    let mut written = stream::iter(batches).buffer_unordered(AT_ONCE);
    while let Some(outcomes) = written.next().await {
        outcomes.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    }
    drop(written);
    let put = cpu()?;
    for leases in leases.chunks(RENEWED_AT_ONCE) {
        let lost = store.keep_alive(leases.to_vec()).await;
        if lost.iter().any(|answer| !matches!(answer, KeepAlive::Renewed(_))) {
            return Err("a lease was not renewed".to_owned());
        }
    }
    let renewed = cpu()?;
    let memory = backing.etcd_resident()? as f64 - memory_before;
    store.close().await;
    let each = |spent: f64| spent / count as f64;
    Ok(Spent {
        grant: each(granted - start),
        put: each(put - granted),
        renewal: each(renewed - put),
        memory: each(memory),
    })
}

/// The two keys of an instance.
fn registration(number: usize, lease: LeaseId) -> Txn {
    let key =
        |tree: &str| format!("/cse-sr/inst/{tree}/default/default/service-{}/{number:032x}", number % 2_000);
    let put = |tree: &str, value: Bytes| Op::Put { key: key(tree).into(), value, lease: Some(lease) };
    let document = Bytes::from(vec![b'x'; DOCUMENT]);
    Txn {
        compares: Vec::new(),
        then: vec![put("files", document), put("leases", lease.0.to_string().into())],
        otherwise: Vec::new(),
    }
}
