//! The metrics of the process. The code that does something counts it; `GET /metrics` reads the cells.
//!
//! This file has the table of all families: what each is called and what it means. `docs/metrics.md` is made from it. A cell that
//! counts is in this table too, or beside the code that measures ([`cells::register`]). This module knows no other module.

pub mod cells;
pub mod counts;
pub mod family;
pub mod page;
mod process;
pub mod reference;
pub mod requests;

use std::time::Duration;

pub use self::cells::{Cell, Counter, Depth, Gauge, Histogram, InMailbox};
pub use self::counts::TICK;
use self::family::{Family, Kind, Origin, UNLABELED};
pub use self::page::Page;

/// Families of counters without labels, each with its counter.
macro_rules! counters {
    ($($constant:ident = $name:literal, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $constant: Counter = Counter::of(
                Family { name: $name, kind: Kind::Counter, labels: &[], help: $help, note: "", origin: Origin::Ours },
                UNLABELED,
            );
        )*

        const COUNTER_FAMILIES: &[Family] = &[$(
            Family { name: $name, kind: Kind::Counter, labels: &[], help: $help, note: "", origin: Origin::Ours }
        ),*];
        static COUNTERS: &[&dyn Cell] = &[$(&$constant),*];
    };
}

/// All other families.
macro_rules! families {
    ($($table:ident: $origin:ident { $(
        $constant:ident = $kind:ident $name:literal [$($label:literal),*], $help:literal $(, $note:literal)?;
    )* })*) => {
        $($(
            #[doc = $help]
            pub const $constant: Family = Family {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
                note: concat!($($note)?),
                origin: Origin::$origin,
            };
        )*
        const $table: &[Family] = &[$($constant),*];)*
    };
}

/// Cells of families that have labels, or are no counters.
macro_rules! cells {
    ($($constant:ident: $kind:ident = $make:expr;)*) => {
        $(pub static $constant: $kind = $make;)*

        static LABELED: &[&dyn Cell] = &[$(&$constant),*];
    };
}

counters! {
    LEASES_UNANSWERED = "lease_renewals_unanswered_total", "Lease renewals that the store did not answer. They are tried again.";
    INSTANCES_RESTORED = "instances_restored_total", "Instances written again because their heartbeats went on after their lease had ended.";
    SNAPSHOT_WAIT_EXPIRED = "snapshot_wait_expired_total", "Writes answered before the node's snapshot held them, because the wait for it timed out.";
    FOREIGN_VALUES = "foreign_values_total", "Keys or values in the store that could not be read and were skipped.";
    ETCD_LOGINS = "etcd_logins_total", "Tokens that etcd has given to this node: for each address the first, and each that replaces one that etcd refused.";
    RELISTS = "relists_total", "Complete listings of the store.";
    HELD_BY_PRESERVATION = "expiries_held_by_preservation_total", "Expiries held because the expiries that wait or are held are 80 % or more of all instances.";
    HELD_BY_SHARE = "expiries_held_by_share_total", "Expiries held because more than the configured share of all instances expired within a heartbeat interval.";
    HELD_BY_SERVICE = "expiries_held_by_service_total", "Expiries held because more than the configured share of the instances of their service expired within a heartbeat interval.";
    EXPIRIES_RELEASED = "expiries_released_total", "Expired instances that this node removed because of DELETE /v4/{project}/admin/expiries.";
    RETIRED_SERVICES = "retired_services_total", "Old service versions without instances that this node's retirement job has deleted.";
    RETIRED_EMPTY_SERVICES = "retired_empty_services_total", "Services retired because they were empty for registry.service.retire.emptyAfter.";
    COMPACTIONS = "compactions_total", "Compactions of etcd that this node has done for all nodes.";
    COMPACTIONS_FAILED = "compactions_failed_total", "Tries to publish how far the watch of this node is, or to compact etcd, that failed.";
    COMPARISONS = "comparisons_total", "Comparisons of the snapshot of this node with the store, entry by entry.";
    SNAPSHOT_DIFFERENCES = "snapshot_differences_total", "Entries that the snapshot of this node did not show as the store holds them.";
    SNAPSHOT_REPAIRS = "snapshot_repairs_total", "Entries of the snapshot that were read from the store again, because they differed.";
    RETIRED_SCHEMA_CONTENTS = "retired_schema_contents_total", "Schema contents without a reference that this node's retirement job has deleted.";
    REFUSED_FOR_LOAD = "requests_refused_for_load_total", "Requests answered 429 or 503 because too much was waiting in the server, in a mailbox or in the queue of writes.";
    REFUSED_FOR_RATE = "requests_refused_for_rate_total", "Requests answered 429 because too many came from one client address (server.limit.connections).";
    REFUSED_FOR_ORIGIN = "requests_refused_for_origin_total", "Requests answered 403 because a page of another origin sent them (server.cors.origins).";
    LOG_LINES_DROPPED = "log_lines_dropped_total", "Log lines dropped because the output did not take them in time.";
    ACCESS_LOG_LINES_DROPPED = "access_log_lines_dropped_total", "Lines of the access log dropped because the output did not take them in time.";
    SPANS_EXPORTED = "trace_spans_exported_total", "Spans that the collector of traces has taken.";
    SPANS_LOST = "trace_spans_lost_total", "Spans that the collector of traces did not take in time.";
    EVENTS_PUSHED = "watch_events_pushed_total", "Events handed to watchers.";
    EVENTS_DROPPED = "events_dropped_total", "Changes that came faster than they could be recorded. The record of events has a gap (record.gap) in their place.";
    INTERESTS_DROPPED = "interests_dropped_total", "Providers that consumers look for in vain, forgotten because there were more than registry.interest.limit, or more than registry.interest.perConsumer of one consumer.";
    DRAINS = "drains_total", "Drains that this node was asked to wait for.";
    WATCHES_ABORTED = "watch_sessions_aborted_total", "Watches ended because the client read so slowly that too many events waited.";
}

families! {
    OURS: Ours {
        BUILD = Gauge "build_info" ["version", "api_version"], "1. The labels say which version runs, and which API it speaks.";
        HTTP_REQUESTS = Counter "http_requests_total" ["status"], "Requests answered.", "With the requests that match no route. `status` is `1xx` to `5xx`.";
        HTTP_REQUEST_DURATION = Histogram "http_request_duration_seconds" ["method", "route", "status"], "Time from the head of a request to its answer.", "Sending the answer does not count. `route` is the pattern of the path, empty for requests that match no route. `status` is `1xx` to `5xx`.";
        WRITES = Counter "writes_total" ["operation", "outcome"], "Requests that change the registry.", "`operation` is an `operationId` of `/openapi.json`. `outcome` is `done`, `rejected` (4xx), `overloaded` (429, 503) or `failed` (other 5xx, whose outcome is unknown).";
        SNAPSHOT_REVISION = Gauge "snapshot_revision" [], "Revision of the store that the snapshot of this node has.";
        SNAPSHOT_AGE = Gauge "snapshot_age_seconds" [], "Time since the last snapshot was published.", "A registry in which nothing changes has an old snapshot that is current. See `store_up`.";
        SNAPSHOT_PUBLISH = Histogram "snapshot_publish_duration_seconds" [], "Time from the arrival of events to the snapshot that holds them.";
        WATCH_LAG = Histogram "watch_lag_seconds" [], "How long committed writes of this node waited until its snapshot held them.";
        SERVICES = Gauge "services" [], "Service versions of all tenants.";
        INSTANCES = Gauge "instances" [], "Instances of all tenants.";
        BEATS_WAITING = Gauge "beats_waiting" [], "Heartbeats whose lease renewal is not sent to the store yet.";
        LEASE_RENEWALS = Counter "lease_renewals_total" ["outcome"], "Renewals of leases at the store.", "`outcome` is `renewed`, `expired` (the store does not know the lease any more) or `unanswered`.";
        ANSWERS_HELD = Gauge "answers_held_bytes" [], "Memory of answers that clients have not read yet.";
        MAILBOX_MESSAGES = Gauge "mailbox_messages" ["actor"], "Messages that an actor has not finished.";
        MAILBOX_LIMIT = Gauge "mailbox_limit_messages" ["actor"], "How many messages an actor takes at a time. Further ones are rejected.";
        STORE_REQUEST = Histogram "store_request_duration_seconds" ["operation", "outcome"], "Calls of the store.", "`outcome` is `done` or `failed`. A batch, or renewals, of which one part fails have failed.";
        STORE_TRANSACTIONS = Counter "store_transactions_total" ["outcome"], "Transactions sent to the store.", "`outcome` is `committed`, `refused` (a compare failed), `aborted` (surely not written) or `unknown` (maybe written).";
        STORE_BATCH = Histogram "store_batch_transactions" [], "Transactions sent to the store as one batch.";
        STORE_UP = Gauge "store_up" [], "1 if the store answered when it was last asked, 0 if not.";
        STORE_AWAY = Gauge "store_away_seconds" [], "How long the store has not answered. 0 while it answers.";
        WATCHERS = Gauge "watchers" [], "Websocket sessions that watch.";
        WATCH_WAITING = Gauge "watch_events_waiting" [], "Events that watchers have not taken yet.";
        WATCH_DELIVERY = Histogram "watch_delivery_seconds" [], "Time from the publish of a change until the session of a watcher takes it.";
        WATCH_UNSENT = Gauge "watch_changes_unsent" [], "Changes that wait because the mailbox of the HubActor is full.";
        INSTANCES_GONE = Counter "instances_gone_total" ["cause"], "Instances that this node has stopped to show, or that were taken out.", "`cause` is `expired`, `unregistered`, `deleted_with_service`, `taken_out` (the status was set to `OUTOFSERVICE` or `DOWN`) or `unknown` (missing in a new listing of the store).";
        INTERESTS_KEPT = Gauge "interests" [], "Providers that consumers look for and that do not exist yet. Their watches are told when an instance appears.";
        EXPIRIES_HELD = Gauge "expiries_held" [], "Expiries that a guard holds back now.", "Without those that wait for 2 s, as each expiry does.";
        EVENT_STREAMS = Gauge "event_streams" [], "Streams of events (GET /v4/{project}/admin/events) that are open.";
        CERTIFICATE_EXPIRY = Gauge "certificate_expiry_seconds" ["certificate"], "Time until the first certificate of a file in use expires. Negative after it has expired.";
        CERTIFICATES_RELOADED = Gauge "certificates_last_reload_successful" ["files"], "1 if the files of certificates and keys could be used when they were last read. 0 if not, and older ones are in use.";
        COMPACTED_REVISION = Gauge "compacted_revision" [], "Revision up to which this node has compacted etcd last. 0 if it has compacted nothing.";
        COMPACTED_AT = Gauge "compacted_timestamp_seconds" [], "When this node has compacted etcd last, in seconds since 1970. 0 if it has compacted nothing.";
        COMPACTION_RETENTION = Gauge "compaction_retention_seconds" [], "How much history of etcd this node keeps when it compacts. 0 if it does not compact, or on the embedded store.";
        DIFFERING = Gauge "nodes_differing" [], "Other nodes that show something else than this node at the same revision.";
        COMPARED_AT = Gauge "compared_timestamp_seconds" [], "When the last comparison of the snapshot with the store ended, in seconds since 1970. 0 before the first.";
        ALARMS_ACTIVE = Gauge "alarms_active" ["alarm"], "1 while an alarm is active.";
    }
    ORIGINAL: Original {
        ORIGINAL_REQUESTS = Counter "http_request_total" ["api", "code", "domain", "method"], "Counter of requests received into ROA handler", "`api` is the name of the handler in the original. Requests that match no route do not count.";
        ORIGINAL_SUCCESSES = Counter "http_success_total" ["api", "code", "domain", "method"], "Counter of successful requests processed by ROA handler", "`code` is below 500.";
        ORIGINAL_REQUEST_DURATIONS = Summary "http_request_durations_microseconds" ["api", "domain", "method"], "HTTP request latency summary of ROA handler", "Upgrades to a websocket do not count.";
        ORIGINAL_REQUEST_RATE = Gauge "http_query_per_seconds" ["api", "domain", "method"], "HTTP requests per seconds of ROA handler", "Of the last 10 to 20 s.";
        PUBLISHED = Counter "notify_publish_total" ["source", "status"], "Counter of publishing instance events", "`FAILURE`: the watch ended before the client took the event.";
        PUBLISH_DURATIONS = Summary "notify_publish_durations_microseconds" ["source", "status"], "Latency of publishing instance events", "From the publish of a change until the session of a watcher takes it.";
        PENDING = Gauge "notify_pending_total" ["source"], "Counter of pending instance events";
        PENDING_DURATIONS = Summary "notify_pending_durations_microseconds" ["source"], "Latency of pending instance events", "From the place in the queue of a session until the session takes the event.";
        SUBSCRIBERS = Gauge "notify_subscriber_total" ["domain", "scheme"], "Gauge of subscribers";
        HEARTBEATS = Counter "db_heartbeat_total" ["status"], "Counter of heartbeat renew", "Renewals at the store. One renewal stands for all heartbeats of an instance within 0.1 s.";
        HEARTBEAT_DURATIONS = Summary "db_heartbeat_durations_microseconds" ["status"], "Latency of heartbeat renew", "Of the renewal at the store.";
        DOMAINS = Gauge "db_domain_total" [], "Gauge of domain created in Service Center";
        DB_SERVICES = Gauge "db_service_total" ["domain", "framework", "frameworkVersion", "project"], "Gauge of microservice created in Service Center";
        DB_INSTANCES = Gauge "db_instance_total" ["domain", "framework", "frameworkVersion", "project"], "Gauge of microservice instance created in Service Center";
        DB_FRAMEWORKS = Gauge "db_framework_total" ["domain", "framework", "frameworkVersion", "project"], "Gauge of client framework info in Service Center";
        DB_SCHEMAS = Gauge "db_schema_total" ["domain", "project"], "Counter of schema created in Service Center";
        SERVICE_USAGE = Gauge "db_service_usage" [], "Gauge of microservice usage in Service Center", "The share of its quota that the fullest tenant uses, 0 to 1. The original compares the services of all tenants with the quota of one.";
        INSTANCE_USAGE = Gauge "db_instance_usage" [], "Gauge of microservice instance usage in Service Center", "As `db_service_usage`.";
        NODE_REGISTERED = Gauge "db_sc_total" [], "Counter of the Service Center instance", "1 while this node is registered.";
        BACKEND_EVENTS = Gauge "db_backend_event_total" ["prefix"], "Counter of backend events";
        BACKEND_EVENT_DURATIONS = Summary "db_backend_event_durations_microseconds" ["prefix"], "Latency of backend events processing", "From the arrival of an event to the snapshot that holds it.";
        DISPATCH_EVENTS = Gauge "db_dispatch_event_total" ["prefix"], "Counter of backend events dispatch", "Changes that the HubActor has not taken yet.";
        DISPATCH_EVENT_DURATIONS = Summary "db_dispatch_event_durations_microseconds" ["prefix"], "Latency of backend events dispatch", "From the arrival of an event until the HubActor has it.";
        BACKENDS = Gauge "db_backend_total" [], "Gauge of the backend instance", "The configured addresses of etcd; 1 for the embedded store. The original never fills this family.";
        BACKEND_OPERATIONS = Counter "db_backend_operation_total" ["operation", "status"], "Counter of backend operation", "The original never fills this family.";
        BACKEND_OPERATION_DURATIONS = Summary "db_backend_operation_durations_microseconds" ["operation", "status"], "Latency of backend operation", "The original never fills this family.";
        CACHE_BYTES = Gauge "local_cache_size_bytes" ["resource", "type"], "Local cache size summary of backend store", "Estimated: the entries, times the mean size of the entries that were read.";
        PROCESS_CPU_USAGE = Gauge "process_cpu_usage" [], "Process cpu usage", "Of the last 10 to 20 s. 1 is one core.";
    }
    OF_PROCESS: Process {
        PROCESS_CPU = Counter "process_cpu_seconds_total" [], "Total user and system CPU time spent in seconds.";
        PROCESS_MAX_FDS = Gauge "process_max_fds" [], "Maximum number of open file descriptors.";
        PROCESS_OPEN_FDS = Gauge "process_open_fds" [], "Number of open file descriptors.";
        PROCESS_RESIDENT = Gauge "process_resident_memory_bytes" [], "Resident memory size in bytes.";
        PROCESS_START = Gauge "process_start_time_seconds" [], "Start time of the process since unix epoch in seconds.";
        PROCESS_VIRTUAL = Gauge "process_virtual_memory_bytes" [], "Virtual memory size in bytes.";
        PROCESS_VIRTUAL_MAX = Gauge "process_virtual_memory_max_bytes" [], "Maximum amount of virtual memory available in bytes.";
    }
}

/// The label values of the original's families.
pub const SUCCESS: &str = "SUCCESS";
pub const FAILURE: &str = "FAILURE";
/// What watchers of instances are told, as `source`.
pub const INSTANCE_SOURCE: &str = "INSTANCE";

cells! {
    SNAPSHOT_PUBLISH_TIME: Histogram = Histogram::of(SNAPSHOT_PUBLISH, UNLABELED);
    WATCH_LAG_TIME: Histogram = Histogram::of(WATCH_LAG, UNLABELED);
    BATCH_SIZE: Histogram = Histogram::of_sizes(STORE_BATCH);
    LEASES_RENEWED: Counter = Counter::of(LEASE_RENEWALS, ["renewed", "", ""]);
    LEASES_EXPIRED: Counter = Counter::of(LEASE_RENEWALS, ["expired", "", ""]);
    LEASES_WITHOUT_ANSWER: Counter = Counter::of(LEASE_RENEWALS, ["unanswered", "", ""]);
    HEARTBEATS_DONE: Counter = Counter::of(HEARTBEATS, [SUCCESS, "", ""]);
    HEARTBEATS_FAILED: Counter = Counter::of(HEARTBEATS, [FAILURE, "", ""]);
    HEARTBEAT_TIME: Histogram = Histogram::of_original(HEARTBEAT_DURATIONS, [SUCCESS, "", ""]);
    HEARTBEAT_FAILURE_TIME: Histogram = Histogram::of_original(HEARTBEAT_DURATIONS, [FAILURE, "", ""]);
    EVENTS_DELIVERED: Counter = Counter::of(PUBLISHED, [INSTANCE_SOURCE, SUCCESS, ""]);
    EVENTS_LOST: Counter = Counter::of(PUBLISHED, [INSTANCE_SOURCE, FAILURE, ""]);
    DELIVERY_TIME: Histogram =
        Histogram::of(WATCH_DELIVERY, UNLABELED).and_original(PUBLISH_DURATIONS, [INSTANCE_SOURCE, SUCCESS, ""]);
    PENDING_TIME: Histogram = Histogram::of_original(PENDING_DURATIONS, [INSTANCE_SOURCE, "", ""]);
    CHANGES_UNSENT: Gauge = Gauge::of(WATCH_UNSENT, UNLABELED);
    INTERESTS: Gauge = Gauge::of(INTERESTS_KEPT, UNLABELED);
    LAST_COMPACTED_REVISION: Gauge = Gauge::of(COMPACTED_REVISION, UNLABELED);
    LAST_COMPACTED_AT: Gauge = Gauge::of(COMPACTED_AT, UNLABELED);
    RETENTION_OF_COMPACTION: Gauge = Gauge::of(COMPACTION_RETENTION, UNLABELED);
    GONE_EXPIRED: Counter = Counter::of(INSTANCES_GONE, ["expired", "", ""]);
    GONE_UNREGISTERED: Counter = Counter::of(INSTANCES_GONE, ["unregistered", "", ""]);
    GONE_WITH_SERVICE: Counter = Counter::of(INSTANCES_GONE, ["deleted_with_service", "", ""]);
    GONE_TAKEN_OUT: Counter = Counter::of(INSTANCES_GONE, ["taken_out", "", ""]);
    GONE_UNKNOWN: Counter = Counter::of(INSTANCES_GONE, ["unknown", "", ""]);
    NODES_DIFFERING: Gauge = Gauge::of(DIFFERING, UNLABELED);
    LAST_COMPARED_AT: Gauge = Gauge::of(COMPARED_AT, UNLABELED);
    HELD_NOW: Gauge = Gauge::of(EXPIRIES_HELD, UNLABELED);
    STREAMS_OPEN: Gauge = Gauge::of(EVENT_STREAMS, UNLABELED);
    NODES_REGISTERED: Gauge = Gauge::of(NODE_REGISTERED, UNLABELED);
    BACKEND_COUNT: Gauge = Gauge::of(BACKENDS, UNLABELED);
    TXNS_COMMITTED: Counter = Counter::of(STORE_TRANSACTIONS, ["committed", "", ""]);
    TXNS_REFUSED: Counter = Counter::of(STORE_TRANSACTIONS, ["refused", "", ""]);
    TXNS_ABORTED: Counter = Counter::of(STORE_TRANSACTIONS, ["aborted", "", ""]);
    TXNS_UNKNOWN: Counter = Counter::of(STORE_TRANSACTIONS, ["unknown", "", ""]);
}

/// Every family, in the order of the table.
pub fn families() -> impl Iterator<Item = &'static Family> {
    [ORIGINAL, OURS, COUNTER_FAMILIES, OF_PROCESS].into_iter().flatten()
}

/// Adds everything that is counted to a page. Values that somebody must be asked for are added by `http/v4/exposition.rs`.
pub fn collect(page: &mut Page) {
    requests::collect(page);
    let cells = COUNTERS.iter().chain(LABELED).copied().chain(cells::registered());
    cells.for_each(|cell| cell.collect(page));
}

/// Adds what the kernel counts of the process to a page.
pub fn collect_process(page: &mut Page) {
    process::collect(page);
}

/// Keeps what is counted now, for the values of the last minute. To be called every [`TICK`], with a time that never goes back.
pub fn tick(now: Duration) {
    requests::tick(now);
    process::tick(now);
    LABELED.iter().copied().chain(cells::registered()).for_each(|cell| cell.tick(now));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_name_is_there_once_and_says_its_kind() {
        let mut names = HashSet::new();
        for family in families() {
            assert!(names.insert(family.full_name()), "{} is there twice", family.name);
            let is_counter = family.name.ends_with("_total");
            let keeps_its_old_name = family.origin == Origin::Original;
            assert!(keeps_its_old_name || is_counter == (family.kind == Kind::Counter), "{}", family.name);
            assert!(family.origin == Origin::Original || !family.help.trim_end_matches('.').is_empty());
        }
    }

    #[test]
    fn each_cell_is_reported() {
        let mut page = Page::new("10.0.0.9:30100".to_owned(), Duration::from_secs(30));
        tick(Duration::from_secs(10));
        collect(&mut page);
        collect_process(&mut page);
        let text = page.text();
        for family in [&LEASE_RENEWALS, &BACKENDS, &STORE_BATCH, &PUBLISH_DURATIONS, &PROCESS_START] {
            let head = format!("# TYPE {} {}\n", family.full_name(), family.kind.as_str());
            assert!(text.contains(&head), "{head} in {text}");
        }
        assert!(text.contains("service_center_db_backend_total{instance=\"10.0.0.9:30100\"} 0\n"), "{text}");
        assert!(text.contains("service_center_store_batch_transactions_bucket{le=\"+Inf\"} "), "{text}");
    }
}
