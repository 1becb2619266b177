//! The configuration as a user sees it: files, flags and environment variables, and the values or messages that result.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use service_center::cli::{self, CliTask, Started, Terminal};
use service_center::config::{
    AddressLookup, Config, Effective, EtcdConfig, Inputs, Loaded, LogFormat, RateConfig, RbacScope, Sources,
    StoreKind, TlsVersion, TraceSampling, ValueOrigin, WebOrigin, reference,
};

/// A working directory, and the flags and environment of a process in it.
struct Setup {
    folder: tempfile::TempDir,
    inputs: Inputs,
}

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let inputs = Inputs { working_dir: folder.path().to_owned(), cores: 3, ..Inputs::default() };
        Self { folder, inputs }
    }

    fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn app_conf(self, text: &str) -> Self {
        self.file("conf/app.conf", text)
    }

    fn app_yaml(self, text: &str) -> Self {
        self.file("conf/app.yaml", text)
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.inputs.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    fn flag(mut self, name: &str, value: &str) -> Self {
        self.inputs.flags.push((name.to_owned(), value.to_owned()));
        self
    }

    fn load(&self) -> Loaded {
        Sources::gather(&self.inputs).load()
    }

    /// The configuration, which must have no mistake.
    fn config(&self) -> Config {
        let loaded = self.load();
        match loaded.config {
            Ok(config) => config,
            Err(mistakes) => panic!("{:#?}", mistakes.0),
        }
    }

    /// The mistakes, as printed.
    fn mistakes(&self) -> Vec<String> {
        match self.load().config {
            Ok(config) => panic!("no mistake in {config:#?}"),
            Err(mistakes) => mistakes.0.iter().map(ToString::to_string).collect(),
        }
    }

    fn warnings(&self) -> Vec<String> {
        self.load().warnings.iter().map(ToString::to_string).collect()
    }

    fn effective(&self, key: &str) -> Effective {
        self.load().effective.into_iter().find(|effective| effective.key == key).unwrap()
    }
}

/// The name of a source without the line.
fn source(origin: &ValueOrigin) -> String {
    match origin {
        ValueOrigin::Flag(_) => "command line".to_owned(),
        ValueOrigin::Environment(_) => "environment".to_owned(),
        ValueOrigin::File { path, .. } => path.display().to_string(),
        ValueOrigin::Default => "default".to_owned(),
    }
}

fn etcd(config: &Config) -> &EtcdConfig {
    match &config.registry.kind {
        StoreKind::Etcd(etcd) => etcd,
        StoreKind::Embedded { dir } => panic!("embedded in {dir:?}"),
    }
}

fn urls(config: &Config) -> Vec<String> {
    etcd(config).endpoints.iter().map(ToString::to_string).collect()
}

fn is_embedded(config: &Config, folder: &str) -> bool {
    matches!(&config.registry.kind, StoreKind::Embedded { dir } if dir == Path::new(folder))
}

#[track_caller]
fn assert_one(texts: &[String], parts: &[&str]) {
    assert_eq!(texts.len(), 1, "{texts:#?}");
    assert_contains(texts, parts);
}

#[track_caller]
fn assert_contains(texts: &[String], parts: &[&str]) {
    assert!(
        texts.iter().any(|text| parts.iter().all(|part| text.contains(part))),
        "no {parts:?} in {texts:#?}"
    );
}

/// The keys and values of the `conf/app.yaml` that the reference ships.
const SHIPPED_YAML: &str = "
environment: dev
server:
  host: 127.0.0.1
  port: 30100
  request:
    maxHeaderBytes: 32768
    maxBodyBytes: 2097152
    headerTimeout: 60s
    timeout: 60s
  response:
    timeout: 60s
  idle:
    timeout: 60s
  pprof:
    mode: 0
  limit:
    unit: s
    connections: 0
    ipLookups: RemoteAddr,X-Forwarded-For,X-Real-IP
ssl:
  enable: false
  dir:
  minVersion: TLSv1.2
  verifyClient: 1
  ciphers: TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_256_GCM_SHA384,TLS_RSA_WITH_AES_128_GCM_SHA256
log:
  level: INFO
  file: ./service-center.log
  accessEnable: false
  accessFile: ./access.log
  format: text
  system: false
  rotateSize: 20
  backupCount: 50
plugin:
  dir:
auth:
  kind: buildin
uuid:
  kind: context
gov:
  kie:
    type: kie
    endpoint: http://127.0.0.1:30110
registry:
  kind: etcd
  cache:
    mode: 1
    ttl:
  selfRegister: 1
  etcd:
    autoSyncInterval: 30s
    compact:
      indexDelta: 100
      interval: 12h
    cluster:
      endpoints: http://127.0.0.1:2379
    connect:
      timeout: 10s
    request:
      timeout: 30s
  mongo:
    cluster:
      uri: mongodb://127.0.0.1:27017
      poolSize: 1000
  fastRegistration:
    queueSize: 0
  service:
    globalVisible:
    retire:
      disable: false
      cron: '0 1 * * *'
      reserve: 3
  instance:
    endpoint:
    ttl:
    minInterval: 5s
    datacenter:
      name:
      region:
      availableZone:
    properties:
  schema:
    disable: false
    retire:
      cron: '0 2 * * *'
discovery:
  kind: etcd
  aggregate:
    mode:
rbac:
  enable: false
  privateKeyFile: ./private.key
  publicKeyFile: ./public.key
  releaseLockAfter: 15m
  retainLockHistoryFor: 20m
  scope: '*'
metrics:
  enable: true
  interval: 30s
  exporter: prometheus
  prometheus:
    listenURL:
tracing:
  zipkin:
    collector:
      type:
      path:
      endpoint:
    sampler:
      rate:
quota:
  cap:
    service:
      limit: 50000
    instance:
      limit: 150000
    schema:
      limit: 100
    tag:
      limit: 100
    account:
      limit: 1000
    role:
      limit: 100
heartbeat:
  websocket:
    pingInterval: 30s
  kind: cache
  cacheCapacity: 10000
  workerNum: 10
  timeout: 10
";

const SHIPPED_CONF: &str = "
frontend_host_ip = 127.0.0.1
frontend_host_port = 30103
frontend_endpoint_cidr = 127.0.0.1/32
httpaddr = 127.0.0.1
httpport = 30100
";

const SHIPPED_SYNCER: &str = "
sync:
  enableOnStart: false
  rbacEnabled: false
  peers:
    - name: dc
      kind: servicecomb
      endpoints: [\"127.0.0.1:30105\"]
      mode: [push]
      token:
  tombstone:
    retire:
      cron:
      reserve: 24h
";

fn shipped() -> Setup {
    Setup::new().app_yaml(SHIPPED_YAML).app_conf(SHIPPED_CONF).file("conf/syncer.yaml", SHIPPED_SYNCER)
}

#[test]
fn nothing_configured_is_a_plain_local_server_on_its_own_store() {
    let setup = Setup::new();
    let config = setup.config();
    assert_eq!((config.server.host.as_str(), config.server.port), ("127.0.0.1", 30100));
    assert_eq!((config.tls.enable, config.server.workers), (false, 3));
    assert!(is_embedded(&config, "./data"));
    assert_eq!(config.server.idle_timeout, Duration::from_secs(90));
    assert_eq!(config.server.max_header_bytes, 32768);
    assert_eq!(config.server.max_body_bytes, 2_097_152);
    assert_eq!(config.log.file, None);
    assert_eq!(config.registry.version, "2.2.0");
    assert_eq!(config.instance.endpoint, "127.0.0.1:30100");
    assert_eq!(config.instance.host_name, "service_center_127_0_0_1");
    assert_eq!((config.instance.ttl, config.instance.min_times), (None, 3));
    assert_eq!(config.own_environment(), "development");
    assert!(config.metrics.enable && config.registry.self_register);
    assert_eq!(config.instance.expiry_guard_share, 0.2);
    assert!(config.service.retire.cron.is_some());
    assert_eq!(setup.warnings(), [""; 0]);
}

#[test]
fn a_shipped_folder_of_the_reference_works_without_a_word() {
    let setup = shipped();
    let config = setup.config();
    assert_eq!(urls(&config), ["http://127.0.0.1:2379"]);
    assert_eq!(config.server.idle_timeout, Duration::from_secs(60));
    assert_eq!(config.log.file.unwrap().path, PathBuf::from("./service-center.log"));
    assert_eq!(setup.warnings(), [""; 0]);
}

#[test]
fn the_guides_two_edits_work_in_a_shipped_folder() {
    let edits = "httpaddr = 10.12.0.1\nmanager_cluster = \"10.12.0.4:2379,10.12.0.5:2379\"\n";
    let setup = Setup::new().app_yaml(SHIPPED_YAML).app_conf(edits);
    let config = setup.config();
    assert_eq!(config.server.host, "10.12.0.1");
    assert_eq!(urls(&config), ["http://10.12.0.4:2379", "http://10.12.0.5:2379"]);
    assert_eq!(config.instance.endpoint, "10.12.0.1:30100");
    assert_eq!(config.instance.host_name, "service_center_10_12_0_1");
    let warnings = setup.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    assert_contains(
        &warnings,
        &["conf/app.conf line 1", "server.host", "10.12.0.1", "127.0.0.1", "conf/app.yaml line 4"],
    );
    assert_contains(&warnings, &["conf/app.conf line 2", "10.12.0.5:2379", "conf/app.yaml line"]);
    // The same without an app.yaml and without any other setting.
    let setup = Setup::new().app_conf(edits);
    assert_eq!(urls(&setup.config()), ["http://10.12.0.4:2379", "http://10.12.0.5:2379"]);
    assert_eq!(setup.warnings(), [""; 0]);
}

#[test]
fn an_edited_app_yaml_keeps_working_beside_the_shipped_app_conf() {
    let yaml =
        SHIPPED_YAML.replace("host: 127.0.0.1", "host: 10.12.0.9").replace("port: 30100", "port: 30101");
    let setup = Setup::new().app_yaml(&yaml).app_conf(SHIPPED_CONF);
    let config = setup.config();
    assert_eq!((config.server.host.as_str(), config.server.port), ("10.12.0.9", 30101));
    assert_eq!(setup.warnings().len(), 2);
}

/// The steps of the reference's two-node guide, with the behavior of this daemon where the reference ends or ignores an edit.
#[test]
fn walkthrough() {
    let both = "httpaddr = 127.0.0.13\nmanager_cluster = \"127.0.0.3:2379\"\n";
    // server.host differs from the shipped value in both files. app.conf takes precedence.
    let yaml = SHIPPED_YAML.replace("host: 127.0.0.1", "host: 127.0.0.14");
    let config = Setup::new().app_yaml(&yaml).app_conf(both).config();
    assert_eq!(
        (config.server.host.as_str(), urls(&config)),
        ("127.0.0.13", vec!["http://127.0.0.3:2379".to_owned()])
    );
    // Both keys are deleted from app.yaml. Values may be quoted.
    let yaml = SHIPPED_YAML
        .replace("  host: 127.0.0.1\n", "")
        .replace("      endpoints: http://127.0.0.1:2379\n", "");
    for conf in [both.to_owned(), both.replace('"', "")] {
        let setup = Setup::new().app_yaml(&yaml).app_conf(&conf);
        let config = setup.config();
        assert_eq!(
            (config.server.host.as_str(), urls(&config)),
            ("127.0.0.13", vec!["http://127.0.0.3:2379".to_owned()])
        );
        assert_eq!(setup.warnings(), [""; 0]);
    }
    // The environment takes precedence over both files.
    let setup = shipped().app_conf(both).env("SERVER_HOST", "127.0.0.14");
    assert_eq!(setup.config().server.host, "127.0.0.14");
    // httpport behaves like httpaddr.
    assert_eq!(shipped().app_conf("httpport = 30101\n").config().server.port, 30101);
    // No app.yaml: neither registry_plugin nor metrics_enable nor ssl_mode is needed.
    let config = Setup::new().app_conf(both).config();
    assert_eq!((urls(&config).len(), config.tls.enable, config.metrics.enable), (1, false, true));
    let config = Setup::new()
        .app_conf(&format!("{both}ssl_mode = 0\nregistry_plugin = etcd\nself_register = 0\n"))
        .config();
    assert!(!config.registry.self_register);
    // metrics.enable may be false together with self registration.
    let config = Setup::new().app_yaml(&SHIPPED_YAML.replace("enable: true", "enable: false")).config();
    assert!(!config.metrics.enable && config.registry.self_register);
}

#[test]
fn of_each_pair_of_sources_the_first_wins() {
    type Put = fn(Setup, &str) -> Setup;
    let sources: [(&str, Put); 5] = [
        ("command line", |setup, port| setup.flag("server.port", port)),
        ("environment", |setup, port| setup.env("SERVER_PORT", port)),
        (".env", |setup, port| setup.file(".env", format!("SERVER_PORT={port}\n"))),
        ("conf/app.conf", |setup, port| setup.app_conf(&format!("httpport = {port}\n"))),
        ("conf/app.yaml", |setup, port| setup.app_yaml(&format!("server:\n  port: {port}\n"))),
    ];
    for (at, (name, first)) in sources.iter().enumerate() {
        let setup = first(Setup::new(), "1001");
        assert_eq!(
            (setup.config().server.port, source(&setup.effective("server.port").origin)),
            (1001, (*name).to_owned())
        );
        for (other, second) in &sources[at + 1..] {
            let setup = second(first(Setup::new(), "1001"), "1002");
            assert_eq!(setup.config().server.port, 1001, "{name} before {other}");
            assert_eq!(source(&setup.effective("server.port").origin), *name);
        }
    }
    assert_eq!(source(&Setup::new().effective("server.port").origin), "default");
}

#[test]
fn special_names_of_the_environment() {
    let config = Setup::new()
        .env("INSTANCE_TTL", "40")
        .env("CSE_SHARED_SERVICES", "A, B,SERVICECENTER")
        .env("SSL_ROOT", "/etc/sc")
        .env("QUOTA_SERVICE", "2")
        .env("QUOTA_INSTANCE", "3")
        .env("QUOTA_SCHEMA", "4")
        .env("QUOTA_TAG", "5")
        .env("SCHEMA_DISABLE", "true")
        .env("REGISTRY_EMBEDDED_DIR", "/var/lib/sc")
        .env("SERVER_REQUEST_MAX_BODY_BYTES", "1000")
        .env("server_idle_timeout", "70s")
        .env("max_header_bytes", "4096")
        .env("registry_instance_properties_zone", "z1")
        .env("gov_kie_endpoint", "http://kie:30110")
        .config();
    assert_eq!(config.instance.ttl, Some(40));
    assert_eq!(config.service.global_visible, ["A", "B"]);
    assert_eq!(config.tls.files.trust(), PathBuf::from("/etc/sc/trust.cer"));
    let quota = config.quota;
    assert_eq!((quota.services, quota.instances, quota.schemas, quota.tags), (2, 3, 4, 5));
    assert!(config.schema.disable && is_embedded(&config, "/var/lib/sc"));
    assert_eq!((config.server.max_body_bytes, config.server.max_header_bytes), (1000, 4096));
    assert_eq!(config.server.idle_timeout, Duration::from_secs(70));
    assert_eq!(config.instance.properties.get("zone").map(String::as_str), Some("z1"));
}

#[test]
fn an_empty_variable_empties_a_text_and_restores_a_number() {
    let setup = shipped().env("LOG_FILE", "").env("QUOTA_TAG", "").env("REGISTRY_KIND", "embedded_etcd");
    let config = setup.config();
    assert_eq!((config.log.file.clone(), config.quota.tags), (None, 100));
    assert!(is_embedded(&config, "./data"));
}

#[test]
fn the_containers_start_script() {
    let container = || {
        shipped()
            .env("SERVER_HOST", "sc-7f9c")
            .env("LOG_FILE", "")
            .env("LOG_LEVEL", "DEBUG")
            .env("gov_kie_endpoint", "http://kie:30110")
    };
    let config = container().env("REGISTRY_KIND", "embedded_etcd").config();
    assert!(is_embedded(&config, "./data"));
    assert_eq!((config.instance.endpoint.as_str(), config.log.file.as_ref()), ("sc-7f9c:30100", None));
    let config = container()
        .env("REGISTRY_KIND", "etcd")
        .env("REGISTRY_ETCD_CLUSTER_ENDPOINTS", "http://etcd-0:2379")
        .config();
    assert_eq!(urls(&config), ["http://etcd-0:2379"]);
}

#[test]
fn an_app_conf_of_an_old_release_and_of_the_helm_chart() {
    let conf = "
component_name = service-center
runmode = prod
httpaddr = ${HOSTNAME}
httpport = 30100
read_header_timeout = 60s
read_timeout = 60s
idle_timeout = 60s
write_timeout = 60s
max_header_bytes = 32768
max_body_bytes = 2097152
enable_pprof = 0
plugins_dir = ./plugins
discovery_plugin = etcd
aggregate_mode =
self_register = 1
registry_plugin = etcd
manager_name = \"sc-0\"
manager_addr = \"http://127.0.0.1:2379\"
manager_cluster = \"sc-0=http://sc-0:30100,sc-1=http://sc-1:30100\"
auto_sync_interval = 30s
connect_timeout = 10s
registry_timeout = 30s
compact_index_delta = 100
compact_interval = 12h
enable_cache = 1
cache_ttl = 5m
cipher_plugin = \"\"
quota_plugin = buildin
auth_plugin = \"\"
auditlog_plugin = \"\"
trace_plugin = \"\"
uuid_plugin = \"\"
ssl_plugin = \"\"
limit_ttl = s
limit_conns = 0
limit_iplookups = RemoteAddr,X-Forwarded-For,X-Real-IP
ssl_mode = 0
ssl_verify_client = 1
ssl_min_version = TLSv1.2
ssl_protocols = TLSv1.2
ssl_ciphers = TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
loglevel = DEBUG
logfile = /var/log/$HOSTNAME/sc.log
log_format = json
log_sys = 0
log_rotate_size = 20
log_backup_count = 50
enable_access_log = false
access_log_file = ./access.log
";
    let setup = Setup::new().app_conf(conf).env("HOSTNAME", "sc-a");
    let config = setup.config();
    assert_eq!(config.server.host, "sc-a");
    // With named clusters the node uses the etcd in managerEndpoints.
    assert_eq!(urls(&config), ["http://127.0.0.1:2379"]);
    assert_eq!((config.log.level, config.log.format), (log::LevelFilter::Debug, LogFormat::Json));
    assert_eq!(config.log.file.unwrap().path, PathBuf::from("/var/log/sc-a/sc.log"));
    assert_eq!((config.environment.as_str(), config.tls.ciphers.len()), ("prod", 1));
    assert_eq!(setup.warnings(), [""; 0]);
}

#[test]
fn run_modes_of_app_conf() {
    let conf = "
[dev]
httpport = 1001
[prod]
httpport = 1002
quota.cap.tag.limit = 7
[default]
httpport = 1000
";
    let port = |setup: Setup| setup.config().server.port;
    assert_eq!(port(Setup::new().app_conf(&format!("runmode = dev\n{conf}"))), 1001);
    assert_eq!(port(Setup::new().app_conf(&format!("RunMode = \"PROD\"\n{conf}"))), 1002);
    assert_eq!(port(Setup::new().app_conf(&format!("runmode = test\n{conf}"))), 1000);
    assert_eq!(port(Setup::new().app_conf(&format!("runmode = ${{MODE||dev}}\n{conf}"))), 1001);
    // beego uses prod when no run mode is set.
    let setup = Setup::new().app_conf(conf);
    assert_eq!((setup.config().quota.tags, port(setup)), (7, 1002));
    assert_eq!(port(Setup::new().app_conf(conf).env("BEEGO_RUNMODE", "dev")), 1001);
    assert_eq!(
        port(
            Setup::new()
                .app_conf(conf)
                .file("conf/dev.app.conf", "httpport = 1003")
                .env("BEEGO_RUNMODE", "dev")
        ),
        1003
    );
    let setup = Setup::new().app_conf("httpport = 1000\n[server]\nport = 1\n");
    assert_one(&setup.warnings(), &["conf/app.conf line 3", "[server]", "prod"]);
    assert_eq!(port(setup), 1000);
}

#[test]
fn dotted_names_in_app_conf_and_twice_the_same_key() {
    let setup = Setup::new()
        .app_conf("HTTPPort = 1000\nserver.port = 1001\nregistry.instance.properties.engineID = e1\n");
    let config = setup.config();
    assert_eq!(config.server.port, 1001);
    assert_eq!(config.instance.properties.get("engineID").map(String::as_str), Some("e1"));
    assert_one(&setup.warnings(), &["conf/app.conf line 2", "server.port", "conf/app.conf line 1"]);
}

#[test]
fn variables_in_files() {
    let setup = Setup::new()
        .app_yaml("server:\n  host: ${ADDRESS||127.0.0.9}\n  port: ${PORT}\nenvironment: ${MODE,,||x}\n")
        .env("MODE", "PROD")
        .file(".env", "PORT=1005\n");
    let config = setup.config();
    assert_eq!(
        (config.server.host.as_str(), config.server.port, config.environment.as_str()),
        ("127.0.0.9", 1005, "prod")
    );
    assert_eq!(config.own_environment(), "production");
    let setup = Setup::new().app_yaml("server:\n  port: ${PORT}\n");
    assert_eq!(setup.config().server.port, 30100);
    assert_one(&setup.warnings(), &["conf/app.yaml line 2", "server.port", "\"PORT\" is not set"]);
}

#[test]
fn where_conf_is_looked_for() {
    let files = || {
        Setup::new()
            .file("conf/app.conf", "httpport = 1")
            .file("root/conf/app.conf", "httpport = 2")
            .file("here/app.conf", "httpport = 3")
    };
    assert_eq!(files().config().server.port, 1);
    assert_eq!(files().env("APP_ROOT", "root").config().server.port, 2);
    let mut setup = files().env("APP_ROOT", "root");
    setup.inputs.conf_dir = Some("here".into());
    assert_eq!(setup.config().server.port, 3);
    setup.inputs.conf_dir = Some("nowhere".into());
    assert_one(&setup.mistakes(), &["--conf", "nowhere", "no such folder"]);
    let setup = files().env("APP_ROOT", "nowhere");
    assert_eq!(setup.config().server.port, 30100);
    assert_one(&setup.warnings(), &["APP_ROOT"]);
    // An absolute path, and APP_ROOT from .env.
    let root = setup.folder.path().join("root").display().to_string();
    assert_eq!(files().file(".env", format!("APP_ROOT={root}\n")).config().server.port, 2);
}

#[test]
fn dot_env() {
    let setup = Setup::new().file(
        ".env",
        "\u{feff}# comment\nexport SERVER_PORT=1001\nLOG_LEVEL=\"warn\"\n\nRUST_LOG=debug\nSERVER_HOTS=x\nOTHER_PROGRAM=1\n",
    );
    let config = setup.config();
    assert_eq!((config.server.port, config.log.level), (1001, log::LevelFilter::Warn));
    assert_eq!(config.log.filter.as_deref(), Some("debug"));
    assert_one(&setup.warnings(), &[".env", "SERVER_HOTS", "SERVER_HOST"]);
    let setup = Setup::new()
        .file(".env", "SERVER_PORT=1001\nREGISTRY_ETCD_PASSWORD=two words\nSERVER_HOST=127.0.0.2\n");
    assert_eq!((setup.config().server.port, setup.config().server.host), (1001, "127.0.0.2".to_owned()));
    assert_one(&setup.warnings(), &[".env line 2: REGISTRY_ETCD_PASSWORD is not read"]);
    assert!(!setup.warnings()[0].contains("words"), "{:?}", setup.warnings());
}

/// Other programs read `.env` as well. Their lines are not mistakes, whatever they contain.
#[test]
fn lines_of_other_programs_in_dot_env() {
    let text = b"source ./x.sh\nPASSWORD=two words\n\xc4\xe3=1\nNAME=\xc4\xe3\nKEY: value\n  - item\nOPEN=\"x\nSERVER_PORT=1001\n";
    let setup = Setup::new().file(".env", text);
    assert_eq!((setup.config().server.port, setup.warnings()), (1001, Vec::new()));
}

/// Comments in GBK are accepted. A value in GBK is a mistake that names its line.
#[test]
fn what_is_no_utf8() {
    let setup = Setup::new()
        .file("conf/app.conf", b"# \xb6\xcb\xbf\xda\nhttpport = 1001\n; \xff\nunknown = \xff\n")
        .file("conf/app.yaml", b"server: # \xb6\xcb\xbf\xda\n  host: 127.0.0.2 # \xc4\xe3\ngov: {x: \xff}\n")
        .file(".env", b"# \xb6\xcb\nLOG_LEVEL=debug # \xc4\xe3\n");
    let config = setup.config();
    assert_eq!((config.server.port, config.server.host.as_str()), (1001, "127.0.0.2"));
    assert_eq!(config.log.level, log::LevelFilter::Debug);
    assert_one(&setup.warnings(), &["conf/app.conf line 4", "unknown"]);

    let setup = Setup::new()
        .file("conf/app.conf", b"# \xff\nhttpaddr = \xc4\xe3\nregistry_instance_properties.zone = 1\n")
        .file(
            "conf/app.yaml",
            b"log:\n  file: a\xff.log\nregistry:\n  instance:\n    properties:\n      zone: \xff\n",
        )
        .file(".env", b"A=1\nexport REGISTRY_ETCD_PASSWORD=\xc4\xe3\n");
    let mistakes = setup.mistakes();
    for parts in [
        ["conf/app.conf line 2", "httpaddr (server.host)", "not valid UTF-8"],
        ["conf/app.yaml line 2", "log.file", "not valid UTF-8"],
        ["conf/app.yaml line 6", "registry.instance.properties", "not valid UTF-8"],
        [".env line 2", "REGISTRY_ETCD_PASSWORD (registry.etcd.password)", "not valid UTF-8"],
    ] {
        assert_contains(&mistakes, &parts);
    }
    assert_eq!(mistakes.len(), 4, "{mistakes:#?}");
}

/// Kubernetes sets these variables for a service called `server`.
#[test]
fn service_links_of_kubernetes() {
    let setup = || {
        Setup::new()
            .env("SERVER_PORT", "tcp://10.96.0.7:80")
            .env("SERVER_PORT_80_TCP", "tcp://10.96.0.7:80")
            .env("SERVER_SERVICE_PORT", "80")
    };
    assert_eq!(setup().config().server.port, 30100);
    assert_one(&setup().warnings(), &["environment SERVER_PORT", "tcp://10.96.0.7:80", "Kubernetes"]);
    let yaml = "server:\n  port: ${SERVER_PORT||1001}\n";
    assert_eq!(setup().app_yaml(yaml).config().server.port, 1001);
    assert_one(&Setup::new().env("SERVER_PORT", "tcp://x").mistakes(), &["SERVER_PORT", "tcp://x"]);
}

/// The start script of the reference's container turns this variable into two others. It does so whatever a mounted file says.
#[test]
fn the_address_of_the_store_as_containers_give_it() {
    const NAME: &str = "BACKEND_ADDRESS";
    let setup = || Setup::new().env(NAME, "http://etcd-1:2379,http://etcd-2:2379");
    assert_eq!(urls(&setup().config()), ["http://etcd-1:2379", "http://etcd-2:2379"]);
    assert_eq!(setup().effective("registry.kind").origin, ValueOrigin::Environment(NAME.to_owned()));
    let files = || setup().app_conf("registry_plugin = embedded_etcd\nmanager_cluster = 10.12.0.4:2379\n");
    assert_eq!(urls(&files().config()), ["http://etcd-1:2379", "http://etcd-2:2379"]);
    assert_eq!(urls(&files().env("REGISTRY_ETCD_CLUSTER_ENDPOINTS", "a:1").config()), ["http://a:1"]);
    assert!(is_embedded(&setup().flag("registry.kind", "embedded_etcd").config(), "./data"));
    assert_eq!(urls(&Setup::new().file(".env", "BACKEND_ADDRESS=b:2\n").config()), ["http://b:2"]);
    for empty in ["", " "] {
        assert!(is_embedded(&Setup::new().env(NAME, empty).config(), "./data"));
    }
    assert_one(&setup().env(NAME, "nowhere").mistakes(), &["environment BACKEND_ADDRESS", "\"nowhere\""]);
}

#[test]
fn all_mistakes_at_once() {
    let setup = Setup::new()
        .flag("quota.cap.tag.limit", "many")
        .env("SERVER_REQUEST_TIMEOUT", "60")
        .file(".env", "METRICS_ENABLE=perhaps\n")
        .app_conf("httpport = 99999\nthis is no setting\nlog_format = xml\n")
        .app_yaml("server:\n  host: 10.0.0.1:30100\nregistry:\n  kind: mongo\n  schema:\n    retire:\n      cron: '* * *'\nrbac:\n  scope: services,role\n");
    let mistakes = setup.mistakes();
    for parts in [
        ["flag --quota.cap.tag.limit", "\"many\"", "whole number"].as_slice(),
        &["environment SERVER_REQUEST_TIMEOUT: server.request.timeout", "\"60\"", "30s"],
        &[".env", "METRICS_ENABLE (metrics.enable)", "\"perhaps\"", "true or false"],
        &["conf/app.conf line 1: httpport (server.port)", "\"99999\"", "from 1 to 65535"],
        &["conf/app.conf line 2", "\"this …\"", "key = value"],
        &["conf/app.conf line 3", "log.format", "xml", "text, json"],
        &["conf/app.yaml line 2: server.host", "server.port"],
        &["conf/app.yaml line 4: registry.kind", "mongo", "embedded_etcd"],
        &["conf/app.yaml line 7: registry.schema.retire.cron", "* * *", "five fields"],
        &["conf/app.yaml line 9: rbac.scope", "no type of resources services;", "service/schema"],
    ] {
        assert_contains(&mistakes, parts);
    }
    assert_eq!(mistakes.len(), 10, "{mistakes:#?}");
}

#[test]
fn broken_files_do_not_hide_each_other() {
    let setup = Setup::new()
        .file("conf/app.conf", b"httpport = 1\nhttpaddr = \xff\n")
        .app_yaml("server: [\n")
        .file("conf/syncer.yaml", vec![b'#'; 2 * 1024 * 1024])
        .env("SERVER_PORT", "x");
    let mistakes = setup.mistakes();
    assert_contains(&mistakes, &["conf/app.conf line 2", "UTF-8"]);
    assert_contains(&mistakes, &["conf/app.yaml"]);
    assert_contains(&mistakes, &["conf/syncer.yaml", "1 MiB"]);
    assert_contains(&mistakes, &["SERVER_PORT"]);
    assert_eq!(mistakes.len(), 4, "{mistakes:#?}");
    let setup = Setup::new().file("conf/app.yaml/x", "");
    assert_one(&setup.mistakes(), &["conf/app.yaml", "cannot be read"]);
}

#[test]
fn a_variable_that_is_no_text() {
    let mut setup = Setup::new();
    setup.inputs.not_utf8 = vec!["SERVER_HOST".to_owned(), "OTHER".to_owned()];
    assert_one(&setup.mistakes(), &["SERVER_HOST", "UTF-8"]);
}

#[test]
fn unknown_keys_name_the_nearest() {
    let setup = Setup::new()
        .app_conf("htpaddr = 10.0.0.1\nfrontend_host_ip = 1\nserver.prot = 1\n")
        .app_yaml("server:\n  hots: x\n  Port: 1\nsomething:\n  else: 1\n");
    let warnings = setup.warnings();
    assert_contains(
        &warnings,
        &["conf/app.conf line 1", "htpaddr is not a known key; did you mean httpaddr?"],
    );
    assert_contains(&warnings, &["conf/app.conf line 3", "server.prot", "server.port?"]);
    assert_contains(
        &warnings,
        &["conf/app.yaml line 2", "server.hots is not a known key; did you mean server.host?"],
    );
    assert_contains(&warnings, &["conf/app.yaml line 3", "server.Port", "server.port?"]);
    assert!(warnings.iter().any(|text| text.ends_with("something.else is not a known key")), "{warnings:#?}");
    assert_eq!(warnings.len(), 5, "{warnings:#?}");
    assert_one(
        &Setup::new().flag("server.hots", "x").mistakes(),
        &["flag --server.hots", "did you mean --server.host?"],
    );
    // A wrong file does not flood the log.
    let many = (0..1000).fold(String::new(), |mut text, at| {
        writeln!(text, "zzzz{at} = 1").unwrap();
        text
    });
    assert_eq!(Setup::new().app_conf(&many).warnings().len(), 21);
}

/// If leases are shorter than the heartbeat interval of clients, every instance comes and goes.
#[test]
fn leases_shorter_than_a_heartbeat_interval_are_doubted() {
    let warnings = |ttl: &str| Setup::new().env("INSTANCE_TTL", ttl).warnings();
    for ttl in ["1", "29"] {
        assert_one(&warnings(ttl), &["INSTANCE_TTL", "expire between two"]);
    }
    for ttl in ["0", "30", "120"] {
        assert_eq!(warnings(ttl), [""; 0]);
    }
}

#[test]
fn limits_of_objects_and_tenants_are_read() {
    let config = Setup::new()
        .app_yaml("server: {request: {maxInstanceBytes: 10000, maxPropertiesBytes: 9000}}")
        .env("QUOTA_DOMAIN", "7")
        .env("QUOTA_SCHEMA_BYTES", "8")
        .app_conf("registry.instance.expiryGuard.preservation = false")
        .config();
    assert_eq!((config.server.max_instance_bytes, config.server.max_properties_bytes), (10_000, 9_000));
    assert_eq!((config.quota.tenants, config.quota.schema_bytes), (7, 8));
    assert!(!config.instance.expiry_guard_preservation);
    let config = Setup::new().config();
    assert_eq!((config.server.max_instance_bytes, config.server.max_properties_bytes), (5_120, 3_072));
    assert_eq!((config.quota.tenants, config.quota.schema_bytes), (10_000, 64 << 20));
    assert!(config.instance.expiry_guard_preservation);
}

#[test]
fn the_separate_address_of_the_metrics() {
    let set = |url: &str| Setup::new().app_conf(&format!("metrics_prometheus_listen_url = {url}\n"));
    let check = |url: &str, host: &str, port: u16, path: &str| {
        let listen = set(url).config().metrics.listen.unwrap();
        assert_eq!((listen.host.as_str(), listen.port, listen.path.as_str()), (host, port, path), "{url}");
    };
    assert_eq!(Setup::new().config().metrics.listen, None);
    check("http://127.0.0.1:80/other", "127.0.0.1", 80, "/other");
    check("HTTP://localhost", "localhost", 80, "/metrics");
    check("http://[::1]:9090/", "::1", 9090, "/metrics");
    check("http://0.0.0.0:30101/a/b-c.d_e~f", "0.0.0.0", 30101, "/a/b-c.d_e~f");
    for (url, part) in [
        ("127.0.0.1:9090/metrics", "begin with http:// or https://"),
        ("ftp://127.0.0.1:9090/metrics", "begin with http:// or https://"),
        ("http://me:word@127.0.0.1:9090/metrics", "leave out the user"),
        ("http://127.0.0.1:9090/metrics?a=b", "leave out what begins with '?'"),
        ("http://127.0.0.1:9090/metrics/", "write a path"),
        ("http://127.0.0.1:9090/{path}", "write a path"),
        ("http://127.0.0.1:9090/a/../b", "write a path"),
        ("http://:9090/metrics", "write a host and a port"),
        ("http://127.0.0.1:0/metrics", "write a port from 1 to 65535"),
        ("http://127.0.0.1:90909/metrics", "write a port from 1 to 65535"),
        ("http://::1:9090/metrics", "write a host and a port"),
        ("https://127.0.0.1:9090/metrics", "ssl.enable"),
        ("http://127.0.0.1:30100/metrics", "write another port than 30100"),
        ("http://0.0.0.0:30100/metrics", "write another port than 30100"),
    ] {
        assert_one(&set(url).mistakes(), &["metrics.prometheus.listenURL", part]);
    }
    // Another address of the machine may have the same port.
    check("http://127.0.0.9:30100/metrics", "127.0.0.9", 30100, "/metrics");
    let unused = "metrics_prometheus_listen_url = http://127.0.0.1:9090\nmetrics_exporter = none\n";
    let setup = Setup::new().app_conf(unused);
    assert_eq!(setup.config().metrics.listen, None);
    assert_contains(&setup.warnings(), &["metrics.prometheus.listenURL has no effect"]);
}

#[test]
fn what_is_not_implemented_is_said() {
    for (yaml, part) in [
        ("server: {turbo: true}", "server.turbo"),
        ("sync: {enableOnStart: true}", "sync.enableOnStart"),
        ("registry: {cache: {mode: 0}}", "registry.cache.mode"),
        ("discovery: {kind: aggregate}", "discovery.kind"),
        ("tracing: {zipkin: {collector: {type: server}}}", "tracing.otlp.endpoint"),
        ("tracing: {zipkin: {collector: {path: ./a.trace}}}", "tracing.otlp.endpoint"),
        ("tracing: {zipkin: {collector: {endpoint: 'http://z:9411'}}}", "tracing.otlp.endpoint"),
        ("tracing: {zipkin: {sampler: {rate: 0.5}}}", "tracing.sampler.rate"),
        ("tracing: {kind: other}", "tracing.otlp.endpoint"),
        ("tracing: {otlp: {endpont: 'http://c:4317'}}", "tracing.otlp.endpoint"),
        ("quota: {kind: unlimit}", "quota.kind"),
        ("metrics: {exporter: other}", "metrics.exporter"),
    ] {
        assert_one(&Setup::new().app_yaml(yaml).warnings(), &["app.yaml", part]);
    }
    let setup = shipped()
        .file("conf/syncer.yaml", SHIPPED_SYNCER.replace("enableOnStart: false", "enableOnStart: true"));
    assert_one(&setup.warnings(), &["conf/syncer.yaml line 3", "not implemented yet"]);
    let mistakes = Setup::new().app_conf("ssl.mode = 1").mistakes();
    assert_one(&mistakes, &["conf/app.conf line 1", "ssl.enable"]);
}

#[test]
fn the_access_log() {
    assert_eq!(Setup::new().app_conf("access_log_file = /var/a.log").config().log.access, None);
    let log = Setup::new()
        .app_conf("enable_access_log = true\nlog_rotate_size = 3\nlog_backup_count = 4")
        .env("SC_ACCESS_LOG_FILE", "$HOME/requests.log")
        .env("HOME", "/home/sc")
        .config()
        .log;
    let access = log.access.unwrap();
    assert_eq!(access.path, Path::new("/home/sc/requests.log"));
    assert_eq!((access.rotate_bytes, access.backups), (3 << 20, 4));
    let on = Setup::new().app_yaml("log: {accessEnable: true}").config().log.access.unwrap();
    assert_eq!(on.path, Path::new("./access.log"));
    let same = "log: {accessEnable: true, accessFile: ./a.log, file: ./a.log}";
    assert_one(&Setup::new().app_yaml(same).mistakes(), &["log.accessFile", "log.file is the same file"]);
    let none = Setup::new().app_yaml("log: {accessEnable: true}").env("SC_ACCESS_LOG_FILE", "");
    assert_one(&none.mistakes(), &["log.accessFile", "turn log.accessEnable off"]);
}

#[test]
fn traces() {
    let tracing = Setup::new().config().tracing;
    assert_eq!((tracing.endpoint, tracing.service_name.as_str()), (None, "service-center"));
    assert_eq!(tracing.sampling, TraceSampling { parent_based: true, rate: 1.0 });
    let tracing = Setup::new()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1]:4317/")
        .env("OTEL_SERVICE_NAME", "registry")
        .env("OTEL_TRACES_SAMPLER", "traceidratio")
        .env("OTEL_TRACES_SAMPLER_ARG", "0.25")
        .config()
        .tracing;
    assert_eq!(tracing.endpoint.as_deref(), Some("http://[::1]:4317/"));
    assert_eq!(tracing.service_name, "registry");
    assert_eq!(tracing.sampling, TraceSampling { parent_based: false, rate: 0.25 });
    let off = Setup::new().env("OTEL_TRACES_SAMPLER", "parentbased_always_off").config().tracing.sampling;
    assert_eq!(off, TraceSampling { parent_based: true, rate: 0.0 });
    for endpoint in
        ["collector:4317", "https://c:4317", "http://", "http://c:4317/v1/traces", "http://u@c", "grpc://c"]
    {
        let setup = Setup::new().env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        assert_one(&setup.mistakes(), &["OTEL_EXPORTER_OTLP_ENDPOINT", endpoint, "http://127.0.0.1:4317"]);
    }
    let by_http = Setup::new()
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
    assert_one(&by_http.warnings(), &["OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"]);
}

#[test]
fn accounts_and_roles() {
    let plain = Setup::new().config().rbac;
    assert!(!plain.enable && plain.root_password.is_none());
    assert_eq!(plain.scope, RbacScope::All);
    assert_eq!((plain.release_lock_after.as_secs(), plain.retain_lock_history_for.as_secs()), (900, 1200));
    let old = Setup::new()
        .app_conf(
            "rbac_enabled = true\nrbac_rsa_private_key_file = a.pem\nrbac_rsa_public_key_file = b.pem\n",
        )
        .config()
        .rbac;
    assert!(old.enable);
    assert_eq!((old.private_key_file, old.public_key_file), ("a.pem".into(), "b.pem".into()));
    let scope = |text: &str| Setup::new().flag("rbac.scope", text).config().rbac.scope;
    assert_eq!(scope("service, *"), RbacScope::All);
    assert_eq!(scope("service,role"), RbacScope::Types(vec!["account", "role", "service"]));
    assert!(scope("").covers("role") && !scope("").covers("service"));
    let empty = Setup::new().flag("rbac.enable", "true").flag("rbac.publicKeyFile", "");
    assert_one(&empty.mistakes(), &["rbac.publicKeyFile", "PEM"]);
    let quotas = Setup::new().env("QUOTA_ACCOUNT", "7").env("QUOTA_ROLE", "3").config().quota;
    assert_eq!((quotas.accounts, quotas.roles), (7, 3));
}

#[test]
fn the_first_password_of_root_is_never_shown() {
    for setup in [
        Setup::new().env("SC_INIT_ROOT_PASSWORD", "Hidden#Pwd1"),
        Setup::new().file(".env", "SC_INIT_ROOT_PASSWORD=Hidden#Pwd1\n"),
    ] {
        let setup = setup.flag("rbac.enable", "true");
        let config = setup.config();
        assert_eq!(config.rbac.root_password.as_ref().map(|secret| secret.reveal()), Some("Hidden#Pwd1"));
        assert!(!format!("{config:?}").contains("Hidden"), "{config:?}");
        let loaded = setup.load();
        assert!(!format!("{loaded:?}").contains("Hidden"), "{loaded:?}");
        let (_, out, err) = run(&setup, &["check-config", "--rbac.enable=true"]);
        assert!(
            out.contains("rbac.enable = true") && !format!("{out}{err}").contains("Hidden"),
            "{out}{err}"
        );
    }
    let none = Setup::new().env("SC_INIT_ROOT_PASSWORD", "").config();
    assert_eq!(none.rbac.root_password, None);
}

#[test]
fn pages_and_rates_are_read() {
    let config = Setup::new().config();
    assert_eq!((config.server.cors_origins, config.server.rate), (Vec::new(), None));
    let server = |conf: &str| Setup::new().app_conf(conf).config().server;
    let limited = server("limit_conns = 7\nlimit_ttl = m\nserver_limit_account_connections = 8");
    let per_minute = |requests| Some(RateConfig { requests, unit: Duration::from_secs(60) });
    assert_eq!([limited.rate, limited.account_rate], [per_minute(7), per_minute(8)]);
    assert_eq!(limited.lookups, [AddressLookup::Peer, AddressLookup::ForwardedFor, AddressLookup::RealIp]);
    let headers = server("limit_conns = 1\nlimit_iplookups = x-real-ip, X-Forwarded-For");
    assert_eq!(headers.lookups, [AddressLookup::RealIp, AddressLookup::ForwardedFor]);
    assert_eq!(headers.rate.unwrap().unit, Duration::from_secs(1));
    let two =
        Setup::new().env("SERVER_CORS_ORIGINS", "https://portal.example:8443, http://10.0.0.7").config();
    assert_eq!(
        two.server.cors_origins,
        ["https://portal.example:8443", "http://10.0.0.7:80"].map(|text| WebOrigin::parse(text).unwrap())
    );
    for (conf, part) in [
        ("server_cors_origins = *", "every page"),
        ("server_cors_origins = https://portal.example/", "scheme, host and port"),
        ("limit_ttl = d", "one of ms, s, m, h"),
        ("limit_conns = -1", "0 to 1000000"),
        ("limit_iplookups = X-Client", "X-Forwarded-For"),
    ] {
        assert_one(&Setup::new().app_conf(conf).mistakes(), &["conf/app.conf line 1", part]);
    }
}

#[test]
fn kinds_of_stores() {
    let check = |conf: &str, expected: &str| {
        let setup = Setup::new().app_conf(conf);
        let got = match setup.load().config {
            Ok(config) if matches!(config.registry.kind, StoreKind::Embedded { .. }) => "embedded".to_owned(),
            Ok(config) => urls(&config).join(","),
            Err(mistakes) => mistakes.0.iter().map(|mistake| mistake.expected.clone()).collect(),
        };
        assert!(got.starts_with(expected), "{conf}: {got}");
    };
    check("", "embedded");
    check("registry_plugin = embeded_etcd", "embedded");
    check("registry_plugin = Embedded_etcd\nmanager_cluster = sc-0=http://127.0.0.1:2380", "embedded");
    check("manager_cluster = a:1", "http://a:1");
    check("manager_addr = a:1,b:2", "http://a:1,http://b:2");
    check("registry_plugin = etcd", "http://127.0.0.1:2379");
    check("manager_cluster = https://a:1,https://[fd00::1]:2", "https://a:1,https://[fd00::1]:2");
    check("manager_cluster = sc-0=a:1,sc-1=b:2,c:3\nmanager_name = sc-1", "http://b:2,http://c:3");
    check(
        "manager_cluster = sc-0=a:1,sc-1=b:2\nmanager_name = sc-0\nmanager_addr = m:1,n:2",
        "http://m:1,http://n:2",
    );
    check("registry_plugin = mongo", "MongoDB is not supported; write etcd");
    check("registry_plugin = buildin", "there is no store with this name");
    check("registry_plugin = consul", "write etcd");
    check("manager_cluster = a", "\"a\": write host:port");
    check("manager_cluster = a:1,https://b:2", "write https:// before all");
    check(
        "manager_cluster = sc-1=a:1,sc-2=b:2",
        "the list names the clusters sc-1, sc-2 and has no address of \"default\"",
    );
    let setup = Setup::new().app_conf("registry_plugin = etcd");
    assert_one(&setup.warnings(), &["conf/app.conf line 1", "so 127.0.0.1:2379 is used"]);
}

#[test]
fn listening_and_published_addresses() {
    let check = |host: &str, endpoint: &str, expected: Result<(&str, &str), &str>| {
        let setup = Setup::new().flag("server.host", host).flag("registry.instance.endpoint", endpoint);
        let got = setup.load().config.map(|config| (config.instance.endpoint, config.instance.host_name));
        match (got, expected) {
            (Ok(got), Ok(expected)) => {
                assert_eq!((got.0.as_str(), got.1.as_str()), expected, "{host} {endpoint}")
            }
            (Err(mistakes), Err(part)) => {
                assert_one(&mistakes.0.iter().map(ToString::to_string).collect::<Vec<_>>(), &[part])
            }
            (got, _) => panic!("{host} {endpoint}: {got:?}"),
        }
    };
    check("10.12.0.1", "", Ok(("10.12.0.1:30100", "service_center_10_12_0_1")));
    check("::1", "", Ok(("[::1]:30100", "service_center___1")));
    check("[fd00::1]", "", Ok(("[fd00::1]:30100", "service_center_fd00__1")));
    check("10.12.0.1", "reg.example:7777", Ok(("reg.example:7777", "service_center_10_12_0_1")));
    check("0.0.0.0", "reg.example", Ok(("reg.example:30100", "service_center_reg_example")));
    check("::", "[fd00::2]:1", Ok(("[fd00::2]:1", "service_center_fd00__2")));
    for wildcard in ["0.0.0.0", "::", "[::]", ""] {
        check(wildcard, "", Err("registry.instance.endpoint"));
    }
    for wrong in ["rest://a:1", "a:0", "a:x", "0.0.0.0:30100", "fd00::2", "a/b", "a:1/"] {
        check("10.12.0.1", wrong, Err("write host or host:port"));
    }
    let config = Setup::new().flag("server.host", "0.0.0.0").flag("self_register", "0").config();
    assert_eq!(config.server.host, "0.0.0.0");
}

#[test]
fn tls_and_etcds_own() {
    let setup = shipped().env("SSL_ENABLE", "true").env("SSL_ROOT", "/etc/sc");
    let config = setup.config();
    assert!(config.tls.enable && config.tls.verify_client);
    assert_eq!((config.tls.ciphers.len(), config.tls.min_version), (2, TlsVersion::Tls12));
    assert_eq!(etcd(&config).tls, None);
    let warnings = setup.warnings();
    assert_contains(
        &warnings,
        &["ssl.ciphers", "TLS_RSA_WITH_AES_256_GCM_SHA384,TLS_RSA_WITH_AES_128_GCM_SHA256", "left out"],
    );
    assert_contains(&warnings, &["ssl.enable does not encrypt the connection to etcd", "https://"]);
    assert_eq!(warnings.len(), 2, "{warnings:#?}");

    let setup = setup.env("REGISTRY_ETCD_CLUSTER_ENDPOINTS", "https://a:1");
    assert_eq!(etcd(&setup.config()).tls.as_ref().unwrap().ca_file, PathBuf::from("/etc/sc/trust.cer"));
    let setup = Setup::new().app_conf(
        "manager_cluster = https://a:1\nregistry.etcd.username = sc\nregistry.etcd.password = hunter2\n\
         registry.etcd.ssl.caFile = ca.pem\nregistry.etcd.ssl.certFile = c.pem\nregistry.etcd.ssl.keyFile = k.pem\n",
    );
    let config = setup.config();
    let tls = etcd(&config).tls.as_ref().unwrap();
    assert_eq!(
        (tls.ca_file.as_path(), tls.identity.clone()),
        (Path::new("ca.pem"), Some(("c.pem".into(), "k.pem".into())))
    );
    let (user, password) = etcd(&config).login.as_ref().unwrap();
    assert_eq!((user.as_str(), password.reveal()), ("sc", "hunter2"));

    let half =
        Setup::new().app_conf("registry.etcd.username = sc\nregistry.etcd.ssl.certFile = c.pem\n").mistakes();
    assert_contains(&half, &["registry.etcd.password", "set the password"]);
    assert_contains(&half, &["registry.etcd.ssl.keyFile", "name its key"]);
    let weak = Setup::new()
        .app_conf("ssl_mode = 1\nssl_min_version = TLSv1.0\nssl_ciphers = TLS_RSA_WITH_AES_256_GCM_SHA384\n");
    assert_one(&weak.mistakes(), &["ssl_ciphers (ssl.ciphers)", "none of these suites"]);
    assert_contains(&weak.warnings(), &["TLSv1.0", "acts as TLSv1.2"]);
}

#[test]
fn a_secret_is_never_shown() {
    let setup = Setup::new().app_conf("manager_cluster = a:1\nregistry.etcd.password = hunter2\n");
    let loaded = setup.load();
    let shown = format!("{loaded:?} {:?} {:?}", setup.mistakes(), loaded.effective);
    assert!(!shown.contains("hunter2"), "{shown}");
    let setup = setup
        .app_conf("manager_cluster = a:1\nregistry.etcd.username = u\nregistry.etcd.password = hunter2\n")
        .app_yaml("registry: {etcd: {password: hunter3}}");
    let loaded = setup.load();
    let shown = format!("{loaded:?} {:?}", setup.config());
    assert!(!shown.contains("hunter"), "{shown}");
    assert_eq!(setup.effective("registry.etcd.password").value, "******");
    let (_, out, err) = run(&setup, &["check-config"]);
    assert!(out.contains("registry.etcd.password = ******") && !(out + &err).contains("hunter"));
}

#[test]
fn values_the_reference_replaces_silently_are_replaced_with_a_word() {
    for (key, value) in [
        ("log_rotate_size", "0"),
        ("log_rotate_size", "501"),
        ("log_backup_count", "-1"),
        ("heartbeat.websocket.pingInterval", "500ms"),
        ("heartbeat.websocket.pingInterval", "2h"),
    ] {
        let setup = Setup::new().app_conf(&format!("{key} = {value}\nlogfile = x.log\n"));
        assert_one(&setup.warnings(), &["conf/app.conf line 1", value, "is used"]);
        let config = setup.config();
        let file = config.log.file.unwrap();
        assert_eq!(
            (file.rotate_bytes, file.backups, config.heartbeat.ping_interval.as_secs()),
            (20 << 20, 50, 30)
        );
    }
    assert_one(&Setup::new().app_conf("heartbeat.websocket.pingInterval = 30").mistakes(), &["30s"]);
}

/// The settings that the recorded scenarios of the reference need in addition to its shipped file.
#[test]
fn profiles_of_the_recorded_scenarios() {
    let config = Setup::new()
        .app_yaml(
            "
environment: prod
registry:
  instance:
    endpoint: reg.example:7777
    datacenter: {name: dc, region: re, availableZone: az}
    properties: {zone: z1, rack: r2, number: 5}
    ttl: 40
    minInterval: 10s
    minTimes: 5
  service: {globalVisible: 'SharedOne,SharedTwo', retire: {cron: '* * * * *'}}
  schema: {disable: true, retire: {cron: '* * * * *'}}
server:
  request: {maxBodyBytes: 1000, maxHeaderBytes: 4096}
  pprof: {mode: 1}
quota: {cap: {service: {limit: 2}, instance: {limit: 2}, schema: {limit: 2}, tag: {limit: 2}}}
ssl: {enable: true, verifyClient: 0, dir: /tmp/certs}
",
        )
        .config();
    let instance = &config.instance;
    assert_eq!(instance.endpoint, "reg.example:7777");
    let datacenter = instance.datacenter.as_ref().unwrap();
    assert_eq!(
        (datacenter.name.as_str(), datacenter.region.as_str(), datacenter.available_zone.as_str()),
        ("dc", "re", "az")
    );
    let properties: Vec<_> =
        instance.properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(properties, ["number=5", "rack=r2", "zone=z1"]);
    assert_eq!(
        (instance.ttl, instance.min_interval, instance.min_times),
        (Some(40), Duration::from_secs(10), 5)
    );
    assert_eq!(config.service.global_visible, ["SharedOne", "SharedTwo"]);
    assert_eq!((config.server.max_body_bytes, config.server.max_header_bytes), (1000, 4096));
    assert_eq!((config.quota.services, config.quota.tags, config.schema.disable), (2, 2, true));
    assert!(config.tls.enable && !config.tls.verify_client);
    assert_eq!(config.own_environment(), "production");
    let setup = Setup::new().app_yaml("registry: {instance: {datacenter: {name: dc}}}");
    assert_one(&setup.warnings(), &["all three"]);
    assert_eq!(setup.config().instance.datacenter, None);
    let setup = Setup::new().app_yaml("registry: {service: {retire: {disable: true}}}");
    assert_eq!(setup.config().service.retire.cron, None);
    assert_one(&Setup::new().app_yaml("registry: {instance: {properties: x}}").mistakes(), &["pairs"]);
}

#[test]
fn compaction_and_empty_services() {
    let config = Setup::new().config();
    assert_eq!(config.registry.compaction_retention, Some(Duration::from_secs(3600)));
    assert_eq!(config.service.retire.empty_after, None);
    let key = |value: &str| Setup::new().app_conf(&format!("registry.etcd.compaction.retention = {value}\n"));
    assert_eq!(key("0").config().registry.compaction_retention, None);
    assert_eq!(key("1s").config().registry.compaction_retention, Some(Duration::from_secs(1)));
    assert_one(&key("999ms").mistakes(), &["registry.etcd.compaction.retention", "999ms", "at least 1s"]);
    // The keys of the reference have no effect here. Its shipped values are no reason for a warning.
    let setup = Setup::new().app_conf("compact_interval = 1h\ncompact_index_delta = 100\n");
    assert_one(&setup.warnings(), &["registry.etcd.compact.interval", "registry.etcd.compaction.retention"]);
    let setup = Setup::new().app_yaml("registry: {etcd: {compact: {indexDelta: 5, interval: 12h}}}");
    assert_one(
        &setup.warnings(),
        &["registry.etcd.compact.indexDelta", "registry.etcd.compaction.retention"],
    );

    let setup = Setup::new().app_yaml("registry: {service: {retire: {emptyAfter: 720h}}}");
    assert_eq!(setup.config().service.retire.empty_after, Some(Duration::from_secs(720 * 3600)));
    let setup = Setup::new().app_yaml("registry: {service: {retire: {emptyAfter: 720h, disable: true}}}");
    assert_one(&setup.warnings(), &["registry.service.retire.emptyAfter", "registry.service.retire.disable"]);
}

fn run(setup: &Setup, args: &[&str]) -> (Started, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let next = cli::start(
        args.iter().map(std::ffi::OsString::from),
        setup.inputs.clone(),
        &mut Terminal::new(&mut out, &mut err),
    );
    (next, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn commands() {
    let setup = Setup::new().app_conf("httpport = 1001\nhtpaddr = x\n");
    for word in ["--help", "--version"] {
        let (next, out, err) = run(&setup, &[word]);
        assert!(
            matches!(next, Started::Exit(0)) && !out.is_empty() && err.is_empty(),
            "{next:?} {out} {err}"
        );
    }
    let (next, out, err) = run(&setup, &["check-config", "--quota.cap.tag.limit=5"]);
    assert!(matches!(next, Started::Exit(0)));
    assert!(
        out.lines().any(|l| l.starts_with("server.port = 1001 ") && l.ends_with("# conf/app.conf line 1")),
        "{out}"
    );
    assert!(
        out.lines()
            .any(|l| l.starts_with("quota.cap.tag.limit = 5 ") && l.ends_with("--quota.cap.tag.limit")),
        "{out}"
    );
    assert!(out.lines().any(|l| l.starts_with("server.workers = 3 ") && l.contains("# default: ")), "{out}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains("warning: conf/app.conf line 2: htpaddr"), "{err}");

    let (next, _, err) = run(&setup, &["check-config", "--httpport=x", "--rbac.enable=maybe"]);
    assert!(matches!(next, Started::Exit(64)));
    assert!(err.contains("flag --httpport: server.port = \"x\"") && err.contains("rbac.enable"), "{err}");
    assert!(err.contains("2 mistake"), "{err}");
    let (next, out, err) = run(&setup, &["--httpport", "x"]);
    assert!(
        matches!(next, Started::Exit(64)) && out.is_empty() && err.contains("mistake"),
        "{next:?} {out} {err}"
    );
    let (next, _, err) = run(&setup, &["--sever.port=1"]);
    assert!(
        matches!(next, Started::Exit(64)) && err.contains("did you mean --server.port?"),
        "{next:?} {err}"
    );

    for (args, task) in [
        (vec!["--server.port=7"], CliTask::Serve),
        (vec!["--server.port", "7", "export", "--to", "f"], CliTask::Export { to: "f".into() }),
        (vec!["import", "--from=f", "--httpport=7"], CliTask::Import { from: "f".into() }),
    ] {
        match run(&setup, &args) {
            (Started::Run(configured), _, _) => {
                assert_eq!(
                    (configured.task, configured.config.server.port, configured.warnings.len()),
                    (task, 7, 1)
                )
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A small random number generator. The same seed gives the same numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    /// Random bytes, or pieces that mean something to the parsers.
    fn noise(&mut self) -> Vec<u8> {
        const PIECES: [&str; 24] = [
            "server",
            ".",
            ":",
            "\n",
            "  ",
            "=",
            "\"",
            "[",
            "]",
            "{",
            "}",
            "${",
            "||",
            "^^",
            "}",
            "#",
            "- ",
            "&a ",
            "*a",
            "!t ",
            "1m30s",
            "*/",
            "10.0.0.1:2379",
            "httpport = ",
        ];
        let raw = self.below(3) == 0;
        let mut bytes = Vec::new();
        for _ in 0..self.below(60) {
            if raw {
                bytes.push(u8::try_from(self.below(256)).unwrap());
            } else {
                bytes.extend_from_slice(PIECES[self.below(PIECES.len())].as_bytes());
            }
        }
        bytes
    }

    /// A valid file with some random pieces in it.
    fn damaged(&mut self, text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let end = (at + self.below(20)).min(bytes.len());
            let noise = self.noise();
            bytes.splice(at..end, noise);
        }
        bytes
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the seed, shown if it fails")]
fn no_bytes_make_it_panic() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = Random(seed);
    let keys: Vec<String> =
        Setup::new().load().effective.into_iter().map(|effective| effective.key).collect();
    let setup = Setup::new().app_conf("").app_yaml("");
    let mut broken = 0;
    for _ in 0..300 {
        for (path, text) in
            [("conf/app.conf", SHIPPED_CONF), ("conf/app.yaml", SHIPPED_YAML), (".env", "A=1\n")]
        {
            let bytes = match random.below(4) {
                0 => random.noise(),
                1 => random.damaged(text),
                _ => text.as_bytes().to_vec(),
            };
            std::fs::write(setup.folder.path().join(path), bytes).unwrap();
        }
        let mut inputs = setup.inputs.clone();
        for _ in 0..random.below(3) {
            let key = keys[random.below(keys.len())].clone();
            inputs.flags.push((key, String::from_utf8_lossy(&random.noise()).into_owned()));
        }
        let loaded = Sources::gather(&inputs).load();
        let texts: String = loaded.warnings.iter().map(ToString::to_string).collect();
        broken += usize::from(loaded.config.map_err(|mistakes| format!("{texts}{mistakes:?}")).is_err());
    }
    // Otherwise the random bytes do not reach the parsers.
    assert!((100..300).contains(&broken), "{broken} of 300 were refused");
}

/// `conf/app.conf` and the tables of `docs/configuration.md` agree with the table of keys. `WRITE_GENERATED=1 cargo test` writes them again.
#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of this test, not a configuration")]
fn shipped_files_equal_the_table_of_keys() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let write = std::env::var("WRITE_GENERATED").is_ok();
    let (conf, docs) = (root.join("conf/app.conf"), root.join("docs/configuration.md"));
    let text = std::fs::read_to_string(&docs).unwrap();
    let (before, rest) = text.split_once(reference::TABLES_BEGIN).unwrap();
    let (_, after) = rest.split_once(reference::TABLES_END).unwrap();
    let expected = format!(
        "{before}{}\n{}{}{after}",
        reference::TABLES_BEGIN,
        reference::tables(),
        reference::TABLES_END
    );
    if write {
        std::fs::write(&conf, reference::app_conf()).unwrap();
        std::fs::write(&docs, expected).unwrap();
        return;
    }
    assert!(
        text == expected,
        "docs/configuration.md is old: WRITE_GENERATED=1 cargo test --test it config::"
    );
    let text = std::fs::read_to_string(&conf).unwrap();
    assert!(
        text == reference::app_conf(),
        "conf/app.conf is old: WRITE_GENERATED=1 cargo test --test it config::"
    );
}

#[test]
fn the_shipped_app_conf_changes_nothing_and_each_line_of_it_can_be_switched_on() {
    let shipped = reference::app_conf();
    let setup = Setup::new().app_conf(&shipped);
    assert_eq!((setup.config(), setup.warnings()), (Setup::new().config(), Vec::new()));
    // The two edits of the guide only remove the `#`.
    let edited = shipped
        .replace("# httpaddr = 10.12.0.1", "httpaddr = 10.12.0.1")
        .replace("# manager_cluster = \"10.12.0.4", "manager_cluster = \"10.12.0.4");
    let config = Setup::new().app_conf(&edited).config();
    assert_eq!((config.server.host.as_str(), urls(&config).len()), ("10.12.0.1", 2));
    let mut settings = 0;
    for line in shipped.lines().filter_map(|line| line.strip_prefix("# ")) {
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_'))
        };
        if line.split_once(" =").is_some_and(|(name, _)| is_name(name.trim())) {
            let setup = Setup::new().app_conf(line);
            let (loaded, warnings) = (setup.load(), setup.warnings());
            assert!(loaded.config.is_ok() && warnings.is_empty(), "{line}: {:?} {warnings:?}", loaded.config);
            settings += 1;
        }
    }
    assert!(settings > 50, "{settings}");
}
