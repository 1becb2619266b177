//! Turns the configuration into the rules of each part of the process. No other code uses the sections of the configuration, except
//! those of TLS, the store and the log.
//!
//! Each section is taken apart with all its fields by name, without `..`, so that a key without a use does not compile.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::actors::account::AccountRules;
use crate::actors::compaction::CompactionRules;
use crate::actors::consumer::{ConsumerRules, NodeCount};
use crate::actors::interests::InterestLimits;
use crate::actors::nodes::{self, Company, NodeFacts};
use crate::actors::peer::{NodeIdentity, Registers};
use crate::actors::recorder::RecordFolder;
use crate::actors::registry::rules::{DependencyMode, RegistryRules};
use crate::actors::retire::{LocalZone, RetireRules};
use crate::actors::watch::WatchRules;
use crate::actors::watch::guard::{GuardRules, Preservation};
use crate::config::{
    AddressLookup, Config, ConsoleConfig, ConsoleWritable, Datacenter, DrainConfig, EtcdCluster,
    EventsConfig, HeartbeatConfig, InstanceConfig, InterestConfig, ListenUrl, MetricsConfig, QuotaConfig,
    RateConfig, RbacConfig, RbacScope, RegistryConfig, RetireConfig, SchemaConfig, Secret, ServerConfig,
    ServiceConfig, StoreKind, SupervisorConfig, TlsConfig, TracingConfig, logging,
};
use crate::domain::dependency::CrossDomain;
use crate::domain::instance::{DataCenter, InstanceRules};
use crate::domain::quota::Quotas;
use crate::domain::shared::SharedServices;
use crate::domain::validate::size::SizeLimits;
use crate::http::answer_memory::AnswerMemory;
use crate::http::api::{ApiRules, Clusters, ConsoleWrites, MetricsEndpoint, MetricsRules, SchemaWrites};
use crate::http::middleware::cors::Readers;
use crate::http::server::Settings;
use crate::recorder::RingLimits;
use crate::store::embedded::EVENTS;

/// The rules of all parts of the process.
pub struct ProcessRules {
    /// The release of the original server whose API this one speaks.
    pub version: String,
    pub store: StoreKind,
    /// The name or the address to listen on. Empty: every address.
    pub host: String,
    pub port: u16,
    /// Without TLS and the number of connections, which are added later.
    pub server: Settings,
    pub tls: TlsConfig,
    pub access: AccessRules,
    pub metrics: MetricsSetup,
    pub api: ApiRules,
    pub console: Console,
    pub actors: ActorRules,
    pub tracing: TracingConfig,
    pub supervisor: SupervisorConfig,
}

/// Whether the web console is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    On,
    Off,
}

/// What is counted, and where it is answered.
#[derive(Debug)]
pub struct MetricsSetup {
    pub are_counted: bool,
    /// The separate listener, if the server itself does not answer `GET /metrics`.
    pub listen: Option<ListenUrl>,
    /// The addresses of the store: 1 for the embedded store.
    pub backends: usize,
}

/// Who may send requests.
#[derive(Debug)]
pub enum AccessRules {
    /// Everybody.
    Open,
    /// Accounts: `rbac.enable` is on.
    Accounts(AccountSetup),
}

/// What a start with accounts needs.
#[derive(Debug)]
pub struct AccountSetup {
    pub private_key_file: PathBuf,
    pub public_key_file: PathBuf,
    /// The requests that need a token.
    pub scope: RbacScope,
    /// The password of the account `root` if it does not exist.
    pub root_password: Option<Secret>,
    /// Where the address of a client is found that failed logins count for.
    pub lookups: Vec<AddressLookup>,
    /// The limit of requests per account, if any.
    pub rate: Option<RateConfig>,
    /// Most accounts of the registry.
    pub most_accounts: usize,
    /// How many threads serve requests.
    pub cores: usize,
}

pub struct ActorRules {
    pub registry: RegistryRules,
    pub accounts: AccountRules,
    /// Whether requests need an account.
    pub has_accounts: bool,
    pub watch: WatchRules,
    pub interests: InterestLimits,
    pub consumers: ConsumerRules,
    pub retire: RetireRules,
    /// `None` if the store bounds its history itself.
    pub compaction: Option<CompactionRules>,
    pub record: RecordRules,
    /// The instance by which this node registers itself.
    pub identity: NodeIdentity,
    /// How often this node sends its own heartbeat.
    pub own_beat: Duration,
    /// The name of this process in the locks that it holds in the store.
    pub owner: String,
    /// What this node says about itself to the others.
    pub facts: NodeFacts,
    /// How often the snapshot is compared with the store. `None`: only when somebody asks.
    pub scrub_period: Option<Duration>,
}

/// What is kept of the record of events.
#[derive(Debug)]
pub struct RecordRules {
    /// In memory.
    pub limits: RingLimits,
    /// On the disk.
    pub folder: Option<RecordFolder>,
}

impl ProcessRules {
    pub fn of(config: Config) -> Self {
        let own_environment = config.own_environment();
        // The log is already open.
        let Config {
            environment,
            server,
            tls,
            log: _,
            registry,
            instance,
            service,
            schema,
            quota,
            rbac,
            heartbeat,
            metrics,
            tracing,
            events,
            console,
            supervisor,
        } = config;
        let ConsoleConfig { enable: has_console, writable } = console;
        let EventsConfig { dir: events_dir, max_events, max_bytes, max_disk_bytes } = events;
        let RegistryConfig {
            kind,
            version,
            self_register,
            cluster,
            clusters,
            compaction_retention,
            scrub_period,
        } = registry;
        let InstanceConfig {
            endpoint,
            host_name,
            datacenter,
            ttl,
            min_interval,
            min_times,
            properties,
            expiry_guard_preservation,
            expiry_guard_share,
            expiry_guard_service_share,
        } = instance;
        let ServiceConfig { global_visible, cross_domain, retire, interest, drain } = service;
        let InterestConfig { limit: all, per_consumer } = interest;
        let DrainConfig { poll_interval, limit: most_drains } = drain;
        let RetireConfig { cron, reserve, empty_after } = retire;
        let SchemaConfig { disable: schemas_disabled, retire_cron } = schema;
        let HeartbeatConfig { ping_interval } = heartbeat;
        let MetricsConfig { enable: are_counted, has_exporter, listen } = metrics;
        let RbacConfig {
            enable: has_accounts,
            private_key_file,
            public_key_file,
            release_lock_after,
            retain_lock_history_for,
            scope,
            root_password,
        } = rbac;
        let QuotaConfig {
            tenants,
            services,
            instances,
            schemas,
            schema_bytes,
            tags,
            dependencies,
            accounts,
            roles,
        } = quota;
        let ServerConfig {
            host,
            port,
            workers,
            max_header_bytes,
            max_body_bytes,
            max_instance_bytes,
            max_properties_bytes,
            max_concurrent,
            max_batch,
            max_response_bytes,
            max_response_memory,
            header_timeout,
            body_timeout,
            idle_timeout,
            response_timeout,
            cors_origins,
            lookups,
            rate,
            account_rate,
        } = server;

        let quotas = Quotas {
            tenants,
            services,
            instances,
            schemas,
            schema_bytes,
            tags,
            dependencies,
            accounts,
            roles,
        };
        let cross_domain = if cross_domain { CrossDomain::Allowed } else { CrossDomain::Forbidden };
        let shared = SharedServices::new(global_visible, own_environment);
        let preservation = if expiry_guard_preservation { Preservation::On } else { Preservation::Off };
        let guard =
            GuardRules { preservation, share: expiry_guard_share, service_share: expiry_guard_service_share };
        let fixed_ttl_seconds = ttl.unwrap_or(0);
        let server = Settings {
            version: version.clone(),
            workers,
            max_header_bytes,
            max_body_bytes,
            max_instance_bytes,
            max_properties_bytes,
            max_requests: max_concurrent,
            answers: AnswerMemory::new(max_response_bytes, max_response_memory),
            head_time: header_timeout,
            body_time: body_timeout,
            keep_alive: idle_timeout,
            write_stall: response_timeout,
            page_origins: cors_origins,
            page_readers: if has_accounts { Readers::Listed } else { Readers::Anyone },
            rate,
            lookups: lookups.clone(),
            access_log: logging::access_log(),
            ..Settings::default()
        };
        let api = ApiRules {
            quotas,
            sizes: SizeLimits { instance: max_instance_bytes, properties: max_properties_bytes },
            shared: shared.clone(),
            cross_domain,
            instance_properties: properties.clone(),
            max_batch,
            metrics: MetricsRules {
                endpoint: match (has_exporter, are_counted) {
                    (true, true) => MetricsEndpoint::Open,
                    (true, false) => MetricsEndpoint::ProcessOnly,
                    (false, _) => MetricsEndpoint::Closed,
                },
                instance: endpoint.clone(),
                api_version: version.clone(),
            },
            heartbeat_ping: ping_interval,
            clusters: known_clusters(cluster, clusters, &kind),
            console: match writable {
                ConsoleWritable::Auto if has_accounts => ConsoleWrites::Offered,
                ConsoleWritable::Auto => ConsoleWrites::OfferedHere,
                ConsoleWritable::Always => ConsoleWrites::Offered,
                ConsoleWritable::Never => ConsoleWrites::Hidden,
            },
            schema_writes: if schemas_disabled { SchemaWrites::Disabled } else { SchemaWrites::Enabled },
        };
        let identity = NodeIdentity {
            version: version.clone(),
            environment: own_environment.to_owned(),
            configured_environment: environment,
            host_name: host_name.clone(),
            place: format!("{} {host}:{port}", machine()),
            // The original adds this path if TLS is on, and clients look for it.
            endpoint: format!("rest://{endpoint}{}", if tls.enable { "/?sslEnabled=true" } else { "" }),
            data_center: datacenter.map(data_center),
            registers: if self_register { Registers::Itself } else { Registers::Nothing },
        };
        let access = if has_accounts {
            AccessRules::Accounts(AccountSetup {
                private_key_file,
                public_key_file,
                scope,
                root_password,
                lookups,
                rate: account_rate,
                most_accounts: quotas.accounts,
                cores: workers,
            })
        } else {
            AccessRules::Open
        };
        let owner = format!("{host_name}-{}", std::process::id());
        let facts = NodeFacts {
            node: owner.clone(),
            endpoint: identity.endpoint.clone(),
            api_version: version.clone(),
            company: match kind {
                StoreKind::Embedded { .. } => Company::Alone,
                StoreKind::Etcd(_) => Company::Shared,
            },
            pace: nodes::PACE,
        };
        let actors = ActorRules {
            registry: RegistryRules {
                quotas,
                instances: InstanceRules {
                    min_interval: i32::try_from(min_interval.as_secs()).unwrap_or(i32::MAX),
                    min_times: i32::try_from(min_times).unwrap_or(i32::MAX),
                    fixed_ttl_seconds,
                    properties,
                },
                shared: shared.clone(),
                cross_domain,
                dependencies: match kind {
                    StoreKind::Embedded { .. } => DependencyMode::Direct,
                    StoreKind::Etcd(_) => DependencyMode::Queued,
                },
            },
            has_accounts,
            accounts: AccountRules {
                quotas,
                release_after: release_lock_after,
                keep_attempts: retain_lock_history_for,
            },
            watch: WatchRules { guard, fixed_ttl_seconds, cross_domain },
            interests: InterestLimits { all, per_consumer },
            consumers: ConsumerRules {
                poll_interval,
                most_drains,
                nodes: match &kind {
                    StoreKind::Embedded { .. } => NodeCount::One,
                    StoreKind::Etcd(_) => NodeCount::Many,
                },
                endpoint: endpoint.clone(),
                shared: shared.clone(),
            },
            retire: RetireRules {
                services: cron,
                reserve,
                empty_after,
                schema_contents: retire_cron,
                zone: LocalZone::system(),
            },
            compaction: match &kind {
                StoreKind::Embedded { .. } => None,
                StoreKind::Etcd(_) => Some(CompactionRules { retention: compaction_retention }),
            },
            record: RecordRules {
                limits: RingLimits { events: max_events, bytes: max_bytes },
                folder: events_dir
                    .or_else(|| own_events_folder(&kind))
                    .map(|path| RecordFolder { path, max_bytes: max_disk_bytes }),
            },
            identity,
            own_beat: own_beat(ttl),
            owner,
            facts,
            scrub_period,
        };
        let backends = match &kind {
            StoreKind::Embedded { .. } => 1,
            StoreKind::Etcd(etcd) => etcd.endpoints.len(),
        };
        let metrics = MetricsSetup { are_counted, listen, backends };
        Self {
            version,
            store: kind,
            host,
            port,
            server,
            tls,
            access,
            metrics,
            api,
            console: if has_console { Console::On } else { Console::Off },
            actors,
            tracing,
            supervisor,
        }
    }
}

/// The embedded store has a folder on this machine anyway.
fn own_events_folder(kind: &StoreKind) -> Option<PathBuf> {
    match kind {
        StoreKind::Embedded { dir } => Some(dir.join(EVENTS)),
        StoreKind::Etcd(_) => None,
    }
}

/// The stores that the configuration names. The embedded store has no address.
fn known_clusters(own: String, clusters: Vec<EtcdCluster>, kind: &StoreKind) -> Clusters {
    // An address of another cluster may have a user and a password before the last `@`.
    let shown = |text: &String| text.rsplit('@').next().unwrap_or_default().to_owned();
    let mut addresses: BTreeMap<String, Vec<String>> =
        clusters.into_iter().map(|other| (other.name, other.endpoints.iter().map(shown).collect())).collect();
    let of_own = match kind {
        StoreKind::Embedded { .. } => vec!["embedded".to_owned()],
        StoreKind::Etcd(etcd) => etcd.endpoints.iter().map(ToString::to_string).collect(),
    };
    addresses.insert(own.clone(), of_own);
    Clusters { own, addresses }
}

/// The name of the machine, or of the container.
fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn data_center(place: Datacenter) -> DataCenter {
    let Datacenter { name, region, available_zone } = place;
    DataCenter { name, region, available_zone }
}

/// More often than the health check of this node requires (30 s), and four times in the TTL if the configuration sets one.
fn own_beat(ttl: Option<i64>) -> Duration {
    const BEAT: Duration = Duration::from_secs(10);
    let ttl = ttl.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    ttl.map_or(BEAT, |ttl| BEAT.min(ttl / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passwords in addresses of other clusters are not shown.
    #[test]
    fn clusters_are_known_without_passwords() {
        let other = |name: &str, endpoint: &str| EtcdCluster {
            name: name.to_owned(),
            endpoints: vec![endpoint.to_owned()],
        };
        let listed =
            vec![other("own", "10.0.0.1:2379"), other("far", "http://user:pass@word@10.1.0.1:30100")];
        let known = known_clusters("own".to_owned(), listed, &StoreKind::Embedded { dir: PathBuf::new() });
        let expected = [("far", "10.1.0.1:30100"), ("own", "embedded")]
            .map(|(name, address)| (name.to_owned(), vec![address.to_owned()]));
        assert_eq!((known.own.as_str(), known.addresses), ("own", BTreeMap::from(expected)));
    }
}
