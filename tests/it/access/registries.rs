//! Known holes of service registries and of gateways before them. Each test shows that one of them is closed here.

use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::{Value, json};
use service_center::http::routes::{Accounts, table};
use service_center::http::spec::Method;

use super::{Caller, PASSWORD, REGISTRY, ROOT_PASSWORD, done, keys, start, token, token_of, with_accounts};
use crate::attack::wire::{Reached, Wire};
use crate::support::daemon::{Installation, Settings};
use crate::support::http::Request;
use crate::support::registry::code;

/// Stands in the name and the properties of a service that only accounts may see.
const SECRET: &str = "secret-of-the-registry";

/// With the keys in a folder of their own, because a daemon with TLS makes its own folder.
fn reached(wire: Wire) -> (Reached, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (private, public) = (folder.path().join("private.key"), folder.path().join("public.key"));
    std::fs::write(&private, &keys().private).unwrap();
    std::fs::write(&public, &keys().public).unwrap();
    let settings = with_accounts()
        .yaml("rbac.privateKeyFile", json!(private.to_str().unwrap()))
        .yaml("rbac.publicKeyFile", json!(public.to_str().unwrap()));
    let reached = Reached::start(wire, settings);
    let service = json!({"service": {"serviceId": "s", "serviceName": SECRET, "properties": {"p": SECRET}}});
    let register = Request::new("POST", &format!("{REGISTRY}/microservices"))
        .header("Authorization", &format!("Bearer {}", token_of("root")))
        .json(&service);
    done(&reached.send(&register));
    (reached, folder)
}

/// The request of somebody without a token neither learns nor changes anything.
#[track_caller]
fn learns_nothing(reached: &Reached, request: &Request) {
    let response = reached.send(request);
    let text = response.text();
    assert!(
        !text.contains(SECRET) && !text.contains("\"services\"") && !text.contains("\"total\""),
        "{request:?}: {text}"
    );
    assert!(matches!(response.status, 400 | 401 | 404 | 405), "{request:?}: {} {text}", response.status);
}

/// Headers by which a registry or a gateway has let requests pass, or by which it takes another path or method than it has checked.
const HEADERS: [(&str, &str); 28] = [
    ("User-Agent", "Nacos-Server"),
    ("User-Agent", "Service-Center"),
    ("User-Agent", "kube-probe/1.30"),
    ("User-Agent", "GoogleHC/1.0"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Forwarded-Host", "127.0.0.1:30100"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Prefix", "/v4/token"),
    ("X-Forwarded-Uri", "/version"),
    ("X-Forwarded-Path", "/version"),
    ("X-Real-IP", "127.0.0.1"),
    ("Forwarded", "for=127.0.0.1;host=localhost"),
    ("X-Original-URL", "/version"),
    ("X-Original-URI", "/version"),
    ("X-Rewrite-URL", "/version"),
    ("X-Override-URL", "/version"),
    ("X-HTTP-Method-Override", "GET"),
    ("X-HTTP-Method", "OPTIONS"),
    ("X-Method-Override", "OPTIONS"),
    ("Referer", "http://127.0.0.1/"),
    ("Host", "localhost"),
    ("serverIdentity", "security"),
    ("X-Server-Identity", "node"),
    ("Connection", "close, Authorization"),
    ("X-Middleware-Subrequest", "middleware"),
    ("X-Domain-Name", "default"),
    ("X-ConsumerId", "s"),
    ("Origin", "http://127.0.0.1"),
];

fn no_header_skips_the_check(wire: Wire) {
    let (reached, _keys) = reached(wire);
    for (name, value) in HEADERS {
        for target in [format!("{REGISTRY}/microservices"), "/v4/accounts".to_owned()] {
            learns_nothing(&reached, &Request::new("GET", &target).header(name, value));
        }
        // The other way round: the path is open, and the header names one that is not.
        for (open, hidden) in
            [("/version", "/v4/accounts"), ("/health", "/v4/default/registry/microservices")]
        {
            let is_path = name.contains("-UR") || name.contains("Uri") || name.contains("Path");
            let request = Request::new("GET", open).header(name, if is_path { hidden } else { value });
            let text = reached.send(&request).text();
            assert!(!text.contains(SECRET) && !text.contains("\"total\""), "{request:?}: {text}");
        }
    }
    // A method in a header or in the query is none.
    for method in ["POST", "DELETE"] {
        for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
            let target = format!("{REGISTRY}/microservices/s?_method={method}&force=1");
            learns_nothing(&reached, &Request::new("GET", &target).header(name, method));
        }
    }
    for method in ["HEAD", "PATCH", "TRACE", "PROPFIND", "get", "GETS"] {
        let response = reached.send(&Request::new(method, &format!("{REGISTRY}/microservices")));
        assert!(matches!(response.status, 400 | 405), "{method}: {}", response.status);
    }
    let options = reached.send(&Request::new("OPTIONS", &format!("{REGISTRY}/microservices")));
    assert!(!options.text().contains(SECRET));
}

#[test]
fn no_header_or_user_agent_skips_authentication() {
    no_header_skips_the_check(Wire::Http1);
}

#[test]
fn no_header_or_user_agent_skips_authentication_over_http_2() {
    no_header_skips_the_check(Wire::Http2);
}

fn no_path_skips_the_check(wire: Wire) {
    let (reached, _keys) = reached(wire);
    let paths = [
        "/v4/default/registry/microservices",
        "/v4/default/registry/microservices/s",
        "/registry/v3/microservices",
        "/registry/v3/microservices/s",
        "/v4/accounts",
        "/v4/accounts/root",
        "/v4/roles",
        "/v4/account-locks",
    ];
    // Each request over HTTP/2 has a connection and a handshake of its own.
    let (paths, methods) = match wire {
        Wire::Http1 => (&paths[..], &["GET", "POST", "PUT", "DELETE"][..]),
        Wire::Http2 => (&paths[1..2], &["GET", "DELETE"][..]),
    };
    for path in paths {
        let (begin, last) = path.rsplit_once('/').unwrap();
        let mut forms = vec![
            (*path).to_owned(),
            format!("/{path}"),
            format!("//{path}"),
            path.replace('/', "//"),
            path.replace('/', "/./"),
            format!("/version/..{path}"),
            format!("/version/%2e%2e{path}"),
            format!("/version/..;{path}"),
            format!("/version;{path}"),
            format!("/version%2f..{path}"),
            format!("/version/..%2f{}", &path[1..]),
            format!("/v4/token/../..{path}"),
            format!("/v4/token/%2e%2e/%2e%2e{path}"),
            format!("/health/../{path}"),
            format!("/metrics/..{path}"),
            format!("{path}/"),
            format!("{path}//"),
            format!("{path}/."),
            format!("{path}/x/.."),
            format!("{path}."),
            format!("{path};"),
            format!("{path};x=y"),
            format!("{path};/version"),
            format!("{path}/..;/{last}"),
            format!("{path}%20"),
            format!("{path}%00"),
            format!("{path}%0a"),
            format!("{path}%09"),
            format!("{path}?"),
            format!("{path}?/version"),
            format!("{path}?x=/version"),
            format!("{path}%3f/version"),
            format!("{path}%23/version"),
            format!("{path}.json"),
            format!("{path}.html"),
            format!("{path}/version"),
            format!("{path}/../{last}"),
            format!("{begin}/{}", last.to_uppercase()),
            format!("{begin}%2f{last}"),
            format!("{begin}%5c{last}"),
            format!("{begin}/%{:02x}{}", last.as_bytes()[0], &last[1..]),
            format!("{begin}/%25{:02x}{}", last.as_bytes()[0], &last[1..]),
            path.to_uppercase(),
            path.replacen("v4", "V4", 1),
            path.replacen("default", "%64efault", 1),
            path.replacen("default", "version", 1),
            path.replacen("/v4", "/v%34", 1),
            path.replacen("registry", "Registry", 1),
        ];
        let absolute: Vec<_> = ["http://", "https://"]
            .iter()
            .flat_map(|scheme| {
                [format!("{scheme}{}{path}", reached.daemon.address()), format!("{scheme}version{path}")]
            })
            .collect();
        if wire == Wire::Http1 {
            forms.extend(absolute);
        }
        for target in forms {
            for method in methods {
                let request = Request::new(method, &target);
                let request = if *method == "GET" { request } else { request.json(&json!({})) };
                learns_nothing(&reached, &request);
            }
        }
    }
    let service = Request::new("GET", &format!("{REGISTRY}/microservices/s"))
        .header("Authorization", &format!("Bearer {}", token_of("root")));
    done(&reached.send(&service));
}

#[test]
fn no_spelling_of_a_path_skips_authentication() {
    no_path_skips_the_check(Wire::Http1);
}

#[test]
fn no_spelling_of_a_path_skips_authentication_over_http_2() {
    no_path_skips_the_check(Wire::Http2);
}

/// Credentials belong into the header and the body, where no log and no history keeps them.
#[test]
fn credentials_in_a_url_count_for_nothing() {
    let mut daemon = start(with_accounts());
    let nobody = Caller::nobody(&daemon);
    let (address, token) = (daemon.address(), token_of("root"));
    for user in ["root:Root%23Secret1", &format!("root:{token}"), &token] {
        let response = nobody.get(&format!("http://{user}@{address}{REGISTRY}/microservices"));
        assert!(matches!(response.status, 400 | 401), "{user}: {}", response.text());
    }
    let query = "?name=root&username=root&password=Root%23Secret1";
    assert_eq!(code(&nobody.get(&format!("{REGISTRY}/microservices{query}"))), "401204");
    for request in [
        Request::new("POST", &format!("/v4/token{query}")),
        Request::new("POST", "/v4/token")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .bytes("name=root&password=Root%23Secret1"),
        Request::new("GET", &format!("/v4/token{query}")),
    ] {
        let response = nobody.send(request);
        assert_ne!(response.status, 200, "{}", response.text());
        assert!(!response.text().contains("token\":"), "{}", response.text());
    }
    assert!(!daemon.process().log().contains("Secret1") && !daemon.process().log().contains(&token));
}

/// The registry connects to no address that clients write into it.
#[test]
fn the_registry_connects_to_no_registered_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let daemon = start(with_accounts());
    let root = Caller::root(&daemon);
    let url = format!("http://{address}/");
    let texts =
        json!({"url": url, "healthCheckUrl": url, "callback": url, "metrics": url, "statusPageUrl": url});
    let service = json!({"service": {"serviceId": "s", "serviceName": "s", "description": url, "properties": texts,
        "framework": {"name": url, "version": "1"}, "paths": [{"path": url, "property": texts}]}});
    root.post(&format!("{REGISTRY}/microservices"), &service);
    let plain = json!({"service": {"serviceId": "t", "serviceName": "t", "properties": texts}});
    done(&root.post(&format!("{REGISTRY}/microservices"), &plain));
    for (number, scheme) in ["rest", "http", "grpc", "highway", "dubbo", "file", "jdbc"].iter().enumerate() {
        for (mode, port) in [("push", 0), ("pull", address.port())] {
            let instance = json!({"instance": {
                "instanceId": format!("{mode}{number}"), "hostName": url, "endpoints": [format!("{scheme}://{address}")],
                "properties": texts,
                "healthCheck": {"mode": mode, "port": port, "interval": 1, "times": 0, "url": url},
            }});
            root.post(&format!("{REGISTRY}/microservices/t/instances"), &instance);
            root.put(&format!("{REGISTRY}/microservices/t/instances/{mode}{number}/heartbeat"), &json!({}));
        }
    }
    let schema = json!({"schema": format!("{{\"$ref\": \"{url}\"}}"), "summary": url});
    root.put(&format!("{REGISTRY}/microservices/t/schemas/x"), &schema);
    for target in [
        "/instances?appId=default&serviceName=t",
        "/microservices/t/instances",
        "/microservices/t/schemas?withSchema=1",
    ] {
        done(&root.get(&format!("{REGISTRY}{target}")));
    }
    for name in ["X-Forwarded-Host", "Host", "X-Original-URL", "X-Proxy-To", "Referer", "Origin"] {
        root.send(Request::new("GET", "/health").header(name, &address.to_string()));
        root.send(
            Request::new("GET", &format!("{REGISTRY}/instances?appId=default&serviceName=t&url={url}"))
                .header(name, &url),
        );
    }
    root.send(Request::new("CONNECT", &address.to_string()));
    Caller::root(&daemon).get(&format!("http://{address}{REGISTRY}/microservices"));
    let connected = listener.accept();
    assert!(matches!(&connected, Err(error) if error.kind() == ErrorKind::WouldBlock), "{connected:?}");
}

/// No route shows a password, a hash, a key, the environment, a file or the configuration, not even to an admin.
#[test]
fn no_route_shows_configuration_or_secrets() {
    let settings = with_accounts()
        .environment("PLANTED_IN_THE_ENVIRONMENT", "planted-value-1")
        .environment("AWS_SECRET_ACCESS_KEY", "planted-value-2")
        .conf("planted_in_the_configuration", "planted-value-3")
        .yaml("planted.in.the.configuration", json!("planted-value-4"));
    let mut daemon = start(settings);
    let root = Caller::root(&daemon);
    root.create_account("tester", &["developer"]);
    token(&daemon.client(), "tester", PASSWORD);
    root.create_service("s", "", "default", "s");
    let folder = daemon.folder().to_str().unwrap().to_owned();
    let key_line = keys().private.lines().nth(3).unwrap().to_owned();
    let secrets = [
        "planted-value",
        "PLANTED_IN",
        "AWS_SECRET",
        ROOT_PASSWORD,
        PASSWORD,
        "1024$8$1$",
        "PRIVATE KEY",
        &key_line,
        &folder,
        "app.yaml",
        "private.key",
        "SC_INIT_ROOT_PASSWORD",
    ];
    let mut targets: Vec<String> = table(Accounts::On)
        .filter(|route| route.method == Method::Get)
        .map(|route| {
            let path = route
                .path
                .replace("{project}", "default")
                .replace("{name}", "tester")
                .replace("{roleName}", "admin");
            let ids = ["{serviceId}", "{consumerId}", "{providerId}"];
            ids.iter()
                .fold(path, |path, id| path.replace(id, "s"))
                .replace("{instanceId}", "i")
                .replace("{schemaId}", "x")
                .replace("{kind}", "nokind")
                .replace("{id}", "x")
        })
        .collect();
    assert!(targets.len() > 20, "{targets:?}");
    let others = [
        "/",
        "/env",
        "/config",
        "/configs",
        "/actuator/env",
        "/actuator/heapdump",
        "/debug/pprof/",
        "/debug/vars",
        "/nacos/v1/cs/configs",
        "/v4/default/admin/config",
        "/v4/default/registry/config",
        "/.env",
        "/conf/app.conf",
        "/private.key",
        "/../conf/app.conf",
        "/..%2fconf%2fapp.conf",
        "/static/..%2f..%2fconf/app.conf",
        "/swagger",
        "/server-status",
    ];
    targets.extend(others.map(str::to_owned));
    targets.push("/v4/default/admin/dump?options=all,config,env".to_owned());
    for target in &targets {
        for caller in [&root, &Caller::of(&daemon, "tester"), &Caller::nobody(&daemon)] {
            let response = caller.get(target);
            let shown = format!("{:?} {}", response.headers, response.text());
            for secret in secrets {
                // The description of the API may name a variable.
                let is_named = target == "/openapi.json"
                    && !secret.contains("planted")
                    && secret.chars().all(|c| c != '$');
                assert!(is_named || !shown.contains(secret), "{target} shows {secret}: {shown}");
            }
        }
    }
    for target in others {
        let response = root.get(target);
        assert!(matches!(response.status, 400 | 404), "{target}: {}", response.status);
    }
    // Errors quote what the client has sent, and nothing else.
    for body in [json!(null), json!({"name": 1}), json!({"password": ["x"]}), json!("x")] {
        for target in ["/v4/token", "/v4/accounts", "/v4/roles"] {
            let text = root.post(target, &body).text();
            assert!(secrets.iter().all(|secret| !text.contains(secret)), "{target}: {text}");
        }
    }
    let log = daemon.process().log();
    for secret in [ROOT_PASSWORD, PASSWORD, "1024$8$1$", "planted-value-1", "planted-value-2", &key_line] {
        assert!(!log.contains(secret), "the log shows {secret}");
    }
}

/// There is no key or password by default: without files of keys the daemon does not start.
#[test]
fn there_is_no_default_key_and_no_default_account() {
    let finished = Installation::new(with_accounts()).unwrap().run(&[]).unwrap();
    assert_eq!(finished.code, Some(64), "{}", finished.output);
    let daemon = start(Settings::default().yaml("rbac.enable", json!(true)));
    for (name, password) in [
        ("root", ""),
        ("root", "root"),
        ("root", "Complicated_password1"),
        ("admin", "admin"),
        ("nacos", "nacos"),
        ("dev", "dev"),
        ("", ""),
    ] {
        let response = super::log_in(&daemon.client(), name, password);
        assert_eq!(code(&response), "401202", "{name} {password}");
    }
    let accounts = Caller::root(&daemon).get("/v4/accounts").json();
    assert_eq!(accounts.get("total").unwrap_or(&Value::from(0)), &json!(0), "{accounts}");
}

/// Every account and role that can be created can be read, changed and deleted: no name is a part of the API that hides it.
#[test]
fn no_name_is_out_of_reach() {
    let daemon = start(with_accounts());
    let root = Caller::root(&daemon);
    let parts = table(Accounts::On).flat_map(|route| route.path.split('/'));
    let names: std::collections::BTreeSet<&str> =
        parts.filter(|part| !part.is_empty() && !part.contains('{')).collect();
    assert!(names.contains("batch-create") && names.contains("password"));
    for name in names {
        let role = root.post("/v4/roles", &json!({"name": name, "perms": []}));
        let account =
            root.post("/v4/accounts", &json!({"name": name, "password": PASSWORD, "roles": ["developer"]}));
        for (created, of) in [(account, "accounts"), (role, "roles")] {
            let target = format!("/v4/{of}/{name}");
            if created.status == 200 {
                done(&root.get(&target));
                let change = if of == "roles" { json!({"perms": []}) } else { json!({"status": "inactive"}) };
                done(&root.put(&target, &change));
                done(&root.delete(&target));
            } else {
                assert!(["400001", "409201"].contains(&&*code(&created)), "{target}: {}", created.text());
            }
        }
    }
}
