//! Figures of the embedded store on this machine's disk: durable registrations, renewals, reopening and memory. A run makes about 160,000
//! registrations in a temporary folder below `target`. Run it with `cargo bench --bench embedded_store`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that prints measurements"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use service_center::clock::Clock;
use service_center::store::embedded::{EmbeddedStore, Options};
use service_center::store::{Compare, Key, LeaseId, Op, Store, Txn};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const WRITERS: usize = 64;
const MEASURED: usize = 30_000;
const HELD: usize = 100_000;
/// Instances of one service.
const SERVICE: usize = 100;

fn registration(n: usize, lease: Option<LeaseId>) -> Txn {
    let service = format!("{:032x}", (n / SERVICE) as u128 * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834);
    let instance = format!("{:032x}", (n as u128 + 1) * 0x2545_f491_4f6c_dd1d_9e37_79b9_7f4a_7c15);
    let files = Key::from(format!("/cse-sr/inst/files/default/default/{service}/{instance}"));
    let leases = Key::from(format!("/cse-sr/inst/leases/default/default/{service}/{instance}"));
    let document = format!(
        "{{\"instanceId\":\"{instance}\",\"serviceId\":\"{service}\",\"endpoints\":[\"rest://10.1.2.3:8080\"],\
         \"hostName\":\"host-{n:07}\",\"status\":\"UP\",\"properties\":{{}},\"healthCheck\":{{\"mode\":\"push\",\
         \"interval\":30,\"times\":3}},\"timestamp\":\"1700000000\",\"version\":\"1.0.0\"}}"
    );
    let number = lease.map_or(0, |lease| lease.0).to_string();
    Txn {
        compares: vec![Compare::Absent(files.clone())],
        then: vec![
            Op::Put { key: files, value: document.into(), lease },
            Op::Put { key: leases, value: number.into(), lease },
        ],
        otherwise: Vec::new(),
    }
}

/// CPU time of the process, or of its threads with a name.
fn cpu(thread: Option<&str>) -> Duration {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        let Some((start, rest)) = stat.rsplit_once(')') else { continue };
        if thread.is_none_or(|name| start.ends_with(name)) {
            ticks += rest
                .split_whitespace()
                .skip(11)
                .take(2)
                .map(|field| field.parse::<u64>().unwrap())
                .sum::<u64>();
        }
    }
    Duration::from_millis(ticks * 10)
}

fn resident_mib() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096.0 / 1048576.0
}

/// The measured part of a registration.
#[derive(Clone, Copy)]
enum Part {
    /// Two puts without a lease.
    Puts,
    /// A grant, and then two puts with its lease.
    GrantAndPuts,
}

async fn measure(
    what: &str,
    store: &Arc<EmbeddedStore>,
    from: usize,
    count: usize,
    part: Part,
) -> Vec<LeaseId> {
    let (groups, start) = (store.stats().groups, Instant::now());
    let (process, committer) = (cpu(None), cpu(Some("store-committer")));
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut granted = Vec::new();
            for n in (from + writer..from + count).step_by(WRITERS) {
                let lease = match part {
                    Part::Puts => None,
                    Part::GrantAndPuts => Some(store.grant(120).await.unwrap().id),
                };
                granted.extend(lease);
                let outcome = store.batch(vec![registration(n, lease)]).await.remove(0).unwrap();
                assert!(outcome.succeeded);
            }
            granted
        })
    });
    let granted = join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
    let took = start.elapsed();
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / count as f64;
    println!(
        "{what}: {:.0}/s, CPU {:.1} us each (committer {:.1} us), {:.0} a group, {:.0} syncs/s",
        count as f64 / took.as_secs_f64(),
        each(cpu(None) - process),
        each(cpu(Some("store-committer")) - committer),
        count as f64 / (store.stats().groups - groups) as f64,
        (store.stats().groups - groups) as f64 / took.as_secs_f64(),
    );
    granted
}

async fn fill(store: &Arc<EmbeddedStore>, from: usize, to: usize) -> Vec<LeaseId> {
    let mut granted = Vec::new();
    for start in (from..to).step_by(120) {
        let mut txns = Vec::new();
        for n in start..(start + 120).min(to) {
            let lease = store.grant(120).await.unwrap().id;
            granted.push(lease);
            txns.push(registration(n, Some(lease)));
        }
        assert!(store.batch(txns).await.iter().all(Result::is_ok));
    }
    granted
}

async fn run(dir: &std::path::Path) {
    let open = || Arc::new(EmbeddedStore::open(dir, Options::default(), Clock::system()).unwrap());
    let empty = resident_mib();
    let store = open();
    measure("2 puts, nothing held", &store, 0, MEASURED, Part::Puts).await;
    let mut leases =
        measure("grant + 2 puts, 30,000 held", &store, MEASURED, MEASURED, Part::GrantAndPuts).await;
    leases.extend(fill(&store, 2 * MEASURED, HELD).await);
    println!("100,000 held: {:.0} MiB resident more than before", resident_mib() - empty);
    measure("2 puts, 100,000 held", &store, HELD, MEASURED, Part::Puts).await;
    leases.extend(
        measure("grant + 2 puts, 130,000 held", &store, HELD + MEASURED, MEASURED, Part::GrantAndPuts).await,
    );

    let (start, before) = (Instant::now(), cpu(None));
    for chunk in leases.chunks(2_000) {
        store.keep_alive(chunk.to_vec()).await;
    }
    let beats = leases.len() as f64;
    println!(
        "renewals in batches of 2,000: {:.0}/s, CPU {:.2} us each",
        beats / start.elapsed().as_secs_f64(),
        (cpu(None) - before).as_secs_f64() * 1e6 / beats
    );
    let start = Instant::now();
    let mut pages = store.list(&["/cse-sr/"]);
    let mut listed = 0;
    while let Some(page) = pages.next().await {
        listed += page.unwrap().entries.len();
    }
    println!("listing {listed} keys: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    drop(pages);
    println!("{:?}", store.stats());
    store.close().await;
    drop(store);
    let start = Instant::now();
    let store = open();
    println!("reopening with {} keys: {:.2} s", store.stats().keys, start.elapsed().as_secs_f64());
    store.close().await;
}

/// The memory of a store that was just opened, in a new process.
async fn reopen(dir: &std::path::Path) {
    let empty = resident_mib();
    let start = Instant::now();
    let store = EmbeddedStore::open(dir, Options::default(), Clock::system()).unwrap();
    println!(
        "reopening in a fresh process: {:.2} s, {} keys, {:.0} MiB resident more than before",
        start.elapsed().as_secs_f64(),
        store.stats().keys,
        resident_mib() - empty
    );
    store.close().await;
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut arguments = std::env::args().skip(1).skip_while(|argument| argument != "--reopen").skip(1);
    if let Some(dir) = arguments.next() {
        runtime.block_on(reopen(dir.as_ref()));
        return;
    }
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target").unwrap();
    runtime.block_on(run(dir.path()));
    let again =
        std::process::Command::new(std::env::current_exe().unwrap()).arg("--reopen").arg(dir.path()).status();
    assert!(again.unwrap().success());
}
