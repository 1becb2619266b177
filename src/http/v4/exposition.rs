//! `GET /metrics`: the metrics of the process in the text format of Prometheus. `GET /openapi.json`.

use std::sync::Arc;
use std::time::Duration;

use actix_http::StatusCode;
use actix_http::header::HeaderValue;
use tokio::sync::{Mutex, Semaphore};

use crate::actors::hub::messages::{CountWatchers, WatcherCounts};
use crate::actors::mailbox::ask;
use crate::actors::watch::trees;
use crate::alarm::AlarmKind;
use crate::cache::snapshot::{FrameworkCounts, QuotaUsage, Snapshot};
use crate::error::{Code, Error};
use crate::http::api::{Api, MetricsEndpoint, MetricsRules};
use crate::http::call::{Answer, Call};
use crate::http::reply::Reply;
use crate::http::spec::{Operation, Success};
use crate::metrics::{self, Page};
use crate::tls::expiry::Expiry;

pub const METRICS: Operation = Operation::new("node", "readMetrics", "Returns the metrics of the node.")
    .answers(Success::Free { content_type: "text/plain", about: "The text format of Prometheus." })
    .or_not_found()
    .uncounted();

pub const OPENAPI: Operation = Operation::new("node", "readOpenApi", "Returns this document.")
    .answers(Success::Free { content_type: "application/json", about: "OpenAPI 3.1." });

const FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// How long a request waits for an actor. Without its reply, the metric is left out.
const LIMIT: Duration = Duration::from_secs(1);
/// The most series that a family has by tenant or framework. The values of all others are added up.
const MOST_SERIES: usize = 1000;
/// The label values of the others.
const OTHER: &str = "other";
/// How the original calls the protocol of watchers.
const SCHEME: &str = "Websocket";
/// How the original calls a cache of what the store holds.
const RAW: &str = "raw";

/// How many scrapes may be answered or wait at a time. A further one is answered 503, because anybody may send them.
const MOST_SCRAPES: usize = 16;
static PLACES: Semaphore = Semaphore::const_new(MOST_SCRAPES);
/// Held by the request that makes the text. The others wait, so that many scrapes at a time use one thread, and one place in the
/// mailbox of the HubActor.
static TURN: Mutex<()> = Mutex::const_new(());

/// `GET /metrics`.
pub async fn metrics(api: Arc<Api>, _: Call) -> Result<Reply, Error> {
    if api.rules.metrics.endpoint == MetricsEndpoint::Closed {
        return Ok(Reply::library_text(StatusCode::NOT_FOUND, "404 page not found\n"));
    }
    let Ok(_place) = PLACES.try_acquire() else {
        metrics::REFUSED_FOR_LOAD.add(1);
        return Err(Error::new(Code::Overloaded, format!("{MOST_SCRAPES} scrapes wait already")));
    };
    let _turn = TURN.lock().await;
    let watchers = ask(&api.hub, CountWatchers, LIMIT).await.ok();
    // Reading what belongs to many tenants takes milliseconds, in which a worker must answer others.
    let text = tokio::task::spawn_blocking(move || text(&api, watchers)).await;
    let text = text.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    Ok(Reply::bytes(StatusCode::OK, FORMAT, text))
}

fn text(api: &Api, watchers: Option<WatcherCounts>) -> String {
    let MetricsRules { endpoint, instance, api_version } = &api.rules.metrics;
    let mut page = Page::new(instance.clone(), api.clock.monotonic());
    metrics::collect_process(&mut page);
    if *endpoint == MetricsEndpoint::ProcessOnly {
        return page.text();
    }
    metrics::collect(&mut page);
    page.value(&metrics::BUILD, &[env!("CARGO_PKG_VERSION"), api_version], 1.0);
    page.value(&metrics::BEATS_WAITING, &[], float(api.beats.len()));
    page.value(&metrics::ANSWERS_HELD, &[], float(api.answers.held()));
    page.value(&metrics::SNAPSHOT_AGE, &[], api.reader.age().as_secs_f64());
    let away = api.contact.away(&api.clock);
    page.value(&metrics::STORE_UP, &[], if away.is_none() { 1.0 } else { 0.0 });
    page.value(&metrics::STORE_AWAY, &[], away.unwrap_or_default().as_secs_f64());
    certificates(&mut page, api);
    let alarms = api.contact.alarms(&api.clock);
    for kind in AlarmKind::ALL {
        let is_active = alarms.is_active(kind, api.clock.monotonic());
        page.value(&metrics::ALARMS_ACTIVE, &[kind.id()], f64::from(u8::from(is_active)));
    }
    if let Some(WatcherCounts { by_domain, pending }) = watchers {
        page.value(&metrics::WATCHERS, &[], float(by_domain.values().sum()));
        page.value(&metrics::WATCH_WAITING, &[], float(pending));
        page.value(&metrics::PENDING, &[metrics::INSTANCE_SOURCE], float(pending));
        for (domain, count) in by_domain {
            page.value(&metrics::SUBSCRIBERS, &[&domain, SCHEME], float(count));
        }
    }
    registry(&mut page, api, &api.reader.load_full());
    page.text()
}

fn float(count: usize) -> f64 {
    count as f64
}

fn certificates(page: &mut Page, api: &Api) {
    let now = api.clock.unix_seconds() as f64;
    for files in api.file_sets.states() {
        page.value(&metrics::CERTIFICATES_RELOADED, &[files.label], f64::from(u8::from(files.is_usable)));
        for Expiry { certificate, unix_seconds } in files.expiries {
            let seconds = unix_seconds as f64 - now;
            page.value(&metrics::CERTIFICATE_EXPIRY, &[certificate], seconds);
        }
    }
}

/// What the registry holds. Looks at each tenant and each framework, never at each service or instance.
fn registry(page: &mut Page, api: &Api, snapshot: &Snapshot) {
    let revision = u64::try_from(snapshot.revision).unwrap_or(0);
    page.value(&metrics::SNAPSHOT_REVISION, &[], revision as f64);
    page.value(&metrics::DOMAINS, &[], float(snapshot.domains.len()));
    let (mut services, mut schemas, mut tagged, mut entries) = (0, 0, 0, [0; 3]);
    let mut fullest = (0.0_f64, 0.0_f64);
    let (mut of_frameworks, mut of_tenants) = (Vec::new(), Vec::new());
    for (tenant, view) in snapshot.tenants() {
        services += view.service_count;
        schemas += view.schema_count;
        tagged += view.tagged_count;
        entries.iter_mut().zip(view.entry_counts()).for_each(|(sum, count)| *sum += count);
        let usage = snapshot.usage(tenant, &api.rules.shared);
        let share = |count: usize, quota: usize| if quota > 0 { float(count) / float(quota) } else { 0.0 };
        let QuotaUsage { services, instances } = usage;
        fullest.0 = fullest.0.max(share(services, api.rules.quotas.services));
        fullest.1 = fullest.1.max(share(instances, api.rules.quotas.instances));
        of_tenants.push((tenant, view.schema_count));
        of_frameworks.extend(view.frameworks().map(|(name, counts)| (tenant, name, counts)));
    }
    page.value(&metrics::SERVICES, &[], float(services));
    page.value(&metrics::INSTANCES, &[], float(snapshot.instance_count));
    page.value(&metrics::SERVICE_USAGE, &[], fullest.0);
    page.value(&metrics::INSTANCE_USAGE, &[], fullest.1);

    let others = largest(&mut of_tenants, |(_, schemas)| *schemas);
    for (tenant, schemas) in of_tenants {
        page.value(&metrics::DB_SCHEMAS, &[tenant.domain(), tenant.project()], float(schemas));
    }
    if !others.is_empty() {
        let schemas = others.iter().map(|(_, schemas)| schemas).sum();
        page.value(&metrics::DB_SCHEMAS, &[OTHER, OTHER], float(schemas));
    }
    let others = largest(&mut of_frameworks, |(_, _, counts)| counts.instances);
    for (tenant, framework, FrameworkCounts { services, instances }) in of_frameworks {
        let labels = [tenant.domain(), &framework.name, &framework.version, tenant.project()];
        page.value(&metrics::DB_FRAMEWORKS, &labels, 1.0);
        page.value(&metrics::DB_SERVICES, &labels, float(services));
        page.value(&metrics::DB_INSTANCES, &labels, float(instances));
    }
    if !others.is_empty() {
        let labels = [OTHER; 4];
        let sum = |of: fn(FrameworkCounts) -> usize| others.iter().map(|(_, _, counts)| of(*counts)).sum();
        page.value(&metrics::DB_FRAMEWORKS, &labels, float(others.len()));
        page.value(&metrics::DB_SERVICES, &labels, float(sum(|counts| counts.services)));
        page.value(&metrics::DB_INSTANCES, &labels, float(sum(|counts| counts.instances)));
    }

    let [names, aliases, rules] = entries;
    let counts = [
        ("INSTANCE", snapshot.instance_count),
        ("LEASE", snapshot.instance_count),
        ("SERVICE", services),
        ("SERVICE_INDEX", services.max(names)),
        ("SERVICE_ALIAS", aliases),
        ("SERVICE_TAG", tagged),
        ("SCHEMA_REF", schemas),
        ("SCHEMA_SUMMARY", schemas),
        ("DEPENDENCY_RULE", rules),
        ("DEPENDENCY_QUEUE", snapshot.dependency_queue.len()),
        ("DOMAIN", snapshot.domains.len()),
        ("PROJECT", snapshot.projects.len()),
    ];
    for (resource, count) in counts {
        page.value(&metrics::CACHE_BYTES, &[resource, RAW], float(count) * trees::mean_bytes(resource));
    }
}

/// Leaves the [`MOST_SERIES`] with the largest values. Returns the others.
fn largest<T>(all: &mut Vec<T>, value: impl Fn(&T) -> usize) -> Vec<T> {
    if all.len() <= MOST_SERIES {
        return Vec::new();
    }
    all.select_nth_unstable_by_key(MOST_SERIES - 1, |one| std::cmp::Reverse(value(one)));
    all.split_off(MOST_SERIES)
}

/// `GET /openapi.json`.
pub fn openapi(api: &Arc<Api>, _: Call) -> Answer {
    Reply::json(api.openapi.clone()).into()
}
