//! Secrets are planted wherever the daemon reads or makes one, at log level TRACE. Then each output is searched for them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use service_center::rbac::key_pair::generate;

use crate::support::daemon::{Daemon, Installation, Settings};
use crate::support::etcd::{Etcd, EtcdSetup};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Client, Request};
use crate::support::store::on_etcd;

const ROOT: &str = "Planted-Root#1x";
const TESTER: &str = "Planted-Tester#2x";
const CHANGED: &str = "Planted-Changed#3x";
const WRONG: &str = "Planted-Wrong#4x";
/// Too weak, so it is rejected.
const WEAK: &str = "planted-weak-5x";
/// A password that is sent as a number.
const NUMBER: &str = "7654321098765";
/// In the query of each request.
const QUERY: &str = "planted-query-6x";
/// In headers that are no good tokens.
const HEADER: &str = "planted-header-7x";
const ETCD: &str = "Planted-Etcd#8x";
/// The password of the key of the HTTPS port.
const CERT_PASSWORD: &str = "Planted-Cert#9x";

const PLANTED: [&str; 10] = [ROOT, TESTER, CHANGED, WRONG, WEAK, NUMBER, QUERY, HEADER, ETCD, CERT_PASSWORD];

/// Secrets, and what was found of them.
#[derive(Default)]
struct Search {
    secrets: Vec<String>,
    found: Vec<String>,
}

impl Search {
    fn new() -> Self {
        Self { secrets: PLANTED.iter().map(|secret| (*secret).to_owned()).collect(), found: Vec::new() }
    }

    fn add(&mut self, secret: &str) {
        assert!(secret.len() >= 8, "{secret:?} is too short to be searched for");
        self.secrets.push(secret.to_owned());
    }

    /// The lines of a private key.
    fn add_lines(&mut self, pem: &str) {
        pem.lines().filter(|line| !line.starts_with('-') && line.len() >= 16).for_each(|line| self.add(line));
    }

    /// The signature of a token, which makes it a token.
    fn add_token(&mut self, token: &str) {
        let signature = token.rsplit('.').next().unwrap();
        self.add(&signature[..40]);
    }

    /// Searches an output for each secret: as it is, in base64, and as a list of bytes.
    fn look_into(&mut self, output: &str, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        for secret in &self.secrets {
            let bytes: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
            let forms =
                [secret.clone(), STANDARD.encode(secret).trim_end_matches('=').to_owned(), bytes.join(", ")];
            if forms.iter().any(|form| text.contains(form.as_str())) {
                self.found.push(format!("{secret} in {output}"));
            }
        }
    }

    fn look_into_folder(&mut self, folder: &Path) {
        for file in fs::read_dir(folder).unwrap().flatten().filter(|file| file.path().is_file()) {
            self.look_into(&file.path().display().to_string(), &fs::read(file.path()).unwrap());
        }
    }

    fn is_clean(&self) {
        assert!(self.found.is_empty(), "{:#?}", self.found);
    }
}

/// A client that searches each answer.
struct Sender<'s> {
    client: Client,
    search: &'s mut Search,
}

impl Sender<'_> {
    fn send(&mut self, request: &Request) -> (u16, Value) {
        let response = self.client.send(request).unwrap();
        let place = format!("the answer to {} {} with {:?}", request.method, request.target, request.body);
        let head = format!("{:?}", response.headers);
        self.search.look_into(&place, head.as_bytes());
        self.search.look_into(&place, &response.body);
        (response.status, serde_json::from_slice(&response.body).unwrap_or_default())
    }

    /// Logs in. The token becomes a secret. The answer is searched without the token.
    fn login(&mut self, name: &str, password: &str) -> String {
        let response = self.client.post("/v4/token", &json!({"name": name, "password": password})).unwrap();
        let token = response.json()["token"].as_str().expect("a token").to_owned();
        self.search.look_into("the answer to a login", response.text().replace(&token, "").as_bytes());
        self.search.add_token(&token);
        token
    }

    fn call(&mut self, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = Request::new(method, path).header("Authorization", &format!("Bearer {token}"));
        self.send(&request.json(body))
    }
}

/// Logins, accounts and changes of passwords, right and wrong.
fn use_accounts(sender: &mut Sender<'_>, root: &str) {
    let account =
        |name: &str, password: Value| json!({"name": name, "password": password, "roles": ["developer"]});
    assert_eq!(sender.call(root, "POST", "/v4/accounts", &account("tester", json!(TESTER))).0, 200);
    for (name, password) in
        [("tester", json!(WRONG)), ("weak", json!(WEAK)), ("number", json!(7_654_321_098_765_i64))]
    {
        assert_ne!(sender.call(root, "POST", "/v4/accounts", &account(name, password)).0, 200);
    }
    let many = json!({"accounts": [{"name": "made", "roles": ["developer"]}, account("weak", json!(WEAK))]});
    let request =
        Request::new("POST", "/v4/accounts/batch-create").header("Authorization", &format!("Bearer {root}"));
    let (status, answer) = sender.send(&request.json(&many));
    assert_eq!(status, 200);
    let generated = answer["accounts"][0]["password"].as_str().unwrap().to_owned();
    sender.search.add(&generated);
    sender.login("made", &generated);

    let tester = sender.login("tester", TESTER);
    let change = |current: &str, new: &str| json!({"currentPassword": current, "password": new});
    let path = "/v4/accounts/tester/password";
    assert_eq!(sender.call(&tester, "POST", path, &change(WRONG, CHANGED)).0, 401);
    assert_ne!(sender.call(&tester, "POST", path, &change(TESTER, WEAK)).0, 200);
    assert_eq!(sender.call(&tester, "POST", path, &change(TESTER, CHANGED)).0, 200);
    assert_eq!(sender.call(root, "POST", path, &json!({"password": WEAK})).0, 400);
    for name in ["nobody", "tester", "made"] {
        let request = Request::new("POST", "/v4/token").json(&json!({"name": name, "password": WRONG}));
        assert_eq!(sender.send(&request).0, 401);
    }
    sender.call(&tester, "GET", "/v4/self-perms", &json!({}));
    sender.login("tester", CHANGED);
}

/// Sends each method to each path of the description, with bad tokens and with bad bodies.
fn use_every_route(sender: &mut Sender<'_>, root: &str) {
    let (_, document) = sender.send(&Request::new("GET", "/openapi.json"));
    let bearer = format!("Bearer {root}");
    let cut = &bearer[..bearer.len() - 9];
    let bad = [
        HEADER,
        &format!("Bearer {HEADER}"),
        &format!("Bearer {HEADER} {root}"),
        &format!("{bearer}{HEADER}"),
        cut,
    ];
    let bodies = [
        format!("\"{WRONG}\""),
        format!("[\"{WRONG}\"]"),
        format!("{{\"password\":\"{WRONG}\",\"currentPassword\":\"{TESTER}\""),
        format!("{{\"password\":{NUMBER},\"currentPassword\":{NUMBER},\"name\":\"x\"}}"),
        format!("{{\"accounts\":[\"{WRONG}\",{{\"password\":{NUMBER}}}]}}"),
        format!("{{\"accounts\":[{{\"password\":\"{WRONG}\",\"password\":{NUMBER}}}]}}"),
        format!("{{\"name\":\"nobody\",\"password\":\"{WRONG}\"}} {WRONG}"),
    ];
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 30, "{}", paths.len());
    for (path, methods) in paths {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "nobody" } else { part });
        let target = format!("{}?token={QUERY}&password={QUERY}x", parts.collect::<Vec<_>>().join("/"));
        for method in methods.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            let request = || Request::new(&method, &target);
            sender.send(&request());
            for bad in bad {
                sender.send(&request().header("Authorization", bad));
            }
            let signed_in = || request().header("Authorization", &bearer);
            sender.send(&signed_in());
            // A request without a body has none that is read.
            // Tags are no secrets: the error shows the tag that is wrong.
            for body in bodies.iter().filter(|_| method != "GET" && !path.ends_with("/tags")) {
                sender.send(&signed_in().bytes(body.as_str()));
            }
        }
    }
    for target in ["/metrics", "/version", "/nowhere"] {
        sender.send(&Request::new("GET", &format!("{target}?token={QUERY}")).header("Authorization", HEADER));
    }
}

/// The settings of all daemons here: accounts, each line of the log, and the password of `root`.
fn talkative() -> Settings {
    Settings::default()
        .conf("rbac_enabled", "true")
        .environment("RUST_LOG", "trace")
        .environment("SC_INIT_ROOT_PASSWORD", ROOT)
}

/// A folder with new keys for tokens. The lines of the private key become secrets.
fn installed(settings: Settings, search: &mut Search) -> Installation {
    let installation = Installation::new(settings).unwrap();
    let pair = generate(2048).unwrap();
    search.add_lines(&pair.private);
    fs::write(installation.folder().join("private.key"), &pair.private).unwrap();
    fs::write(installation.folder().join("public.key"), &pair.public).unwrap();
    installation
}

/// Attack: somebody reads the log, the metrics, the answers to others, the files of the store or the output of `check-config`, and looks
/// for a password, a token, a private key or a hash.
fn no_output_shows_a_secret(settings: Settings, before_the_end: impl FnOnce()) {
    let mut search = Search::new();
    let mut daemon = Daemon::start_in(installed(settings, &mut search)).unwrap();
    let mut sender = Sender { client: daemon.client(), search: &mut search };
    let root = sender.login("root", ROOT);
    use_accounts(&mut sender, &root);
    use_every_route(&mut sender, &root);
    before_the_end();

    let checked = daemon.installation().run(&["check-config"]).unwrap();
    assert_eq!(checked.code, Some(0), "{}", checked.output);
    search.look_into("check-config", checked.output.as_bytes());
    assert!(daemon.terminate(GENEROUS).unwrap().success());
    let exported = daemon.installation().run(&["export", "--to", "backup"]).unwrap();
    assert_eq!(exported.code, Some(0), "{}", exported.output);
    let backup = fs::read(daemon.folder().join("backup")).unwrap();
    search.look_into("the export", &backup);
    let data = daemon.folder().join("data");
    if data.exists() {
        search.look_into_folder(&data);
    }
    // The export and the files of the store hold the hashes. Nothing else does.
    let hashes: Vec<String> = String::from_utf8(backup)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter_map(|line| serde_json::from_str::<Value>(line["value"].as_str()?).ok())
        .filter_map(|account| account["password"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(hashes.len(), 3, "root, tester, made");
    hashes.iter().for_each(|hash| search.add(hash));
    search.look_into("the log of the export", exported.output.as_bytes());
    let log = daemon.process().log();
    assert!(log.contains(" DEBUG ") || log.contains(" TRACE "), "the log has every level");
    search.look_into("the log", log.as_bytes());
    search.is_clean();
}

#[test]
fn no_output_shows_a_secret_on_the_embedded_store() {
    no_output_shows_a_secret(talkative(), || {});
}

#[test]
fn no_output_shows_a_secret_on_etcd() {
    let flags = vec!["--bcrypt-cost=4".to_owned()];
    let etcd = Etcd::start_with(EtcdSetup { flags, ..EtcdSetup::default() });
    etcd.ctl(&["user", "add", "root:open"]);
    etcd.ctl(&["user", "grant-role", "root", "root"]);
    etcd.ctl(&["user", "add", &format!("registry:{ETCD}")]);
    etcd.ctl(&["user", "grant-role", "registry", "root"]);
    etcd.ctl(&["auth", "enable"]);
    let settings = on_etcd(talkative(), &[etcd.address()])
        .conf("registry.etcd.username", "registry")
        .conf("registry.etcd.password", ETCD);
    no_output_shows_a_secret(settings, || {
        // Documents that no node reads.
        for (name, value) in [("number", NUMBER.to_owned()), ("cut", format!("\"{WRONG}"))] {
            let document = format!("{{\"name\":\"{name}\",\"password\":{value}");
            etcd.ctl(&["--user=root:open", "put", &format!("/cse-sr/accounts/{name}"), &document]);
            etcd.ctl(&["--user=root:open", "del", &format!("/cse-sr/accounts/{name}")]);
        }
    });
}

/// Attack: the same, in what a daemon says that does not start, and in what `check-config` says about mistakes.
#[test]
fn no_mistake_shows_a_secret() {
    let mut search = Search::new();
    let mistakes: [(Settings, Vec<String>); 9] = [
        (talkative().conf("registry.etcd.pasword", ETCD), vec![]),
        (
            talkative().conf("registry.etcd.password", ETCD).yaml("registry.etcd.password", json!(WRONG)),
            vec![],
        ),
        (
            talkative().conf("registry.etcd.password", ETCD).environment("REGISTRY_ETCD_PASSWORD", WRONG),
            vec![],
        ),
        (talkative().yaml("registry.etcd.password", json!([ETCD, WRONG])), vec![]),
        (talkative().yaml("registry.etcd.password", json!({"first": ETCD})), vec![]),
        (talkative().conf("registry.etcd.password", &format!("${{{WRONG}")), vec![]),
        (talkative(), vec![format!("--registry.etcd.password={ETCD}")]),
        (talkative().conf("registry.etcd.username", &format!("x\nregistry.etcd.password {ETCD}")), vec![]),
        (talkative().yaml("rbac", json!(WRONG)), vec![]),
    ];
    for (settings, flags) in mistakes {
        let installation = installed(settings, &mut search);
        let lines = format!(
            "SC_INIT_ROOT_PASSWORD {ROOT}\nREGISTRY_ETCD_PASSWORD: {ETCD}\nREGISTRY_ETCD_PASSWORD {WRONG}\n"
        );
        fs::write(installation.folder().join(".env"), lines).unwrap();
        let arguments: Vec<&str> =
            std::iter::once("check-config").chain(flags.iter().map(String::as_str)).collect();
        let finished = installation.run(&arguments).unwrap();
        assert!(finished.output.contains("rbac.enable"), "{}", finished.output);
        search.look_into(&format!("check-config {flags:?}"), finished.output.as_bytes());
    }

    // A root password that is too weak, a damaged key, a login that etcd rejects.
    let weak = installed(talkative().environment("SC_INIT_ROOT_PASSWORD", WEAK), &mut search);
    let damaged = installed(talkative(), &mut search);
    let key = damaged.folder().join("private.key");
    fs::write(&key, fs::read_to_string(&key).unwrap().replacen("\n", "\n!", 2)).unwrap();
    let etcd =
        Etcd::start_with(EtcdSetup { flags: vec!["--bcrypt-cost=4".to_owned()], ..EtcdSetup::default() });
    etcd.ctl(&["user", "add", "root:open"]);
    etcd.ctl(&["user", "grant-role", "root", "root"]);
    etcd.ctl(&["auth", "enable"]);
    let rejected = on_etcd(talkative(), &[etcd.address()])
        .conf("registry.etcd.username", "root")
        .conf("registry.etcd.password", ETCD);
    let rejected = installed(rejected, &mut search);
    for (name, installation) in [("weak", weak), ("damaged", damaged), ("rejected", rejected)] {
        let finished = installation.run(&[]).unwrap();
        assert_ne!(finished.code, Some(0), "{name}: {}", finished.output);
        search.look_into(name, finished.output.as_bytes());
    }
    search.is_clean();
}

fn openssl(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(folder).stderr(Stdio::null());
    assert!(command.status().expect("openssl runs").success(), "openssl {arguments}");
}

/// What `curl` receives over TLS and HTTP/2.
fn curl(address: SocketAddr, path: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["-sk", "--http2", "-w", " HTTP/%{http_version} %{http_code}"]).args(arguments);
    let output = command.arg(format!("https://{address}{path}")).output().expect("curl runs");
    String::from_utf8(output.stdout).unwrap()
}

/// A login, a good token and a bad one.
fn over_http_2(address: SocketAddr, search: &mut Search) {
    let body = json!({"name": "root", "password": ROOT}).to_string();
    let answer = curl(address, "/v4/token", &["-d", &body]);
    let token = answer.split('"').nth(3).expect("a token").to_owned();
    search.add_token(&token);
    for (token, status) in [(token.as_str(), "200"), (HEADER, "401")] {
        let header = format!("Authorization: Bearer {token}");
        let answer = curl(address, "/v4/accounts", &["-H", &header]);
        assert!(answer.ends_with(&format!(" HTTP/2 {status}")), "{answer}");
        search.look_into("an answer over HTTP/2", answer.as_bytes());
    }
}

/// The same for the key of the HTTPS port, with its password and with another one, and for requests over HTTP/2.
#[test]
fn the_key_of_the_port_is_not_shown() {
    let mut search = Search::new();
    for (password, serves) in [(CERT_PASSWORD, true), (WRONG, false)] {
        let settings = talkative().conf("ssl_mode", "1").conf("ssl_verify_client", "0");
        let installation = installed(settings, &mut search);
        let files = installation.folder().join("etc/ssl");
        fs::create_dir_all(&files).unwrap();
        fs::write(files.join("cert_pwd"), CERT_PASSWORD).unwrap();
        openssl(&files, "genrsa -aes256 -passout file:cert_pwd -out server_key.pem 2048");
        openssl(
            &files,
            "req -x509 -key server_key.pem -passin file:cert_pwd -subj /CN=node.test -out server.cer",
        );
        openssl(&files, "rsa -in server_key.pem -passin file:cert_pwd -out plain.pem");
        for file in ["server_key.pem", "plain.pem"] {
            search.add_lines(&fs::read_to_string(files.join(file)).unwrap());
        }
        fs::remove_file(files.join("plain.pem")).unwrap();
        fs::write(files.join("cert_pwd"), password).unwrap();
        let checked = installation.run(&["check-config"]).unwrap();
        search.look_into("check-config", checked.output.as_bytes());
        if serves {
            let mut daemon = Daemon::spawn_in(installation).unwrap();
            eventually(GENEROUS, || daemon.process().log().contains("listening on"));
            over_http_2(daemon.address(), &mut search);
            assert!(daemon.terminate(GENEROUS).unwrap().success());
            search.look_into("the log", daemon.process().log().as_bytes());
        } else {
            let finished = installation.run(&[]).unwrap();
            assert_ne!(finished.code, Some(0), "{}", finished.output);
            search.look_into("the log", finished.output.as_bytes());
        }
    }
    search.is_clean();
}

#[test]
fn the_search_finds_what_it_looks_for() {
    for text in [
        format!("password {WRONG}"),
        STANDARD.encode(WRONG),
        format!("{:?}", WRONG.as_bytes()),
        format!("\u{fffd}{WRONG}"),
    ] {
        let mut search = Search::new();
        search.look_into("here", text.as_bytes());
        assert_eq!(search.found, [format!("{WRONG} in here")], "{text}");
    }
}
