//! The keys that this server reads, in the order in which they are documented and reported.
//!
//! The defaults are the values that the reference ships, so that a start without files behaves like a fresh release folder of the
//! reference. If a default differs, the row says why.

// Short names, because each row uses them.
use super::{ConfigKey as Key, KeyStanding as Standing, ValueKind as Kind};

#[derive(Debug)]
pub(crate) struct KeyGroup {
    pub title: &'static str,
    pub keys: &'static [&'static Key],
}

macro_rules! groups {
    ($($title:literal { $($id:ident = $key:expr;)+ })+) => {
        $($(pub(crate) static $id: Key = $key;)+)+
        pub(crate) static GROUPS: &[KeyGroup] = &[$(KeyGroup { title: $title, keys: &[$(&$id),+] }),+];
    };
}

const KB: u64 = 1024;
const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;

groups! {
    "Server" {
        ENVIRONMENT = Key::new("environment", Kind::Text, "dev",
            "dev: this node registers itself in the environment development. Any other value: in the environment production.")
            .old("runmode").shipped(&["dev"]);
        SERVER_HOST = Key::new("server.host", Kind::Text, "127.0.0.1",
            "The address to listen on: an IP address (IPv6 may have a zone) or a host name. The default is local, so that \
             nothing is open to a network by accident. 0.0.0.0, :: and an empty value also need registry.instance.endpoint, \
             because others cannot reach such an address.")
            .old("httpaddr").shipped(&["127.0.0.1"]);
        SERVER_PORT = Key::new("server.port", Kind::Integer(1, 65_535), "30100",
            "The port to listen on. Clients use 30100 by default.")
            .old("httpport").shipped(&["30100"]);
        SERVER_WORKERS = Key::new("server.workers", Kind::Integer(1, 1024), "",
            "The number of threads that serve requests.")
            .derived("the number of CPU cores").standing(Standing::Ours);
        MAX_HEADER_BYTES = Key::new("server.request.maxHeaderBytes", Kind::Integer(KB, 1024 * KB), "32768",
            "Limit of the headers of a request, in bytes; over it 431. Large enough for tokens and cookies. Above 124 KiB the \
             limit of the HTTP library applies.")
            .old("max_header_bytes").shipped(&["32768"]);
        MAX_BODY_BYTES = Key::new("server.request.maxBodyBytes", Kind::Integer(1, 64 * 1024 * KB), "2097152",
            "Limit of the body of a request, in bytes: the size of the largest schema (2 MiB). Instances and properties have \
             smaller limits. A body with Content-Encoding: gzip is measured after decompression.")
            .old("max_body_bytes").shipped(&["2097152"]);
        MAX_INSTANCE_BYTES = Key::new("server.request.maxInstanceBytes", Kind::Integer(1024, 1024 * KB), "5120",
            "Limit of an instance, in bytes, for every request that brings one, because each find of its service shows all of \
             it. The reference has the same limit, but not configurable.")
            .standing(Standing::Ours);
        MAX_PROPERTIES_BYTES = Key::new("server.request.maxPropertiesBytes", Kind::Integer(1024, 1024 * KB), "3072",
            "Limit of the properties of a service, in bytes, for every request that brings them. The same limit applies to a \
             request that replaces the properties of an instance. The reference has the same limit, but not configurable.")
            .standing(Standing::Ours);
        MAX_CONCURRENT = Key::new("server.request.maxConcurrent", Kind::Integer(16, 1_000_000), "4096",
            "How many requests may wait at the same time, mostly for the store. Requests that wait for the store may take seven \
             eighths of the places, and views of many services (govern, dump) half. Over the limit a find is answered 429 and any other request 503, both with Retry-After. \
             Health and metrics are always answered. Requests that are answered from memory do not wait. At 40,000 writes per \
             second, 4096 requests wait 100 ms; a higher limit makes all of them slower.")
            .standing(Standing::Ours);
        MAX_BATCH = Key::new("server.request.maxBatch", Kind::Integer(1, 1_000_000), "1000",
            "How many services and instances one batch find may name together; over it 400001. A client names the services that \
             it depends on, some hundreds at most.")
            .standing(Standing::Ours);
        HEADER_TIMEOUT = Key::new("server.request.headerTimeout", Kind::Duration(1, DAY), "60s",
            "Time limit for the arrival of the headers of a request, so that a stalled client does not keep a connection.")
            .old("read_header_timeout").shipped(&["60s"]);
        BODY_TIMEOUT = Key::new("server.request.timeout", Kind::Duration(1, DAY), "60s",
            "Time limit for the arrival of the body of a request.")
            .old("read_timeout").shipped(&["60s"]);
        MAX_RESPONSE_BYTES = Key::new("server.response.maxBytes", Kind::Integer(64 * KB, 1024 * 1024 * KB), "67108864",
            "Limit of the body of an answer before compression, in bytes. The size is computed before the body is built; over \
             the limit 400001. 200,000 instances of 300 bytes fit. An answer that repeats one provider a thousand times does \
             not.")
            .standing(Standing::Ours);
        MAX_RESPONSE_MEMORY = Key::new("server.response.maxMemory", Kind::Integer(KB * KB, 1024 * 1024 * 1024 * KB), "134217728",
            "Limit of the memory of all answers that clients have not taken yet, in bytes. A body that several answers share \
             counts once, plus 32 KiB for each answer (up to 512 KiB while all answers hold less than a quarter of the limit). \
             Answers up to 8 KiB do not count. Over the limit a find is answered 429 \
             and any other request 503. One eighth more is reserved for health and metrics. At least server.response.maxBytes.")
            .standing(Standing::Ours);
        IDLE_TIMEOUT = Key::new("server.idle.timeout", Kind::Duration(1, DAY), "90s",
            "How long an idle connection is kept. Longer than the 60s of the reference: a client that keeps its connections for \
             60s or 90s could otherwise send a request on a connection that the server is closing.")
            .old("idle_timeout").shipped(&["60s"]);
        RESPONSE_TIMEOUT = Key::new("server.response.timeout", Kind::Duration(1, DAY), "60s",
            "Time limit for writing an answer.")
            .old("write_timeout").shipped(&["60s"]);
        CORS_ORIGINS = Key::new("server.cors.origins", Kind::List, "",
            "Origins of pages in browsers that may change the registry, between commas: https://portal.example:8443. Pages of \
             the server itself always may. A request of any other page that is not GET, HEAD or OPTIONS is answered 403. While \
             accounts are off, every page may read; with accounts, only these.")
            .standing(Standing::Ours);
        RATE_REQUESTS = Key::new("server.limit.connections", Kind::Integer(0, 1_000_000), "0",
            "How many requests a client address may send in each server.limit.unit; over it 429 with Retry-After. 0: no limit. \
             An IPv6 client counts by its /64 network. Heartbeats, health, readiness, metrics and the files of the console do not count. The reference \
             reads this key and does not use it.")
            .old("limit_conns").shipped(&["0"]);
        ACCOUNT_RATE_REQUESTS = Key::new("server.limit.accountConnections", Kind::Integer(0, 1_000_000), "0",
            "How many requests an account may send in each server.limit.unit, from all its addresses together, while accounts are on; \
             over it 429 with Retry-After. 0: no limit. Heartbeats, health, readiness, metrics and the files of the console do not count. Each node counts \
             its own requests.")
            .standing(Standing::Ours);
        RATE_UNIT = Key::new("server.limit.unit", Kind::Choice(&["ms", "s", "m", "h"]), "s",
            "The unit of time of server.limit.connections and server.limit.accountConnections: a millisecond, a second, a minute or an hour.")
            .old("limit_ttl").shipped(&["s"]);
        RATE_LOOKUPS = Key::new("server.limit.ipLookups", Kind::List, "RemoteAddr,X-Forwarded-For,X-Real-IP",
            "Where server.limit.connections and the lock of failed logins find the address of a client; the first place that has one counts. RemoteAddr, the \
             other end of the connection, always has one, so the headers count only if they stand before it. Write them first \
             only if every request comes through a proxy that sets them: a client can send any header. The last address in \
             X-Forwarded-For counts, because the nearest proxy wrote it.")
            .old("limit_iplookups").shipped(&["RemoteAddr,X-Forwarded-For,X-Real-IP"]);
    }
    "TLS" {
        SSL_ENABLE = Key::new("ssl.enable", Kind::Switch, "false",
            "HTTPS on server.port. The reference turns it on if no source sets the key. Here it is then off, because a start \
             without files has no certificates. This key does not apply to etcd: a connection to etcd is encrypted if its \
             endpoint begins with https://.")
            .old("ssl_mode").shipped(&["false"]);
        SSL_DIR = Key::new("ssl.dir", Kind::Text, "",
            "The folder with trust.cer (CA certificates), server.cer, server_key.pem and cert_pwd (the password of the key; may \
             be absent).")
            .env("SSL_ROOT").derived("etc/ssl in the working directory").shipped(&[""]);
        SSL_MIN_VERSION = Key::new("ssl.minVersion", Kind::Choice(&["TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"]), "TLSv1.2",
            "The lowest version that is accepted. TLSv1.0 and TLSv1.1 are insecure and not supported. They act as TLSv1.2, with \
             a warning.")
            .old("ssl_min_version").shipped(&["TLSv1.2"]);
        SSL_VERIFY_CLIENT = Key::new("ssl.verifyClient", Kind::Switch, "1",
            "Whether clients need a certificate that is signed by a CA in trust.cer.")
            .old("ssl_verify_client").shipped(&["1"]);
        SSL_CIPHERS = Key::new("ssl.ciphers", Kind::List, "",
            "Suites for TLS 1.2. The suites of TLS 1.3 are always on. Only suites with forward secrecy are supported: of the \
             four names that the reference ships, the two that begin with TLS_ECDHE_. The names that begin with TLS_RSA_ are \
             ignored, with a warning.")
            .derived("every TLS 1.2 suite with forward secrecy")
            .shipped(&["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,\
                        TLS_RSA_WITH_AES_256_GCM_SHA384,TLS_RSA_WITH_AES_128_GCM_SHA256"]);
    }
    "Log" {
        LOG_LEVEL = Key::new("log.level", Kind::Choice(&["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]), "INFO",
            "The lowest level that is logged. If the environment variable RUST_LOG is set, it decides instead, and can set a \
             level for each module. FATAL acts as ERROR.")
            .old("loglevel").shipped(&["INFO", "DEBUG"]);
        LOG_FILE = Key::new("log.file", Kind::Text, "",
            "The log file. $NAME is replaced by the variable of the environment. The app.yaml of the reference sets \
             ./service-center.log. Without a value, also with LOG_FILE='', the log goes to standard output, where containers \
             and systemd expect it. SIGHUP opens the file again, as logrotate needs it.")
            .old("logfile").derived("standard output").shipped(&["./service-center.log"]);
        LOG_FORMAT = Key::new("log.format", Kind::Choice(&["text", "json"]), "text",
            "text or json. Each event is one line in both formats.")
            .old("log_format").shipped(&["text"]);
        LOG_ROTATE_SIZE = Key::new("log.rotateSize", Kind::Integer(1, 500), "20",
            "The file rotates at this size, in MB. Small enough to open it in an editor.")
            .old("log_rotate_size").shipped(&["20"]).lenient();
        LOG_BACKUP_COUNT = Key::new("log.backupCount", Kind::Integer(0, 100), "50",
            "How many old files are kept. With files of 20 MB, 50 files need 1 GB.")
            .old("log_backup_count").shipped(&["50"]).lenient();
        LOG_ACCESS_ENABLE = Key::new("log.accessEnable", Kind::Switch, "false",
            "Whether each request is logged when it is answered, except heartbeats. docs/logs-and-traces.md has the format.")
            .old("enable_access_log").shipped(&["false"]);
        LOG_ACCESS_FILE = Key::new("log.accessFile", Kind::Text, "./access.log",
            "The file of the access log. $NAME is replaced by the variable of the environment. It rotates like the log, and SIGHUP \
             opens it again.")
            .old("access_log_file").env("SC_ACCESS_LOG_FILE").shipped(&["./access.log"]);
    }
    "Registry" {
        REGISTRY_KIND = Key::new("registry.kind", Kind::Text, "",
            "The store: etcd (a cluster), or embedded_etcd (also embeded_etcd), which is the durable store of this machine in \
             the folder registry.embedded.dir and needs no etcd.")
            .old("registry_plugin").derived("etcd if an etcd endpoint is given, else embedded_etcd").shipped(&["etcd"]);
        REGISTRY_VERSION = Key::new("registry.version", Kind::Text, "2.2.0",
            "The version under which this node registers itself. It is the version of the API, so that nodes of that version of \
             the reference list this node.")
            .standing(Standing::Ours);
        SELF_REGISTER = Key::new("registry.selfRegister", Kind::Switch, "1",
            "Whether this node registers itself as an instance of SERVICECENTER. Clients and other nodes find it there.")
            .old("self_register").shipped(&["1"]);
        SCRUB_PERIOD = Key::new("registry.scrub.period", Kind::Duration(0, DAY), "5m",
            "How often this node compares what it shows with the store, entry by entry, and repairs what differs. It uses at most \
             1 % of a core for that, so with very many instances a comparison takes longer. 0: never by itself. Else at least 1s.")
            .standing(Standing::Ours);
        EMBEDDED_DIR = Key::new("registry.embedded.dir", Kind::Text, "./data",
            "The folder of the embedded store. It is created if it does not exist. Only one process may use it, and other users \
             cannot read it (rights 700).")
            .standing(Standing::Ours);
    }
    "Registry on etcd" {
        ETCD_ENDPOINTS = Key::new("registry.etcd.cluster.endpoints", Kind::Text, "",
            "The addresses of etcd: host:port between commas, with https:// before each for TLS. Clusters may have names \
             (a=h1:1,h2:2,b=h3:3); the node uses the cluster registry.etcd.cluster.name.")
            .old("manager_cluster").derived("127.0.0.1:2379 if registry.kind is etcd")
            .shipped(&["http://127.0.0.1:2379", "127.0.0.1:2379"]);
        ETCD_CLUSTER_NAME = Key::new("registry.etcd.cluster.name", Kind::Text, "default",
            "The name of the own cluster in the list of endpoints.")
            .old("manager_name");
        ETCD_MANAGER_ENDPOINTS = Key::new("registry.etcd.cluster.managerEndpoints", Kind::List, "",
            "For clusters with names: the addresses of the own etcd, instead of those in the list.")
            .old("manager_addr");
        ETCD_CONNECT_TIMEOUT = Key::new("registry.etcd.connect.timeout", Kind::Duration(1, HOUR), "10s",
            "Time limit for opening a connection to etcd.")
            .old("connect_timeout").shipped(&["10s"]);
        ETCD_REQUEST_TIMEOUT = Key::new("registry.etcd.request.timeout", Kind::Duration(1, HOUR), "30s",
            "Time limit for one request to etcd. Longer than etcd needs to elect a leader.")
            .old("registry_timeout").shipped(&["30s"]);
        ETCD_SYNC_INTERVAL = Key::new("registry.etcd.autoSyncInterval", Kind::Duration(0, DAY), "30s",
            "How often etcd is asked for its members. Their addresses are tried after the configured ones, so that the node \
             finds the cluster even if all configured addresses are gone. Below 1s: never.")
            .old("auto_sync_interval").shipped(&["30s"]);
        ETCD_COMPACTION_RETENTION = Key::new("registry.etcd.compaction.retention", Kind::Duration(0, 366 * DAY), "1h",
            "How much history of etcd stays. One node at a time lets etcd forget what is older, unless the watch of another node \
             has not brought it yet; otherwise each write would make the database of etcd larger until its quota is used up. 0: \
             off; then start etcd with --auto-compaction-retention=1. Else at least 1s. The reference does not compact etcd.")
            .standing(Standing::Ours);
        ETCD_USERNAME = Key::new("registry.etcd.username", Kind::Text, "",
            "The user, if etcd has authentication.")
            .standing(Standing::Ours);
        ETCD_PASSWORD = Key::new("registry.etcd.password", Kind::Secret, "",
            "The password of this user. The log and check-config never show it.")
            .standing(Standing::Ours);
        ETCD_CA_FILE = Key::new("registry.etcd.ssl.caFile", Kind::Text, "",
            "The CA certificates (PEM) of etcd, for endpoints with https://.")
            .derived("trust.cer in ssl.dir").standing(Standing::Ours);
        ETCD_CERT_FILE = Key::new("registry.etcd.ssl.certFile", Kind::Text, "",
            "The certificate (PEM) of this node for etcd. Set it together with registry.etcd.ssl.keyFile.")
            .standing(Standing::Ours);
        ETCD_KEY_FILE = Key::new("registry.etcd.ssl.keyFile", Kind::Text, "",
            "The private key (PEM) of this certificate. If it is encrypted, its password is in cert_pwd in ssl.dir.")
            .standing(Standing::Ours);
        ETCD_SERVER_NAME = Key::new("registry.etcd.ssl.serverName", Kind::Text, "",
            "The name that etcd's certificate must have, if it is not the host of the endpoint.")
            .derived("the endpoint's host").standing(Standing::Ours);
        ETCD_VERIFY_NAME = Key::new("registry.etcd.ssl.verifyServerName", Kind::Switch, "1",
            "0: etcd's certificate may have any name, as in the reference. It must still be signed by the CA.")
            .standing(Standing::Ours);
    }
    "This node's instance" {
        INSTANCE_ENDPOINT = Key::new("registry.instance.endpoint", Kind::Text, "",
            "host or host:port under which others reach this node. Needed behind NAT, in containers, and with an address that \
             means all addresses. Nodes behind one load balancer may have its address; they then share one entry.")
            .derived("server.host and server.port").shipped(&[""]);
        INSTANCE_DC_NAME = Key::new("registry.instance.datacenter.name", Kind::Text, "",
            "The data center of this node. Used only if region and availableZone are set, too.")
            .shipped(&[""]);
        INSTANCE_DC_REGION = Key::new("registry.instance.datacenter.region", Kind::Text, "",
            "The region of this node.")
            .shipped(&[""]);
        INSTANCE_DC_ZONE = Key::new("registry.instance.datacenter.availableZone", Kind::Text, "",
            "The zone of this node.")
            .shipped(&[""]);
    }
    "Every instance" {
        INSTANCE_TTL = Key::new("registry.instance.ttl", Kind::Integer(0, 9_000_000_000), "0",
            "Above 0: the TTL of every lease in seconds, whatever the health check of the instance says. 0: interval x (times + \
             1) of the health check, after registry.instance.minInterval and registry.instance.minTimes have raised the two.")
            .env("INSTANCE_TTL").shipped(&[""]);
        INSTANCE_MIN_INTERVAL = Key::new("registry.instance.minInterval", Kind::Duration(0, DAY), "5s",
            "The shortest heartbeat interval that an instance may have, so that one client cannot flood the registry.")
            .shipped(&["5s"]);
        INSTANCE_MIN_TIMES = Key::new("registry.instance.minTimes", Kind::Integer(0, 1_000_000), "3",
            "The smallest number of heartbeats that an instance may miss. With a smaller number, one lost packet could end an \
             instance.");
        INSTANCE_PROPERTIES = Key::new("registry.instance.properties", Kind::Map, "",
            "Properties that are added to every instance (registry.instance.properties.zone = z1). They win over the properties \
             of the instance.")
            .shipped(&[""]);
        EXPIRY_GUARD_SHARE = Key::new("registry.instance.expiryGuard.share", Kind::Ratio, "0.2",
            "If more than this share of all instances expire within about a heartbeat interval, their expiries are held back: a \
             network failure looks like that, and a fifth of all instances rarely die at the same time. 1 turns this guard off.")
            .standing(Standing::Ours);
        EXPIRY_GUARD_PRESERVATION = Key::new("registry.instance.expiryGuard.preservation", Kind::Switch, "true",
            "Holds expiries back while 80 % or more of all instances, and more than 5, have expired and are still shown, as the \
             reference does. false: only registry.instance.expiryGuard.share holds expiries back.")
            .standing(Standing::Ours);
        EXPIRY_GUARD_SERVICE_SHARE = Key::new("registry.instance.expiryGuard.serviceShare", Kind::Ratio, "1",
            "Of a service with at least 3 instances, at most this share may expire within one heartbeat interval; the rest is \
             held back for the length of its TTL. With 0.5, one of three, or five of ten. 1 turns this guard off.")
            .standing(Standing::Ours);
    }
    "Services and schemas" {
        GLOBAL_VISIBLE = Key::new("registry.service.globalVisible", Kind::List, "",
            "Names of services that every tenant finds, in addition to SERVICECENTER. They are services of the application \
             default in default/default.")
            .env("CSE_SHARED_SERVICES").shipped(&[""]);
        INTEREST_LIMIT = Key::new("registry.interest.limit", Kind::Integer(0, 1_000_000), "20000",
            "How many providers that do not exist yet a node remembers for the consumers that look for them, for all consumers \
             together. Their watches are told when an instance appears. The oldest is forgotten first. 20,000 take some 10 MB. 0: \
             none, as with the reference.")
            .standing(Standing::Ours);
        INTEREST_PER_CONSUMER = Key::new("registry.interest.perConsumer", Kind::Integer(1, 100_000), "100",
            "How many of them belong to one consumer at most, as many as a consumer usually has dependencies.")
            .standing(Standing::Ours);
        DRAIN_POLL_INTERVAL = Key::new("registry.drain.pollInterval", Kind::Duration(1000, HOUR), "30s",
            "How often consumers without a watch repeat their finds. A drain waits for consumers that asked within this time. \
             30 s, because clients ask that often.")
            .standing(Standing::Ours);
        DRAIN_LIMIT = Key::new("registry.drain.limit", Kind::Integer(1, 1000), "32",
            "How many drains a node waits for at a time. Further ones are rejected (503001). A rolling update drains some \
             instances at a time.")
            .standing(Standing::Ours);
        DEPENDENCY_CROSS_DOMAIN = Key::new("registry.dependency.crossDomain", Kind::Switch, "false",
            "Lets a service of one domain depend on a service of another domain. The consumer is then told about the instances \
             of the provider, and the provider cannot be deleted while the consumer depends on it. Off, because domains are \
             separate. Projects of one domain may always depend on each other.")
            .standing(Standing::Ours);
        SERVICE_RETIRE_DISABLE = Key::new("registry.service.retire.disable", Kind::Switch, "false",
            "Turns off the job that deletes old versions without instances.")
            .shipped(&["false"]);
        SERVICE_RETIRE_CRON = Key::new("registry.service.retire.cron", Kind::Cron, "0 1 * * *",
            "When this job runs: minute, hour, day of month, month, day of week, in local time. By default at night.")
            .shipped(&["0 1 * * *"]);
        SERVICE_RETIRE_RESERVE = Key::new("registry.service.retire.reserve", Kind::Integer(1, 1_000_000), "3",
            "How many versions of a service the job always keeps, newest first: the current one, the next one, and one to go \
             back to.")
            .shipped(&["3"]);
        SERVICE_RETIRE_EMPTY_AFTER = Key::new("registry.service.retire.emptyAfter", Kind::Duration(0, 3660 * DAY), "0",
            "How long a service may have no instances, no consumers and no changes before the same job deletes it, such as 720h. \
             It counts from the first run of the job that finds the service empty. 0: off, because only the team that runs the \
             services knows which of them are gone for good.")
            .standing(Standing::Ours);
        SCHEMA_DISABLE = Key::new("registry.schema.disable", Kind::Switch, "false",
            "Rejects writing a single schema (403001). Writing lists, reading and deleting are still possible.")
            .env("SCHEMA_DISABLE").shipped(&["false"]);
        SCHEMA_RETIRE_CRON = Key::new("registry.schema.retire.cron", Kind::Cron, "0 2 * * *",
            "When texts of schemas that no service refers to are deleted, in local time. By default at night, after the other \
             job.")
            .shipped(&["0 2 * * *"]);
    }
    "Quotas" {
        QUOTA_DOMAIN = Key::new("quota.cap.domain.limit", Kind::Integer(0, u64::MAX), "10000",
            "How many tenants (domain/project) may hold services. The other quotas apply to one tenant, and any client can name \
             a new tenant, so they limit nothing without this quota. A tenant counts until its last service is deleted.")
            .env("QUOTA_DOMAIN").standing(Standing::Ours);
        QUOTA_SERVICE = Key::new("quota.cap.service.limit", Kind::Integer(0, u64::MAX), "50000",
            "How many service versions a tenant (domain/project) may hold.")
            .env("QUOTA_SERVICE").shipped(&["50000"]);
        QUOTA_INSTANCE = Key::new("quota.cap.instance.limit", Kind::Integer(0, u64::MAX), "150000",
            "How many instances a tenant may hold.")
            .env("QUOTA_INSTANCE").shipped(&["150000"]);
        QUOTA_SCHEMA = Key::new("quota.cap.schema.limit", Kind::Integer(0, u64::MAX), "100",
            "How many schemas a service may have.")
            .env("QUOTA_SCHEMA").shipped(&["100"]);
        QUOTA_SCHEMA_BYTES = Key::new("quota.cap.schema.bytes", Kind::Integer(0, u64::MAX), "67108864",
            "Bytes of all schema texts of a service together: 42 of the largest (1.5 MiB), or quota.cap.schema.limit texts of \
             650 KiB. Over it, a text can still be replaced by one that is not longer.")
            .env("QUOTA_SCHEMA_BYTES").standing(Standing::Ours);
        QUOTA_TAG = Key::new("quota.cap.tag.limit", Kind::Integer(0, u64::MAX), "100",
            "How many tags one request may give a service.")
            .env("QUOTA_TAG").shipped(&["100"]);
        QUOTA_DEPENDENCY = Key::new("quota.cap.dependency.limit", Kind::Integer(0, u64::MAX), "1000",
            "How many providers a consumer may have. Each change writes the whole list, so its cost grows with the list. \
             Services call far fewer.")
            .env("QUOTA_DEPENDENCY").standing(Standing::Ours);
        QUOTA_ACCOUNT = Key::new("quota.cap.account.limit", Kind::Integer(0, u64::MAX), "1000",
            "How many accounts the registry may hold, root included.")
            .env("QUOTA_ACCOUNT").shipped(&["1000"]);
        QUOTA_ROLE = Key::new("quota.cap.role.limit", Kind::Integer(0, u64::MAX), "100",
            "How many roles the registry may hold, admin and developer included.")
            .env("QUOTA_ROLE").shipped(&["100"]);
    }
    "Accounts and roles" {
        RBAC_ENABLE = Key::new("rbac.enable", Kind::Switch, "false",
            "Requests need a token, which an account gets with its password. Needs a key pair, see below. If no account root \
             exists, it gets the password of the variable SC_INIT_ROOT_PASSWORD, and the role admin.")
            .old("rbac_enabled").shipped(&["false"]);
        RBAC_PRIVATE_KEY_FILE = Key::new("rbac.privateKeyFile", Kind::Text, "./private.key",
            "The RSA private key (PEM) that signs tokens. All nodes of a cluster need the same pair of keys.")
            .old("rbac_rsa_private_key_file").shipped(&["./private.key"]);
        RBAC_PUBLIC_KEY_FILE = Key::new("rbac.publicKeyFile", Kind::Text, "./public.key",
            "The public key (PEM) of this pair. It verifies tokens.")
            .old("rbac_rsa_public_key_file").shipped(&["./public.key"]);
        RBAC_RELEASE_LOCK_AFTER = Key::new("rbac.releaseLockAfter", Kind::Duration(SECOND, DAY), "15m",
            "How long logins with the name of an account are rejected from an address from which too many have failed.")
            .shipped(&["15m"]);
        RBAC_RETAIN_LOCK_HISTORY_FOR = Key::new("rbac.retainLockHistoryFor", Kind::Duration(SECOND, DAY), "20m",
            "How long a failed login is listed in /v4/account-locks.")
            .shipped(&["20m"]);
        RBAC_SCOPE = Key::new("rbac.scope", Kind::List, "*",
            "The types of resources whose requests need a token: some of account, config, governance, ops, role, service, \
             service/schema. account and role always need one. *: all requests.")
            .shipped(&["*"]);
    }
    "Heartbeats by websocket, and metrics" {
        PING_INTERVAL = Key::new("heartbeat.websocket.pingInterval", Kind::Duration(SECOND, HOUR), "30s",
            "How often a websocket that serves as the heartbeat of an instance is pinged. Each pong counts as a heartbeat, so \
             the value must be below the heartbeat interval of the instance. Clients that watch are always pinged every 30s.")
            .shipped(&["30s"]).lenient();
        METRICS_ENABLE = Key::new("metrics.enable", Kind::Switch, "true",
            "false: nothing is counted of requests and of the registry, and GET /metrics has only the families process_*. On, as in \
             the app.yaml of the reference; off by default in its code.")
            .shipped(&["true"]);
        METRICS_EXPORTER = Key::new("metrics.exporter", Kind::Text, "prometheus",
            "prometheus: GET /metrics is answered. Any other value: it is answered 404.")
            .shipped(&["prometheus"]);
        METRICS_LISTEN = Key::new("metrics.prometheus.listenURL", Kind::Text, "",
            "A separate address and path for the metrics, such as http://127.0.0.1:9090/metrics. server.port then does not answer \
             GET /metrics. https: with the certificate of the server, which ssl.enable needs. Without a port: 80, or 443 for \
             https. Nobody needs a token, so choose an address that only the monitoring reaches.")
            .shipped(&[""]);
    }
    "Console" {
        CONSOLE_ENABLE = Key::new("console.enable", Kind::Switch, "true",
            "Whether GET /console/ answers the web console: a page that shows what the API answers. false: it is answered 404. The page \
             itself holds no data, so nobody needs a token to open it; with accounts it asks for a login.")
            .standing(Standing::Ours);
        CONSOLE_WRITABLE = Key::new("console.writable", Kind::Choice(&["auto", "true", "false"]), "auto",
            "Whether the console offers to change something. auto: with accounts, what the account may do; without accounts, only if the \
             browser runs on the machine of the node (the connection comes from a loopback address, and no header says that a proxy \
             forwards it). The key is about the console alone: without accounts, other clients of the API may still change everything.")
            .standing(Standing::Ours);
    }
    "Record of events" {
        EVENTS_MAX = Key::new("events.memory.maxEvents", Kind::Integer(0, 100_000_000), "100000",
            "How many events this node keeps in memory: what happened to instances, services and nodes, why, and who was told. The oldest \
             goes first. 0: none, and nothing is written to the disk either.")
            .standing(Standing::Ours);
        EVENTS_MAX_BYTES = Key::new("events.memory.maxBytes", Kind::Integer(KB * KB, 1024 * 1024 * 1024 * KB), "41943040",
            "How many bytes these events may take in memory. An event takes about 200 bytes.")
            .standing(Standing::Ours);
        EVENTS_MAX_DISK_BYTES = Key::new("events.disk.maxBytes", Kind::Integer(0, 1024 * 1024 * 1024 * KB), "67108864",
            "How many bytes the events may take on the disk, so that a restart loses none of them. An event takes about 250 bytes. 0: no \
             files. Nothing waits for the disk, and without space only the record on the disk has a gap.")
            .standing(Standing::Ours);
        EVENTS_DIR = Key::new("events.dir", Kind::Text, "",
            "The folder of the events on the disk. It is created if it does not exist. Only one process may use it.")
            .derived("the folder events in registry.embedded.dir with the embedded store; with etcd the events are kept in memory only")
            .standing(Standing::Ours);
    }
    "Traces" {
        TRACING_ENDPOINT = Key::new("tracing.otlp.endpoint", Kind::Text, "",
            "The address of a collector that takes OpenTelemetry traces by gRPC: http://127.0.0.1:4317. Without a value no request is \
             traced. https is not supported: run a collector beside the node.")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT").standing(Standing::Ours);
        TRACING_SAMPLER = Key::new("tracing.sampler.type", Kind::Choice(&["parentbased_traceidratio", "parentbased_always_on",
             "parentbased_always_off", "traceidratio", "always_on", "always_off"]), "parentbased_traceidratio",
            "Which requests are traced, by the names of OpenTelemetry. parentbased: a client that has begun a trace decides about its \
             requests. traceidratio: tracing.sampler.rate is the share of the other requests.")
            .env("OTEL_TRACES_SAMPLER").standing(Standing::Ours);
        TRACING_RATE = Key::new("tracing.sampler.rate", Kind::Ratio, "1",
            "The share of requests that is traced if tracing.sampler.type ends with traceidratio: above 0, at most 1. The default is \
             that of the reference. 0.01 is enough for a busy node.")
            .env("OTEL_TRACES_SAMPLER_ARG").standing(Standing::Ours);
        TRACING_SERVICE = Key::new("tracing.serviceName", Kind::Text, "service-center",
            "The name of this service in traces. The default is that of the reference.")
            .env("OTEL_SERVICE_NAME").standing(Standing::Ours);
    }
}
