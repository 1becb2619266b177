//! Keys of the store.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::super::endpoint::{EtcdCluster, EtcdEndpoint, Scheme, parse_clusters};
use super::super::keys::table;
use super::super::reader::ConfigReader;
use super::tls::TlsConfig;

/// A text that no output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself. Do not show it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(******)")
    }
}

#[expect(clippy::large_enum_variant, reason = "there is one in the process")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// The durable store of this machine, in a folder.
    Embedded {
        dir: PathBuf,
    },
    Etcd(EtcdConfig),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdConfig {
    /// At least one. All have the same scheme.
    pub endpoints: Vec<EtcdEndpoint>,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    /// How often etcd is asked for its members. `None`: never.
    pub sync_interval: Option<Duration>,
    /// User and password.
    pub login: Option<(String, Secret)>,
    /// `Some` if the endpoints have `https://`, otherwise `None`.
    pub tls: Option<EtcdTls>,
}

/// TLS of connections to etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdTls {
    /// PEM. The CA certificates of etcd.
    pub ca_file: PathBuf,
    /// PEM. The certificate and the private key of this node.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The password of the private key. Read only if the key is encrypted.
    pub password_file: PathBuf,
    /// The name that the certificate of etcd must have. `None`: the host of the endpoint.
    pub server_name: Option<String>,
    /// Whether that name is checked. The signature is always checked.
    pub verifies_name: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryConfig {
    pub kind: StoreKind,
    /// The version under which this node registers itself: 2 to 4 numbers, such as `2.2.0`.
    pub version: String,
    /// Whether this node registers itself.
    pub self_register: bool,
    /// The name of this node's cluster.
    pub cluster: String,
    /// The clusters that the list of endpoints names, if etcd is the store.
    pub clusters: Vec<EtcdCluster>,
    /// How much history of etcd stays. `None`: the nodes do not compact etcd.
    pub compaction_retention: Option<Duration>,
    /// How often this node compares its snapshot with the store. `None`: only when somebody asks.
    pub scrub_period: Option<Duration>,
}

/// A shorter retention only makes work for etcd.
const SHORTEST_RETENTION: Duration = Duration::from_secs(1);
/// A comparison more often than this would only find what is just changing.
const SHORTEST_SCRUB_PERIOD: Duration = Duration::from_secs(1);
/// Where etcd listens by default.
const LOCAL_ETCD: &str = "127.0.0.1:2379";

const INSTEAD: &str = "write etcd (a cluster, whose addresses are in registry.etcd.cluster.endpoints) or embedded_etcd (a durable store on this \
     machine, in the folder registry.embedded.dir)";

impl RegistryConfig {
    pub(in super::super) fn read(reader: &mut ConfigReader, tls: &TlsConfig) -> Self {
        let kind = reader.text(&table::REGISTRY_KIND).to_ascii_lowercase();
        let given = [&table::ETCD_ENDPOINTS, &table::ETCD_MANAGER_ENDPOINTS]
            .into_iter()
            .find(|key| reader.is_given(key));
        let dir = reader.text(&table::EMBEDDED_DIR);
        if dir.is_empty() {
            reader.refuse(&table::EMBEDDED_DIR, "write the path of a folder, such as ./data");
        }
        // The keys of etcd are read even if another store is chosen, so that their mistakes are found.
        let (etcd, cluster, clusters) =
            read_etcd(reader, tls, kind == "etcd" || (kind.is_empty() && given.is_some()));
        let embedded = StoreKind::Embedded { dir: PathBuf::from(dir) };
        let kind = match (kind.as_str(), given) {
            ("etcd", _) | ("", Some(_)) => StoreKind::Etcd(etcd),
            ("", None) => embedded,
            ("embedded_etcd" | "embeded_etcd" | "embedded", given) => {
                let untouched = |text: &str| table::ETCD_ENDPOINTS.is_untouched(text);
                if let Some(key) = given.filter(|key| !untouched(&reader.text(key))) {
                    let text =
                        format!("{} is not used, because registry.kind is the embedded store", key.name);
                    reader.warn(key, text);
                }
                embedded
            }
            ("mongo", _) => {
                reader.refuse(&table::REGISTRY_KIND, format!("MongoDB is not supported; {INSTEAD}"));
                embedded
            }
            ("buildin", _) => {
                let text = format!("there is no store with this name, in the reference neither; {INSTEAD}");
                reader.refuse(&table::REGISTRY_KIND, text);
                embedded
            }
            _ => {
                reader.refuse(&table::REGISTRY_KIND, INSTEAD);
                embedded
            }
        };
        let name = if matches!(kind, StoreKind::Etcd(_)) { "etcd" } else { "embedded_etcd" };
        reader.settle(&table::REGISTRY_KIND, name);
        let clusters = if matches!(kind, StoreKind::Etcd(_)) { clusters } else { Vec::new() };
        Self {
            kind,
            version: read_version(reader),
            self_register: reader.switch(&table::SELF_REGISTER),
            cluster,
            clusters,
            compaction_retention: read_compaction(reader),
            scrub_period: read_scrub_period(reader),
        }
    }
}

fn read_compaction(reader: &mut ConfigReader) -> Option<Duration> {
    let retention = reader.duration(&table::ETCD_COMPACTION_RETENTION);
    if !retention.is_zero() && retention < SHORTEST_RETENTION {
        reader.refuse(&table::ETCD_COMPACTION_RETENTION, "write 0 (off) or at least 1s");
    }
    Some(retention).filter(|retention| !retention.is_zero())
}

fn read_scrub_period(reader: &mut ConfigReader) -> Option<Duration> {
    let period = reader.duration(&table::SCRUB_PERIOD);
    if !period.is_zero() && period < SHORTEST_SCRUB_PERIOD {
        reader.refuse(&table::SCRUB_PERIOD, "write 0 (never) or at least 1s");
    }
    Some(period).filter(|period| !period.is_zero())
}

fn read_version(reader: &mut ConfigReader) -> String {
    let version = reader.text(&table::REGISTRY_VERSION);
    let parts: Vec<&str> = version.split('.').collect();
    let numbers = parts.iter().all(|part| part.parse::<u16>().is_ok_and(|number| number <= 32767));
    if !numbers || !(2..=4).contains(&parts.len()) {
        reader.refuse(
            &table::REGISTRY_VERSION,
            "write 2 to 4 numbers of at most 32767 between dots, such as 2.2.0",
        );
    }
    version
}

/// The configuration of etcd, the name of this node's cluster, and all clusters. `chosen`: whether etcd is the store. If not, only the
/// form of the values is checked.
fn read_etcd(
    reader: &mut ConfigReader,
    tls: &TlsConfig,
    chosen: bool,
) -> (EtcdConfig, String, Vec<EtcdCluster>) {
    let cluster = reader.text_if_any(&table::ETCD_CLUSTER_NAME).unwrap_or_else(|| "default".to_owned());
    let list = reader.text(&table::ETCD_ENDPOINTS);
    let mut clusters = parse_clusters(&list, &cluster);
    let manager = reader.list(&table::ETCD_MANAGER_ENDPOINTS);
    let key = if !manager.is_empty() && (list.contains('=') || clusters.is_empty()) {
        // With several data centers, the documentation of the reference writes the service centers of all clusters into the list, and
        // the addresses of the own etcd into managerEndpoints.
        clusters.retain(|other| other.name != cluster);
        clusters.insert(0, EtcdCluster { name: cluster.clone(), endpoints: manager });
        &table::ETCD_MANAGER_ENDPOINTS
    } else {
        &table::ETCD_ENDPOINTS
    };
    if chosen && clusters.is_empty() {
        let text = format!("registry.kind is etcd and no endpoint is given, so {LOCAL_ETCD} is used");
        reader.warn(&table::REGISTRY_KIND, text);
        reader.settle(&table::ETCD_ENDPOINTS, LOCAL_ETCD);
        clusters.push(EtcdCluster { name: cluster.clone(), endpoints: vec![LOCAL_ETCD.to_owned()] });
    }
    let own: &[String] =
        clusters.iter().find(|other| other.name == cluster).map_or(&[], |own| own.endpoints.as_slice());
    let (mut endpoints, mut wrong) = (Vec::new(), Vec::new());
    for text in own {
        match EtcdEndpoint::parse(text) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(expected) => wrong.push(expected),
        }
    }
    if chosen {
        for expected in &wrong {
            reader.refuse(key, expected.clone());
        }
        if own.is_empty() {
            let names: Vec<&str> = clusters.iter().map(|other| other.name.as_str()).collect();
            let expected = format!(
                "the list names the clusters {} and has no address of {cluster:?}; set registry.etcd.cluster.name to one of them, or \
                 registry.etcd.cluster.managerEndpoints to the addresses of etcd",
                names.join(", "),
            );
            reader.refuse(key, expected);
        }
    }
    let encrypted = endpoints.iter().filter(|endpoint| endpoint.scheme == Scheme::Https).count();
    if chosen && encrypted != 0 && encrypted != endpoints.len() {
        reader.refuse(key, "write https:// before all endpoints, or before none");
    }
    if chosen && encrypted == 0 && tls.enable {
        let text = format!(
            "ssl.enable does not encrypt the connection to etcd, unlike in the reference; to encrypt it, write https:// before the \
             endpoints in {}",
            key.name
        );
        reader.warn(key, text);
    }
    let sync = reader.duration(&table::ETCD_SYNC_INTERVAL);
    let etcd = EtcdConfig {
        endpoints,
        connect_timeout: reader.duration(&table::ETCD_CONNECT_TIMEOUT),
        request_timeout: reader.duration(&table::ETCD_REQUEST_TIMEOUT),
        sync_interval: (sync >= Duration::from_secs(1)).then_some(sync),
        login: read_login(reader),
        tls: read_etcd_tls(reader, tls).filter(|_| encrypted != 0),
    };
    (etcd, cluster, clusters)
}

fn read_login(reader: &mut ConfigReader) -> Option<(String, Secret)> {
    let user = reader.text_if_any(&table::ETCD_USERNAME);
    let password = reader.text_if_any(&table::ETCD_PASSWORD);
    match (user, password) {
        (Some(user), Some(password)) => Some((user, Secret(password))),
        (Some(_), None) => {
            reader.refuse(&table::ETCD_PASSWORD, "registry.etcd.username is set; set the password, too");
            None
        }
        (None, Some(_)) => {
            reader.refuse(&table::ETCD_USERNAME, "registry.etcd.password is set; set the user, too");
            None
        }
        (None, None) => None,
    }
}

fn read_etcd_tls(reader: &mut ConfigReader, tls: &TlsConfig) -> Option<EtcdTls> {
    let ca_file = reader.text_if_any(&table::ETCD_CA_FILE).map_or_else(|| tls.files.trust(), PathBuf::from);
    reader.settle(&table::ETCD_CA_FILE, ca_file.display());
    let certificate = reader.text_if_any(&table::ETCD_CERT_FILE);
    let key = reader.text_if_any(&table::ETCD_KEY_FILE);
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((PathBuf::from(certificate), PathBuf::from(key))),
        (None, None) => None,
        (Some(_), None) => {
            reader.refuse(&table::ETCD_KEY_FILE, "registry.etcd.ssl.certFile is set; name its key, too");
            None
        }
        (None, Some(_)) => {
            reader.refuse(
                &table::ETCD_CERT_FILE,
                "registry.etcd.ssl.keyFile is set; name its certificate, too",
            );
            None
        }
    };
    let server_name = reader.text_if_any(&table::ETCD_SERVER_NAME);
    Some(EtcdTls {
        ca_file,
        identity,
        password_file: tls.files.password(),
        server_name,
        verifies_name: reader.switch(&table::ETCD_VERIFY_NAME),
    })
}
