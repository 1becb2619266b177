//! Registries for the console to show: a small shop with everything that a page can show, and a large one of any size.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Installation, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Client, Request, Response};
use crate::support::ws::WebSocket;

pub const REGISTRY: &str = "/v4/default/registry";
/// The password of the account `root`.
pub const ROOT_PASSWORD: &str = "Root#Secret1";
/// The password of all other accounts.
pub const PASSWORD: &str = "Tester#Pwd1";

/// Somebody who calls the API of a daemon.
pub struct Caller {
    client: Client,
    token: Option<String>,
}

impl Caller {
    /// Without a token.
    pub fn of(daemon: &Daemon) -> Self {
        Self { client: daemon.client(), token: None }
    }

    /// With a token of this account.
    #[track_caller]
    pub fn logged_in(daemon: &Daemon, name: &str, password: &str) -> Self {
        let login = json!({"name": name, "password": password});
        let answer = Self::of(daemon).send("POST", "/v4/token", Some(&login));
        Self { token: Some(answer["token"].as_str().unwrap().to_owned()), ..Self::of(daemon) }
    }

    /// The token.
    pub fn token(&self) -> &str {
        self.token.as_deref().expect("it has logged in")
    }

    fn headers(&self) -> Vec<(String, String)> {
        let header = |token: &String| ("Authorization".to_owned(), format!("Bearer {token}"));
        self.token.iter().map(header).collect()
    }

    fn ask(&self, mut request: Request) -> Response {
        request.headers.extend(self.headers());
        self.client.send(&request).unwrap()
    }

    /// Sends a request, which must be answered 200.
    #[track_caller]
    pub fn send(&self, method: &str, target: &str, body: Option<&Value>) -> Value {
        let request = Request::new(method, target);
        let response = self.ask(if let Some(body) = body { request.json(body) } else { request });
        assert_eq!(response.status, 200, "{method} {target}: {}", response.text());
        if response.body.is_empty() { Value::Null } else { response.json() }
    }

    /// The document at this path.
    #[track_caller]
    pub fn get(&self, target: &str) -> Value {
        self.send("GET", target, None)
    }

    /// Registers a service; its id.
    #[track_caller]
    pub fn create(&self, service: &Value) -> String {
        let target = format!("{REGISTRY}/microservices");
        let answer = self.send("POST", &target, Some(&json!({ "service": service })));
        answer["serviceId"].as_str().unwrap().to_owned()
    }

    /// Registers an instance.
    #[track_caller]
    pub fn register(&self, service: &str, instance: &Value) {
        let target = format!("{REGISTRY}/microservices/{service}/instances");
        self.send("POST", &target, Some(&json!({ "instance": instance })));
    }

    /// Unregisters an instance.
    #[track_caller]
    pub fn unregister(&self, service: &str, instance: &str) {
        self.send("DELETE", &format!("{REGISTRY}/microservices/{service}/instances/{instance}"), None);
    }

    /// Sets the status of an instance.
    #[track_caller]
    pub fn set_status(&self, service: &str, instance: &str, status: &str) {
        let target = format!("{REGISTRY}/microservices/{service}/instances/{instance}/status?value={status}");
        self.send("PUT", &target, None);
    }

    /// The status of an instance.
    #[track_caller]
    pub fn status(&self, service: &str, instance: &str) -> String {
        let target = format!("{REGISTRY}/microservices/{service}/instances/{instance}?noCache=1");
        self.get(&target)["instance"]["status"].as_str().unwrap().to_owned()
    }

    /// Makes a consumer depend on a provider of the application `shop` and the environment `production`.
    #[track_caller]
    fn depend(&self, consumer: &str, provider: &str) {
        let find = format!("{REGISTRY}/instances?appId=shop&serviceName={provider}&env=production&noCache=1");
        let providers = format!("{REGISTRY}/microservices/{consumer}/providers?noCache=1");
        eventually(GENEROUS, || {
            self.find(consumer, &find);
            let known = self.get(&providers);
            let mut known = known["providers"].as_array().into_iter().flatten();
            let is_known = known.any(|service| service["serviceName"] == provider);
            if is_known { Ok(()) } else { Err(format!("{consumer} does not yet depend on {provider}")) }
        });
    }

    /// Finds providers in the name of a consumer.
    #[track_caller]
    pub fn find(&self, consumer: &str, target: &str) {
        let found = self.ask(Request::new("GET", target).header("X-ConsumerId", consumer));
        assert_eq!(found.status, 200, "{consumer}: {target}: {}", found.text());
    }

    fn watch(&self, consumer: &str) -> WebSocket {
        let target = format!("{REGISTRY}/microservices/{consumer}/watcher");
        WebSocket::open(self.client.address(), &target, &self.headers()).unwrap()
    }
}

/// A shop of twelve services with instances, dependencies, contracts, and two consumers that watch. The id of a service is its name and version;
/// the host of an instance is its name and a number.
pub struct Shop {
    _watches: Vec<WebSocket>,
}

/// Name, version, application, environment, and the statuses of the instances.
const SHOP: [(&str, &str, &str, &str, &[&str]); 13] = [
    ("storefront", "2.3.0", "shop", "production", &["UP", "UP", "UP"]),
    ("orders", "1.4.0", "shop", "production", &["UP", "UP"]),
    ("orders", "1.5.0", "shop", "production", &["UP", "UP", "STARTING"]),
    ("payments", "3.1.0", "shop", "production", &["UP", "DOWN", "UP", "OUTOFSERVICE"]),
    ("inventory", "2.0.0", "shop", "production", &["UP", "UP"]),
    ("customers", "1.9.2", "shop", "production", &["UP", "UP"]),
    ("shipping", "0.8.0", "shop", "production", &["DOWN", "DOWN"]),
    ("catalog", "4.2.1", "shop", "production", &["UP", "UP", "TESTING"]),
    ("pricing", "2.2.0", "shop", "production", &["UP"]),
    ("fraud-check", "1.0.3", "risk", "production", &["UP", "UP"]),
    ("notifications", "1.1.0", "messages", "production", &["UP"]),
    ("mail-gateway", "5.0.0", "messages", "production", &[]),
    ("reports", "0.3.0", "office", "testing", &["UP"]),
];

/// Consumers, and the providers of each. All are of the application `shop`.
const CALLS: [(&str, &[&str]); 4] = [
    ("storefront-2.3.0", &["catalog", "orders", "customers", "pricing"]),
    ("orders-1.4.0", &["payments", "inventory"]),
    ("orders-1.5.0", &["payments", "inventory", "shipping", "customers"]),
    ("catalog-4.2.1", &["pricing", "inventory"]),
];

const ORDERS_1_4: &str = include_str!("contracts/orders-1.4.0.yaml");
const ORDERS_1_5: &str = include_str!("contracts/orders-1.5.0.yaml");

impl Shop {
    /// Fills an empty registry.
    pub fn fill(caller: &Caller) -> Self {
        let mut host = 0;
        for (name, version, app, environment, statuses) in SHOP {
            let id = caller.create(&json!({
                "serviceId": format!("{name}-{version}"), "serviceName": name, "version": version, "appId": app,
                "environment": environment, "description": format!("What the {app} knows about {name}"),
                "level": "BACK", "framework": {"name": "servicecomb-java-chassis", "version": "2.8.9"},
                "properties": {"team": app, "allowCrossApp": "true"},
            }));
            for (number, status) in statuses.iter().enumerate() {
                host += 1;
                let instance = format!("{name}-{}", number + 1);
                caller.register(&id, &shop_instance(&instance, host));
                caller.send(
                    "PUT",
                    &format!("{REGISTRY}/microservices/{id}/instances/{}/heartbeat", id_of(&instance)),
                    None,
                );
                if *status != "UP" {
                    caller.set_status(&id, &id_of(&instance), status);
                }
            }
        }
        for (schema, service, text) in [
            ("orders", "orders-1.4.0", ORDERS_1_4),
            ("orders", "orders-1.5.0", ORDERS_1_5),
            ("messages", "notifications-1.1.0", "message Mail { string to = 1; string text = 2; }\n"),
        ] {
            let target = format!("{REGISTRY}/microservices/{service}/schemas/{schema}");
            caller.send("PUT", &target, Some(&json!({"schema": text, "summary": "s"})));
        }
        let tags = json!({"tags": {"stage": "blue", "owner": "orders-team"}});
        caller.send("POST", &format!("{REGISTRY}/microservices/orders-1.5.0/tags"), Some(&tags));
        for (consumer, providers) in CALLS {
            providers.iter().for_each(|provider| caller.depend(consumer, provider));
        }
        // What has happened today.
        caller.register("inventory-2.0.0", &shop_instance("inventory-3", 40));
        caller.unregister("inventory-2.0.0", &id_of("inventory-3"));
        Self { _watches: ["storefront-2.3.0", "orders-1.5.0"].map(|consumer| caller.watch(consumer)).into() }
    }
}

/// The id of the shop's instance on this host.
pub fn id_of(host: &str) -> String {
    let hash = host.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}{:016x}", hash.rotate_left(29))
}

fn shop_instance(name: &str, host: usize) -> Value {
    let zone = if host.is_multiple_of(2) { "east" } else { "west" };
    json!({
        "instanceId": id_of(name), "hostName": name, "endpoints": [format!("rest://10.20.0.{host}:8080")],
        "healthCheck": {"mode": "push", "interval": 3_600, "times": 3},
        "properties": {"zone": zone},
        "dataCenterInfo": {"name": "dc-1", "region": "north", "availableZone": zone},
    })
}

/// Settings with accounts. The account `root` has [`ROOT_PASSWORD`].
pub fn with_accounts(settings: Settings) -> Settings {
    settings.yaml("rbac.enable", json!(true)).environment("SC_INIT_ROOT_PASSWORD", ROOT_PASSWORD)
}

/// Installs a daemon with a pair of keys for its tokens.
pub fn install_with_keys(settings: Settings) -> Installation {
    let installation = Installation::new(settings).unwrap();
    let openssl = |arguments: &[&str]| {
        let done =
            Command::new("openssl").args(arguments).current_dir(installation.folder()).output().unwrap();
        assert!(done.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    openssl(&["genrsa", "-out", "private.key", "2048"]);
    openssl(&["rsa", "-in", "private.key", "-pubout", "-out", "public.key"]);
    installation
}

/// The limit of an import into a debug build, while other tests use the machine.
const LARGE_LIMIT: Duration = Duration::from_secs(300);

/// A daemon whose embedded store holds so many services, and so many instances of them.
pub fn large(settings: Settings, services: usize, instances: usize) -> Daemon {
    let installation = Installation::new(settings).unwrap();
    let file = installation.folder().join("large.export");
    write_export(&file, services, instances);
    let import = ["import", "--from", file.to_str().unwrap()];
    let imported = installation.run_within(LARGE_LIMIT, &import).unwrap();
    assert_eq!(imported.code, Some(0), "{}", imported.output);
    fs::remove_file(file).unwrap();
    let mut daemon = Daemon::spawn_in(installation).unwrap();
    // It reads the whole registry first. The second wait is for a machine that does much else.
    daemon.wait_ready().or_else(|_| daemon.wait_ready()).unwrap();
    daemon
}

const SUBJECTS: [&str; 20] = [
    "account",
    "address",
    "basket",
    "billing",
    "catalog",
    "coupon",
    "customer",
    "delivery",
    "inventory",
    "invoice",
    "ledger",
    "order",
    "payment",
    "price",
    "refund",
    "report",
    "search",
    "session",
    "stock",
    "tax",
];
const ROLES: [&str; 10] =
    ["api", "archive", "cache", "gateway", "history", "importer", "index", "query", "sync", "worker"];
const ENVIRONMENTS: [&str; 4] = ["development", "testing", "acceptance", "production"];

/// Writes a file for `import`: services of 40 applications in four environments, and instances of all statuses.
fn write_export(path: &Path, services: usize, instances: usize) {
    let mut text = String::from("{\"format\":1}\n");
    let mut entries = 0;
    let mut put = |key: String, value: &Value, lease: Option<usize>| {
        entries += 1;
        let value = if let Value::String(plain) = value { plain.clone() } else { value.to_string() };
        let mut line = json!({"key": key, "value": value});
        if let Some(lease) = lease {
            line["lease"] = json!(lease.to_string());
            line["ttl"] = json!("14400");
        }
        writeln!(text, "{line}").unwrap();
    };
    put("/cse-sr/domains/default".to_owned(), &json!(""), None);
    put("/cse-sr/projects/default/default".to_owned(), &json!(""), None);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    // Each was last changed some seconds before the one behind it.
    let changed = |number: usize| (now - number as u64 * 7).to_string();
    let id = |number: usize| format!("{:040x}", (number as u128 + 1) * 0x9e37_79b9_7f4a_7c15_f39c_c060);
    for number in 0..services {
        let (app, environment) = (format!("app-{:02}", number % 40), ENVIRONMENTS[number / 40 % 4]);
        let name = format!(
            "{}-{}-{:03}",
            SUBJECTS[number % SUBJECTS.len()],
            ROLES[number / SUBJECTS.len() % ROLES.len()],
            number / 200
        );
        let version = format!("{}.{}.0", 1 + number % 3, number % 7);
        let service = json!({
            "serviceId": id(number), "appId": app, "serviceName": name, "version": version, "environment": environment,
            "level": "BACK", "status": "UP", "properties": {"team": format!("team-{}", number % 25)},
            "timestamp": changed(number + 1_000), "modTimestamp": changed(number),
        });
        put(format!("/cse-sr/ms/files/default/default/{}", id(number)), &service, None);
        let index = format!("/cse-sr/ms/indexes/default/default/{environment}/{app}/{name}/{version}");
        put(index, &json!(id(number)), None);
    }
    for number in 0..instances {
        let (service, instance) = (id(number % services), format!("{:032x}", id_of_instance(number)));
        let status = match number % 50 {
            7 => "DOWN",
            19 => "STARTING",
            31 => "OUTOFSERVICE",
            43 => "TESTING",
            _ => "UP",
        };
        let [high, low] = [number / 250 % 250, number % 250];
        let document = json!({
            "instanceId": instance, "serviceId": service, "hostName": format!("node-{:05}", number / 20),
            "endpoints": [format!("rest://10.{}.{high}.{low}:8080", number / 62_500)], "status": status,
            "properties": {"zone": format!("zone-{}", number % 3)},
            "healthCheck": {"mode": "push", "interval": 3_600, "times": 3},
            "timestamp": changed(number + 1_000), "modTimestamp": changed(number),
            "version": format!("{}.{}.0", 1 + number % services % 3, number % services % 7),
        });
        let lease = number + 1;
        put(format!("/cse-sr/inst/files/default/default/{service}/{instance}"), &document, Some(lease));
        put(
            format!("/cse-sr/inst/leases/default/default/{service}/{instance}"),
            &json!(lease.to_string()),
            Some(lease),
        );
    }
    writeln!(text, "{}", json!({ "entries": entries })).unwrap();
    fs::write(path, text).unwrap();
}

fn id_of_instance(number: usize) -> u128 {
    (number as u128 + 1) * 0x2545_f491_4f6c_dd1d_8c2f_3a91
}
