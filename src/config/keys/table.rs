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
            "dev: this node registers itself in the environment development; anything else: in production.")
            .old("runmode").shipped(&["dev"]);
        SERVER_HOST = Key::new("server.host", Kind::Text, "127.0.0.1",
            "Listening address: an IP address (IPv6 with a zone, too) or a host name. Local only by default, so that nothing \
             is open to a network unless somebody says so. 0.0.0.0, :: and an empty value need registry.instance.endpoint, \
             since others cannot reach a wildcard address.")
            .old("httpaddr").shipped(&["127.0.0.1"]);
        SERVER_PORT = Key::new("server.port", Kind::Integer(1, 65_535), "30100",
            "Listening port. Clients have 30100 built in.")
            .old("httpport").shipped(&["30100"]);
        SERVER_WORKERS = Key::new("server.workers", Kind::Integer(1, 1024), "",
            "Threads that serve requests.")
            .derived("the number of CPU cores").standing(Standing::Ours);
        MAX_HEADER_BYTES = Key::new("server.request.maxHeaderBytes", Kind::Integer(KB, 1024 * KB), "32768",
            "Limit of a request's header block; over it 431. Tokens and cookies fit; a flood of headers does not. Above \
             124 KiB the HTTP library refuses first.")
            .old("max_header_bytes").shipped(&["32768"]);
        MAX_BODY_BYTES = Key::new("server.request.maxBodyBytes", Kind::Integer(1, 64 * 1024 * KB), "2097152",
            "Limit of a request's body: the largest schema (2 MiB). Instances and properties have smaller limits of their \
             own. A body sent with Content-Encoding: gzip is measured unpacked.")
            .old("max_body_bytes").shipped(&["2097152"]);
        MAX_INSTANCE_BYTES = Key::new("server.request.maxInstanceBytes", Kind::Integer(1024, 1024 * KB), "5120",
            "Limit of an instance, by whichever request it comes: each find of its service shows all of it. The reference's \
             number, which is not configurable there.")
            .standing(Standing::Ours);
        MAX_PROPERTIES_BYTES = Key::new("server.request.maxPropertiesBytes", Kind::Integer(1024, 1024 * KB), "3072",
            "Limit of the properties of a service, by whichever request they come, and of those that take the place of an \
             instance's. The reference's number, which is not configurable there.")
            .standing(Standing::Ours);
        MAX_CONCURRENT = Key::new("server.request.maxConcurrent", Kind::Integer(16, 1_000_000), "4096",
            "Requests that may wait at once, for the store above all; what waits for the store may take seven eighths of it. \
             Beyond, a find is answered 429 and everything else 503, with Retry-After; health and metrics always answer. What \
             is answered from memory does not wait. A store that answers 40,000 writes a second keeps 4096 busy for 100ms: \
             with more, all would only be later.")
            .standing(Standing::Ours);
        MAX_BATCH = Key::new("server.request.maxBatch", Kind::Integer(1, 1_000_000), "1000",
            "Services and instances that one batch find may name, together; over it 400001. A client asks for what it depends \
             on: hundreds, where there are many.")
            .standing(Standing::Ours);
        HEADER_TIMEOUT = Key::new("server.request.headerTimeout", Kind::Duration(1, DAY), "60s",
            "A request's headers must have arrived after this long, so that a stalled peer frees its connection.")
            .old("read_header_timeout").shipped(&["60s"]);
        BODY_TIMEOUT = Key::new("server.request.timeout", Kind::Duration(1, DAY), "60s",
            "A request's body must have arrived after this long.")
            .old("read_timeout").shipped(&["60s"]);
        MAX_RESPONSE_BYTES = Key::new("server.response.maxBytes", Kind::Integer(64 * KB, 1024 * 1024 * KB), "67108864",
            "Limit of an answer's body before compression, computed before the body is built; over it 400001. 200,000 \
             instances of 300 bytes fit; an answer that repeats one provider a thousand times does not.")
            .standing(Standing::Ours);
        MAX_RESPONSE_MEMORY = Key::new("server.response.maxMemory", Kind::Integer(KB * KB, 1024 * 1024 * 1024 * KB), "134217728",
            "Limit of what all answers together hold until clients have taken them: a body that several share counts once, and \
             32 KiB for each on top; answers of 8 KiB and less do not count. Over it a find is answered 429 and everything else \
             503; an eighth more is kept for health and metrics. At least server.response.maxBytes.")
            .standing(Standing::Ours);
        IDLE_TIMEOUT = Key::new("server.idle.timeout", Kind::Duration(1, DAY), "90s",
            "How long an idle connection is kept. Longer than the reference's 60s: client pools that keep a connection \
             for 60s or 90s would else send a request into one that is just being closed.")
            .old("idle_timeout").shipped(&["60s"]);
        RESPONSE_TIMEOUT = Key::new("server.response.timeout", Kind::Duration(1, DAY), "60s",
            "A response must be written after this long.")
            .old("write_timeout").shipped(&["60s"]);
    }
    "TLS" {
        SSL_ENABLE = Key::new("ssl.enable", Kind::Switch, "false",
            "HTTPS on server.port. The reference turns it on when no source names the key; here a start without any file is \
             plain HTTP, since there are no certificates then. A connection to etcd is encrypted if its endpoint says \
             https://, whatever this key says.")
            .old("ssl_mode").shipped(&["false"]);
        SSL_DIR = Key::new("ssl.dir", Kind::Text, "",
            "Folder with trust.cer (CA bundle), server.cer, server_key.pem and cert_pwd (password of the key; may be \
             absent).")
            .env("SSL_ROOT").derived("etc/ssl in the working directory").shipped(&[""]);
        SSL_MIN_VERSION = Key::new("ssl.minVersion", Kind::Choice(&["TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"]), "TLSv1.2",
            "Lowest version accepted. 1.0 and 1.1 are broken and not offered: they act as TLSv1.2, with a warning.")
            .old("ssl_min_version").shipped(&["TLSv1.2"]);
        SSL_VERIFY_CLIENT = Key::new("ssl.verifyClient", Kind::Switch, "1",
            "Whether clients must show a certificate signed by trust.cer.")
            .old("ssl_verify_client").shipped(&["1"]);
        SSL_CIPHERS = Key::new("ssl.ciphers", Kind::List, "",
            "Suites for TLS 1.2; those of TLS 1.3 are always on. Only suites with forward secrecy exist here: of the four \
             shipped names the two TLS_ECDHE_ ones, TLS_RSA_ names are left out with a warning.")
            .derived("every TLS 1.2 suite with forward secrecy")
            .shipped(&["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,\
                        TLS_RSA_WITH_AES_256_GCM_SHA384,TLS_RSA_WITH_AES_128_GCM_SHA256"]);
    }
    "Log" {
        LOG_LEVEL = Key::new("log.level", Kind::Choice(&["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]), "INFO",
            "Least level written. The environment variable RUST_LOG, if set, decides instead, module by module. FATAL acts \
             as ERROR.")
            .old("loglevel").shipped(&["INFO", "DEBUG"]);
        LOG_FILE = Key::new("log.file", Kind::Text, "",
            "Log file; $NAME is expanded. The reference's shipped app.yaml says ./service-center.log; nothing set, or \
             LOG_FILE='', is standard output, where containers and systemd look. SIGHUP opens the file again, as logrotate needs \
             it.")
            .old("logfile").derived("standard output").shipped(&["./service-center.log"]);
        LOG_FORMAT = Key::new("log.format", Kind::Choice(&["text", "json"]), "text",
            "text or json; one line an event either way.")
            .old("log_format").shipped(&["text"]);
        LOG_ROTATE_SIZE = Key::new("log.rotateSize", Kind::Integer(1, 500), "20",
            "MB after which the file is put aside and a new one begun: small enough to open in an editor.")
            .old("log_rotate_size").shipped(&["20"]).lenient();
        LOG_BACKUP_COUNT = Key::new("log.backupCount", Kind::Integer(0, 100), "50",
            "Old files kept; with 20 MB each, at most 1 GB.")
            .old("log_backup_count").shipped(&["50"]).lenient();
    }
    "Registry" {
        REGISTRY_KIND = Key::new("registry.kind", Kind::Text, "",
            "Where the data lives: etcd (a cluster), or embedded_etcd (also spelled embeded_etcd): the durable store of this \
             one machine in registry.embedded.dir, no etcd needed.")
            .old("registry_plugin").derived("etcd if an etcd endpoint is given, else embedded_etcd").shipped(&["etcd"]);
        REGISTRY_VERSION = Key::new("registry.version", Kind::Text, "2.2.0",
            "Version under which this node registers itself: the level of the API it speaks, so that nodes of that release \
             of the reference list it.")
            .standing(Standing::Ours);
        SELF_REGISTER = Key::new("registry.selfRegister", Kind::Switch, "1",
            "Whether this node registers itself as an instance of SERVICECENTER; clients and peers find it by that.")
            .old("self_register").shipped(&["1"]);
        EMBEDDED_DIR = Key::new("registry.embedded.dir", Kind::Text, "./data",
            "Folder of the embedded store, made if absent; one process at a time, and closed to other users (700).")
            .standing(Standing::Ours);
    }
    "Registry on etcd" {
        ETCD_ENDPOINTS = Key::new("registry.etcd.cluster.endpoints", Kind::Text, "",
            "Addresses of etcd, host:port between commas; https:// encrypts. Named clusters (a=h1:1,h2:2,b=h3:3) are \
             understood; this node connects to the one called registry.etcd.cluster.name.")
            .old("manager_cluster").derived("127.0.0.1:2379 if registry.kind is etcd")
            .shipped(&["http://127.0.0.1:2379", "127.0.0.1:2379"]);
        ETCD_CLUSTER_NAME = Key::new("registry.etcd.cluster.name", Kind::Text, "default",
            "Name of the own cluster in the list of endpoints.")
            .old("manager_name");
        ETCD_MANAGER_ENDPOINTS = Key::new("registry.etcd.cluster.managerEndpoints", Kind::List, "",
            "Beside named clusters: the etcd addresses of the own cluster, in place of those in the list.")
            .old("manager_addr");
        ETCD_CONNECT_TIMEOUT = Key::new("registry.etcd.connect.timeout", Kind::Duration(1, HOUR), "10s",
            "Limit of opening a connection to etcd.")
            .old("connect_timeout").shipped(&["10s"]);
        ETCD_REQUEST_TIMEOUT = Key::new("registry.etcd.request.timeout", Kind::Duration(1, HOUR), "30s",
            "Limit of one request to etcd: longer than an election of its leader takes.")
            .old("registry_timeout").shipped(&["30s"]);
        ETCD_SYNC_INTERVAL = Key::new("registry.etcd.autoSyncInterval", Kind::Duration(0, DAY), "30s",
            "How often etcd is asked for its members, whose addresses are tried after the configured ones, so that the cluster \
             is found though those are gone; below 1s: never.")
            .old("auto_sync_interval").shipped(&["30s"]);
        ETCD_USERNAME = Key::new("registry.etcd.username", Kind::Text, "",
            "User of etcd, if it has authentication on.")
            .standing(Standing::Ours);
        ETCD_PASSWORD = Key::new("registry.etcd.password", Kind::Secret, "",
            "That user's password. Never written to a log or by check-config.")
            .standing(Standing::Ours);
        ETCD_CA_FILE = Key::new("registry.etcd.ssl.caFile", Kind::Text, "",
            "CA bundle (PEM) that signed etcd's certificate, for https:// endpoints.")
            .derived("trust.cer in ssl.dir").standing(Standing::Ours);
        ETCD_CERT_FILE = Key::new("registry.etcd.ssl.certFile", Kind::Text, "",
            "Certificate (PEM) this node shows to etcd; with registry.etcd.ssl.keyFile or not at all.")
            .standing(Standing::Ours);
        ETCD_KEY_FILE = Key::new("registry.etcd.ssl.keyFile", Kind::Text, "",
            "Its private key (PEM); if it is encrypted, cert_pwd in ssl.dir holds its password.")
            .standing(Standing::Ours);
        ETCD_SERVER_NAME = Key::new("registry.etcd.ssl.serverName", Kind::Text, "",
            "Name that etcd's certificate must carry, where it is not the endpoint's host.")
            .derived("the endpoint's host").standing(Standing::Ours);
        ETCD_VERIFY_NAME = Key::new("registry.etcd.ssl.verifyServerName", Kind::Switch, "1",
            "0: etcd's certificate must be signed by the CA, but may carry any name, as the original has it.")
            .standing(Standing::Ours);
    }
    "This node's instance" {
        INSTANCE_ENDPOINT = Key::new("registry.instance.endpoint", Kind::Text, "",
            "host or host:port under which others reach this node. Needed behind NAT, in containers and with a wildcard \
             address. Nodes behind one load balancer may give its address: they share one entry.")
            .derived("server.host and server.port").shipped(&[""]);
        INSTANCE_DC_NAME = Key::new("registry.instance.datacenter.name", Kind::Text, "",
            "Data center of this node; counts only together with region and availableZone.")
            .shipped(&[""]);
        INSTANCE_DC_REGION = Key::new("registry.instance.datacenter.region", Kind::Text, "",
            "Its region.")
            .shipped(&[""]);
        INSTANCE_DC_ZONE = Key::new("registry.instance.datacenter.availableZone", Kind::Text, "",
            "Its zone.")
            .shipped(&[""]);
    }
    "Every instance" {
        INSTANCE_TTL = Key::new("registry.instance.ttl", Kind::Integer(0, 9_000_000_000), "0",
            "Above 0: seconds that every instance's lease lasts, whatever its health check says. 0: interval x (times + 1).")
            .env("INSTANCE_TTL").shipped(&[""]);
        INSTANCE_MIN_INTERVAL = Key::new("registry.instance.minInterval", Kind::Duration(0, DAY), "5s",
            "Shortest heartbeat interval an instance may ask for, so that one client cannot flood the registry.")
            .shipped(&["5s"]);
        INSTANCE_MIN_TIMES = Key::new("registry.instance.minTimes", Kind::Integer(0, 1_000_000), "3",
            "Fewest heartbeats that may be missed: fewer, and one lost packet ends an instance.");
        INSTANCE_PROPERTIES = Key::new("registry.instance.properties", Kind::Map, "",
            "Pairs added to every instance's properties (registry.instance.properties.zone = z1); they win over the \
             instance's own.")
            .shipped(&[""]);
        EXPIRY_GUARD_SHARE = Key::new("registry.instance.expiryGuard.share", Kind::Ratio, "0.2",
            "Expiries of more than this share of all instances within about a heartbeat interval are held back, since a cut \
             network looks like that and a fifth of a registry does not die by itself; 1 turns this guard off.")
            .standing(Standing::Ours);
        EXPIRY_GUARD_PRESERVATION = Key::new("registry.instance.expiryGuard.preservation", Kind::Switch, "true",
            "Holds expiries back while 80 % and more of all instances, and more than 5, have expired and are still shown, as \
             the reference does. false: only registry.instance.expiryGuard.share holds any.")
            .standing(Standing::Ours);
    }
    "Services and schemas" {
        GLOBAL_VISIBLE = Key::new("registry.service.globalVisible", Kind::List, "",
            "Names of services of the app default in default/default that every tenant finds, besides SERVICECENTER.")
            .env("CSE_SHARED_SERVICES").shipped(&[""]);
        DEPENDENCY_CROSS_DOMAIN = Key::new("registry.dependency.crossDomain", Kind::Switch, "false",
            "Lets a service of one domain depend on a service of another domain. Then the consumer is told about the provider's \
             instances, and the provider cannot be deleted while the consumer depends on it. Off, because domains are separate; \
             projects of one domain may always depend on each other.")
            .standing(Standing::Ours);
        SERVICE_RETIRE_DISABLE = Key::new("registry.service.retire.disable", Kind::Switch, "false",
            "Turns off the job that deletes old versions without instances.")
            .shipped(&["false"]);
        SERVICE_RETIRE_CRON = Key::new("registry.service.retire.cron", Kind::Cron, "0 1 * * *",
            "When that job runs, local time (minute hour day-of-month month day-of-week): at night.")
            .shipped(&["0 1 * * *"]);
        SERVICE_RETIRE_RESERVE = Key::new("registry.service.retire.reserve", Kind::Integer(1, 1_000_000), "3",
            "Newest versions of a service that the job keeps in any case: the current one, its successor, one to go back to.")
            .shipped(&["3"]);
        SCHEMA_DISABLE = Key::new("registry.schema.disable", Kind::Switch, "false",
            "Refuses to write a single schema (403001); lists, reading and deleting go on.")
            .env("SCHEMA_DISABLE").shipped(&["false"]);
        SCHEMA_RETIRE_CRON = Key::new("registry.schema.retire.cron", Kind::Cron, "0 2 * * *",
            "When schema contents that no service refers to are deleted, local time: at night, after the other job.")
            .shipped(&["0 2 * * *"]);
    }
    "Quotas" {
        QUOTA_DOMAIN = Key::new("quota.cap.domain.limit", Kind::Integer(0, u64::MAX), "10000",
            "Tenants (domain/project) that may hold services. The other quotas are a tenant's, and any client may name a new \
             one: without a limit they would bound nothing. A tenant counts until its last service is deleted.")
            .env("QUOTA_DOMAIN").standing(Standing::Ours);
        QUOTA_SERVICE = Key::new("quota.cap.service.limit", Kind::Integer(0, u64::MAX), "50000",
            "Service versions a tenant (domain/project) may hold.")
            .env("QUOTA_SERVICE").shipped(&["50000"]);
        QUOTA_INSTANCE = Key::new("quota.cap.instance.limit", Kind::Integer(0, u64::MAX), "150000",
            "Instances a tenant may hold.")
            .env("QUOTA_INSTANCE").shipped(&["150000"]);
        QUOTA_SCHEMA = Key::new("quota.cap.schema.limit", Kind::Integer(0, u64::MAX), "100",
            "Schemas of one service.")
            .env("QUOTA_SCHEMA").shipped(&["100"]);
        QUOTA_SCHEMA_BYTES = Key::new("quota.cap.schema.bytes", Kind::Integer(0, u64::MAX), "67108864",
            "Bytes of the texts of one service's schemas together: 42 of the largest (1.5 MiB), or quota.cap.schema.limit of \
             650 KiB each. Above it a text can still be replaced by one that is not longer.")
            .env("QUOTA_SCHEMA_BYTES").standing(Standing::Ours);
        QUOTA_TAG = Key::new("quota.cap.tag.limit", Kind::Integer(0, u64::MAX), "100",
            "Tags of one service in one request.")
            .env("QUOTA_TAG").shipped(&["100"]);
        QUOTA_DEPENDENCY = Key::new("quota.cap.dependency.limit", Kind::Integer(0, u64::MAX), "1000",
            "Providers of one consumer. Each change writes the whole list, so the cost of a change grows with the list. A service \
             calls far fewer.")
            .env("QUOTA_DEPENDENCY").standing(Standing::Ours);
    }
    "Heartbeats by websocket, and metrics" {
        PING_INTERVAL = Key::new("heartbeat.websocket.pingInterval", Kind::Duration(SECOND, HOUR), "30s",
            "How often a websocket that serves as an instance's heartbeat is pinged; each pong is a beat, so keep it below the \
             instance's interval. Watching clients are pinged every 30s, whatever this key says.")
            .shipped(&["30s"]).lenient();
        METRICS_ENABLE = Key::new("metrics.enable", Kind::Switch, "true",
            "false: GET /metrics is 404 (the reference then still shows its runtime's). On, as in the shipped file; the \
             reference's own default is off.")
            .shipped(&["true"]);
        METRICS_EXPORTER = Key::new("metrics.exporter", Kind::Text, "prometheus",
            "prometheus: GET /metrics answers on server.port; anything else: it is 404.")
            .shipped(&["prometheus"]);
    }
}
