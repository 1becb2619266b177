//! Access control of a running daemon: every route with every kind of caller, and attacks on tokens, logins and watches.
//!
//! `docs/security.md` lists the attacks.

mod events;
mod logins;
mod matrix;
mod model;
mod rates;
mod registries;
mod searches;
mod tokens;
mod watches;

use std::cell::RefCell;
use std::fs;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::{RSA_PKCS1_SHA512, RsaEncoding};
use serde_json::{Value, json};
use service_center::rbac::key_pair::{GeneratedPair, generate};

use crate::support::daemon::{Daemon, Installation, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Client, Connection, Request, Response};
use crate::support::registry::code;

const ROOT_PASSWORD: &str = "Root#Secret1";
/// The password of all other accounts.
const PASSWORD: &str = "Tester#Pwd1";
const REGISTRY: &str = "/v4/default/registry";
/// A moment far away, Unix seconds.
const FAR: i64 = 4_102_444_800;

/// The keys of all daemons of this folder.
fn keys() -> &'static GeneratedPair {
    static KEYS: OnceLock<GeneratedPair> = OnceLock::new();
    KEYS.get_or_init(|| generate(2048).unwrap())
}

fn der(pem: &str) -> Vec<u8> {
    let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(lines).unwrap()
}

/// Settings with accounts.
pub fn with_accounts() -> Settings {
    Settings::default().yaml("rbac.enable", json!(true)).environment("SC_INIT_ROOT_PASSWORD", ROOT_PASSWORD)
}

fn install(settings: Settings) -> Installation {
    let installation = Installation::new(settings).unwrap();
    fs::write(installation.folder().join("private.key"), &keys().private).unwrap();
    fs::write(installation.folder().join("public.key"), &keys().public).unwrap();
    installation
}

pub fn start(settings: Settings) -> Daemon {
    Daemon::start_in(install(settings)).unwrap()
}

/// Signs any header and claims with a private key.
fn signed_with(pem: &str, header: &str, claims: &str, encoding: &'static dyn RsaEncoding) -> String {
    let key = KeyPair::from_der(&der(pem)).unwrap();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

const RS512: &str = r#"{"alg":"RS512","typ":"JWT"}"#;

/// A token with these claims, signed with the key of the registry.
fn signed(claims: &Value) -> String {
    signed_with(&keys().private, RS512, &claims.to_string(), &RSA_PKCS1_SHA512)
}

/// A token of the original for an account: it has no id, so no login is needed.
pub fn token_of(account: &str) -> String {
    signed(&json!({"account": account, "roles": ["none"], "exp": FAR}))
}

/// Sends requests on one connection after the other, with the token of an account.
struct Caller {
    client: Client,
    connection: RefCell<Option<Connection>>,
    token: Option<String>,
}

impl Caller {
    fn new(client: Client, token: Option<&str>) -> Self {
        Self { client, connection: RefCell::default(), token: token.map(str::to_owned) }
    }

    /// The account `root`.
    fn root(daemon: &Daemon) -> Self {
        Self::of(daemon, "root")
    }

    fn of(daemon: &Daemon, account: &str) -> Self {
        Self::new(daemon.client(), Some(&token_of(account)))
    }

    /// Somebody without a token.
    fn nobody(daemon: &Daemon) -> Self {
        Self::new(daemon.client(), None)
    }

    fn send(&self, request: Request) -> Response {
        let request = match &self.token {
            Some(token) => request.header("Authorization", &format!("Bearer {token}")),
            None => request,
        };
        let mut kept = self.connection.borrow_mut();
        let mut connection = kept.take().unwrap_or_else(|| self.client.connect().unwrap());
        let response = connection.exchange(&request).unwrap_or_else(|error| panic!("{request:?}: {error}"));
        *kept = Some(connection).filter(Connection::is_reusable);
        response
    }

    fn get(&self, target: &str) -> Response {
        self.send(Request::new("GET", target))
    }

    fn delete(&self, target: &str) -> Response {
        self.send(Request::new("DELETE", target))
    }

    fn post(&self, target: &str, body: &Value) -> Response {
        self.send(Request::new("POST", target).json(body))
    }

    fn put(&self, target: &str, body: &Value) -> Response {
        self.send(Request::new("PUT", target).json(body))
    }

    #[track_caller]
    fn create_role(&self, name: &str, permissions: &Value) {
        done(&self.post("/v4/roles", &json!({"name": name, "perms": permissions})));
    }

    #[track_caller]
    fn change_role(&self, name: &str, permissions: &Value) {
        done(&self.put(&format!("/v4/roles/{name}"), &json!({"perms": permissions})));
    }

    #[track_caller]
    fn create_account(&self, name: &str, roles: &[&str]) {
        done(&self.post("/v4/accounts", &json!({"name": name, "password": PASSWORD, "roles": roles})));
    }

    #[track_caller]
    fn change_account(&self, name: &str, change: &Value) {
        done(&self.put(&format!("/v4/accounts/{name}"), change));
    }

    #[track_caller]
    fn delete_account(&self, name: &str) {
        done(&self.delete(&format!("/v4/accounts/{name}")));
    }

    /// Registers a service under an id, with one instance `i`.
    #[track_caller]
    fn create_service(&self, id: &str, environment: &str, app: &str, name: &str) {
        self.create_service_with(
            &json!({"serviceId": id, "environment": environment, "appId": app, "serviceName": name}),
        );
    }

    #[track_caller]
    fn create_service_with(&self, service: &Value) {
        done(&self.post(&format!("{REGISTRY}/microservices"), &json!({"service": service})));
        // It gets no heartbeats, and some tests send thousands of requests.
        let check = json!({"mode": "push", "interval": 600, "times": 3});
        let instance = json!({"instance": {
            "instanceId": "i", "hostName": "h", "endpoints": ["rest://10.0.0.1:80"], "healthCheck": check,
        }});
        let id = service["serviceId"].as_str().unwrap();
        done(&self.post(&format!("{REGISTRY}/microservices/{id}/instances"), &instance));
    }
}

#[track_caller]
fn done(response: &Response) {
    assert_eq!(response.status, 200, "{}", response.text());
}

/// A login from the address of this client.
fn log_in(client: &Client, name: &str, password: &str) -> Response {
    client.post("/v4/token", &json!({"name": name, "password": password})).unwrap()
}

#[track_caller]
fn token(client: &Client, name: &str, password: &str) -> String {
    let response = log_in(client, name, password);
    done(&response);
    response.json()["token"].as_str().unwrap().to_owned()
}

/// Permissions with these verbs on this type, with labels unless they are `null`.
fn permission(verbs: &[&str], kind: &str, labels: &Value) -> Value {
    let mut resource = json!({"type": kind});
    if !labels.is_null() {
        resource["labels"] = labels.clone();
    }
    json!([{"resources": [resource], "verbs": verbs}])
}

/// Waits until a request has an answer with this code.
#[track_caller]
fn becomes(caller: &Caller, target: &str, expected: &str) {
    eventually(GENEROUS, || {
        let response = caller.get(target);
        let code = code(&response);
        if code == expected { Ok(()) } else { Err(format!("{target}: {code}: {}", response.text())) }
    });
}
