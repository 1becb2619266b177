//! Tokens: forged ones, and those of accounts that have been deleted, changed or switched off.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RSA_PSS_SHA512,
};
use serde_json::{Value, json};
use service_center::rbac::key_pair::generate;

use super::{
    Caller, FAR, PASSWORD, REGISTRY, ROOT_PASSWORD, RS512, becomes, der, keys, log_in, permission, signed,
    signed_with, start, token, token_of, with_accounts,
};
use crate::attack::wire::{Reached, Wire};
use crate::support::etcd::Etcd;
use crate::support::eventually::GENEROUS;
use crate::support::http::Request;
use crate::support::registry::code;
use crate::support::store::on_etcd;

const SERVICES: &str = "/v4/default/registry/microservices";

fn of_root() -> Value {
    json!({"account": "root", "roles": ["admin"], "exp": FAR})
}

/// Signs with what a forger has.
fn with_mac(algorithm: &str, hash: hmac::Algorithm, secret: &[u8]) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#));
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(of_root().to_string()));
    let mac = hmac::sign(&hmac::Key::new(hash, secret), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
}

/// Tokens of somebody who has the public key and any other key, but not the private one.
fn forged() -> Vec<(String, String)> {
    let claims = of_root().to_string();
    let mut forged = Vec::new();
    let mut add = |what: &str, token: String| forged.push((what.to_owned(), token));
    let good = token_of("root");
    let (head, signature) = good.rsplit_once('.').unwrap();
    let payload = head.split_once('.').unwrap().1;
    for algorithm in ["none", "None", "NONE", "nOnE", "", "null", "RS512"] {
        for typ in ["JWT", "none"] {
            let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{algorithm}","typ":"{typ}"}}"#));
            let what = format!("alg {algorithm:?} without a signature");
            add(&what, format!("{header}.{payload}."));
            add(&what, format!("{header}.{payload}"));
            if algorithm != "RS512" {
                add(&what, format!("{header}.{payload}.{signature}"));
            }
        }
    }
    let public = keys().public.clone();
    let public_der = der(&public);
    // Without the header of the structure that names the kind of key.
    let pkcs1 = &public_der[24..];
    let modulus = &pkcs1[9..9 + 256];
    for (algorithm, hash) in [
        ("HS256", hmac::HMAC_SHA256),
        ("HS384", hmac::HMAC_SHA384),
        ("HS512", hmac::HMAC_SHA512),
        ("RS512", hmac::HMAC_SHA512),
    ] {
        for secret in [
            public.as_bytes(),
            public.trim_end().as_bytes(),
            &public_der,
            pkcs1,
            modulus,
            b"",
            b"secret",
            b"key",
        ] {
            add(&format!("{algorithm} with the public key as the secret"), with_mac(algorithm, hash, secret));
        }
    }
    // The key that old releases of some registries have as their default.
    for known in [
        "SecretKey012345678901234567890123456789012345678901234567890123456789",
        "VGhpc0lzTXlDdXN0b21TZWNyZXRLZXkwMTIzNDU2Nzg=",
    ] {
        let decoded = STANDARD.decode(known).unwrap_or_default();
        for secret in [known.as_bytes(), &decoded] {
            for (algorithm, hash) in
                [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
            {
                add("a well-known default key", with_mac(algorithm, hash, secret));
            }
        }
    }
    let other = generate(2048).unwrap();
    let jwk = URL_SAFE_NO_PAD.encode(&der(&other.public)[33..33 + 256]);
    for header in [
        RS512.to_owned(),
        r#"{"alg":"RS512","kid":"../../../../dev/null"}"#.to_owned(),
        r#"{"alg":"RS512","kid":"private.key"}"#.to_owned(),
        r#"{"alg":"RS512","kid":"' OR 1=1 --"}"#.to_owned(),
        r#"{"alg":"RS512","jku":"http://127.0.0.1:1/keys"}"#.to_owned(),
        r#"{"alg":"RS512","x5u":"http://127.0.0.1:1/cert"}"#.to_owned(),
        json!({"alg": "RS512", "jwk": {"kty": "RSA", "n": jwk, "e": "AQAB"}}).to_string(),
        json!({"alg": "RS512", "x5c": [STANDARD.encode(der(&other.public))]}).to_string(),
    ] {
        add("another key", signed_with(&other.private, &header, &claims, &RSA_PKCS1_SHA512));
    }
    // The right key with an algorithm that is not accepted, or another one than the header says.
    let own = |header: &str, encoding| signed_with(&keys().private, header, &claims, encoding);
    add("PS512", own(r#"{"alg":"PS512"}"#, &RSA_PSS_SHA512));
    add("PS256", own(r#"{"alg":"PS256"}"#, &RSA_PSS_SHA256));
    add("PSS under the name RS512", own(RS512, &RSA_PSS_SHA512));
    add("SHA-256 under the name RS512", own(RS512, &RSA_PKCS1_SHA256));
    add("two names", own(r#"{"alg":["RS512","none"]}"#, &RSA_PKCS1_SHA512));
    add("no name", own("{}", &RSA_PKCS1_SHA512));
    add("small letters", own(r#"{"alg":"rs512"}"#, &RSA_PKCS1_SHA512));
    let random = ring::rand::SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let curve = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
    for algorithm in ["ES256", "ES512", "EdDSA", "RS512"] {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{algorithm}"}}"#));
        let signed = format!("{header}.{payload}");
        let signature = curve.sign(&random, signed.as_bytes()).unwrap();
        add("a curve", format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)));
    }
    // A part of a good token is changed.
    let nobody = token_of("nobody");
    let (of_nobody, _) = nobody.rsplit_once('.').unwrap();
    add("the signature of another token", format!("{of_nobody}.{signature}"));
    add("padding", format!("{good}="));
    add("a part more", format!("{good}.{signature}"));
    add("a part less", head.to_owned());
    add("only dots", "..".to_owned());
    add("an empty signature", format!("{head}."));
    add("a zero signature", format!("{head}.{}", URL_SAFE_NO_PAD.encode([0; 256])));
    add("a shorter signature", good[..good.len() - 4].to_owned());
    add("longer than a token", format!("{head}.{}", "A".repeat(9000)));
    forged
}

/// Nothing that is not signed by this registry is a token, also when a good token has just been used.
#[test]
fn forged_tokens_are_rejected() {
    let daemon = start(with_accounts());
    let root = Caller::root(&daemon);
    assert_eq!(root.get(SERVICES).status, 200);
    for (what, token) in forged() {
        let forger = Caller::new(daemon.client(), Some(&token));
        for target in [SERVICES, "/v4/accounts", "/v4/self-perms"] {
            assert_eq!(code(&forger.get(target)), "401201", "{what}: {token}");
        }
    }
    // Other members of the header are not looked at, so they cannot choose a key either.
    let claims = of_root().to_string();
    for (header, encoding) in [
        (r#"{"alg":"RS256"}"#, &RSA_PKCS1_SHA256 as &'static dyn ring::signature::RsaEncoding),
        (r#"{"alg":"RS384"}"#, &RSA_PKCS1_SHA384),
        (r#"{"alg":"RS512","kid":"../../dev/null","jku":"http://127.0.0.1:1"}"#, &RSA_PKCS1_SHA512),
    ] {
        let token = signed_with(&keys().private, header, &claims, encoding);
        assert_eq!(Caller::new(daemon.client(), Some(&token)).get(SERVICES).status, 200, "{header}");
    }
    assert_eq!(root.get(SERVICES).status, 200);

    for (claims, expected) in [
        (json!({"account": "root", "roles": ["admin"]}), "401201"),
        (json!({"account": "root", "roles": ["admin"], "exp": null}), "401201"),
        (json!({"account": "root", "roles": ["admin"], "exp": 0}), "401205"),
        (json!({"account": "root", "roles": ["admin"], "exp": -1}), "401205"),
        (json!({"account": "root", "roles": ["admin"], "exp": 1_600_000_000}), "401205"),
        (json!({"account": "root", "roles": ["admin"], "exp": FAR.to_string()}), "401205"),
        (json!({"account": "root", "roles": ["admin"], "exp": true}), "401205"),
        (json!({"account": "root", "roles": ["admin"], "exp": [FAR]}), "401205"),
        (json!({"account": "root", "roles": ["admin"], "exp": FAR, "nbf": FAR - 1}), "401205"),
        (json!({"account": "root", "roles": ["admin"], "exp": FAR, "iat": FAR - 1}), "401201"),
        (json!({"account": "", "roles": ["admin"], "exp": FAR}), "401206"),
        (json!({"account": ["root"], "roles": ["admin"], "exp": FAR}), "401201"),
        (json!({"account": "Root", "roles": ["admin"], "exp": FAR}), "401206"),
        (json!({"account": "root ", "roles": ["admin"], "exp": FAR}), "401206"),
        (json!({"account": "root\u{0}", "roles": ["admin"], "exp": FAR}), "401206"),
        (json!({"account": "root", "id": "", "roles": ["admin"], "exp": FAR}), "401206"),
        (json!({"account": "root", "id": "another", "roles": ["admin"], "exp": FAR}), "401206"),
        (json!({"account": "root", "id": 1, "roles": ["admin"], "exp": FAR}), "401201"),
        (json!({"account": "root", "roles": [], "exp": FAR}), "401201"),
        (json!({"account": "root", "roles": [1], "exp": FAR}), "401201"),
    ] {
        let caller = Caller::new(daemon.client(), Some(&signed(&claims)));
        assert_eq!(code(&caller.get(SERVICES)), expected, "{claims}");
    }
}

/// Only one header `Authorization` is a place for a token.
fn a_token_has_one_place(wire: Wire) {
    // Over HTTP/2 the daemon is started with certificates, so its keys are written here.
    let folder = tempfile::tempdir().unwrap();
    let (private, public) = (folder.path().join("private.key"), folder.path().join("public.key"));
    std::fs::write(&private, &keys().private).unwrap();
    std::fs::write(&public, &keys().public).unwrap();
    let settings = with_accounts()
        .yaml("rbac.privateKeyFile", json!(private.to_str().unwrap()))
        .yaml("rbac.publicKeyFile", json!(public.to_str().unwrap()));
    let reached = Reached::start(wire, settings);
    let token = token_of("root");
    let bearer = format!("Bearer {token}");
    let check = |request: Request, expected: &str| {
        let response = reached.send(&request);
        assert_eq!(code(&response), expected, "{request:?}: {}", response.text());
    };
    let get = || Request::new("GET", SERVICES);
    check(get().header("Authorization", &bearer), "200");
    check(get().header("authorization", &bearer), "200");
    for query in [
        format!("?token={token}"),
        format!("?access_token={token}"),
        format!("?Authorization={}", bearer.replace(' ', "%20")),
        "?username=root&password=Root%23Secret1".to_owned(),
    ] {
        check(Request::new("GET", &format!("{SERVICES}{query}")), "401204");
    }
    for (name, value) in [
        ("Cookie", format!("token={token}; Authorization={bearer}; access_token={token}")),
        ("X-Auth-Token", token.clone()),
        ("X-Authorization", bearer.clone()),
        ("X-Forwarded-Authorization", bearer.clone()),
        ("Proxy-Authorization", bearer.clone()),
        ("accessToken", token.clone()),
        ("Sec-WebSocket-Protocol", token.clone()),
        ("X-User", "root".to_owned()),
        ("X-Account", "root".to_owned()),
        ("X-Remote-User", "root".to_owned()),
        ("Authorization", String::new()),
    ] {
        check(get().header(name, &value), "401204");
    }
    let basic = STANDARD.encode(format!("root:{ROOT_PASSWORD}"));
    for value in [
        token.clone(),
        format!("Bearer  {token}"),
        format!("Bearer {token} {token}"),
        format!("Bearer {token},{token}"),
        format!("Bearer {token}, Bearer {token}"),
        format!("Basic {basic}"),
        "Bearer".to_owned(),
        "Bearer null".to_owned(),
        "Bearer undefined".to_owned(),
    ] {
        check(get().header("Authorization", &value), "401201");
    }
    for other in [bearer.as_str(), "", "Bearer x", "Basic x"] {
        check(get().header("Authorization", &bearer).header("Authorization", other), "401201");
        check(get().header("Authorization", other).header("authorization", &bearer), "401201");
    }
}

#[test]
fn a_token_counts_only_in_its_header() {
    a_token_has_one_place(Wire::Http1);
}

#[test]
fn a_token_counts_only_in_its_header_over_http_2() {
    a_token_has_one_place(Wire::Http2);
}

/// `rbac.scope` opens routes to those who send no token. A token that is sent is checked all the same.
#[test]
fn a_token_is_checked_on_open_routes_too() {
    let daemon = start(with_accounts().yaml("rbac.scope", json!("role")));
    let nobody = Caller::nobody(&daemon);
    for target in [SERVICES, "/registry/v3/microservices"] {
        assert_eq!(nobody.get(target).status, 200, "{target}");
        let claims = json!({"account": "root", "roles": ["admin"], "exp": 1_600_000_000});
        for (token, expected) in [
            (signed(&claims), "401205"),
            (token_of("nobody"), "401206"),
            (token_of("root").replace("eyJ", "eyK"), "401201"),
            (token_of("root"), "200"),
        ] {
            assert_eq!(code(&Caller::new(daemon.client(), Some(&token)).get(target)), expected, "{target}");
        }
        let twice = Request::new("GET", target).header("Authorization", "").header("Authorization", "");
        assert_eq!(code(&nobody.send(twice)), "401201");
    }
    for target in ["/v4/accounts", "/v4/account-locks", "/v4/roles", "/v4/self-perms"] {
        assert_eq!(code(&nobody.get(target)), "401204", "{target}");
        assert_eq!(Caller::root(&daemon).get(target).status, 200, "{target}");
    }
    assert_eq!(code(&nobody.post("/v4/accounts", &json!({}))), "401204");
    assert_eq!(code(&nobody.post("/v4/accounts/root/password", &json!({}))), "401204");
    // A wrong login says that the rest is open.
    assert_eq!(code(&log_in(&daemon.client(), "root", "Wrong#Pwd1")), "401302");
}

/// A token ends with the account that it was made for, and does not come back with another account of the same name.
#[test]
fn a_token_dies_with_its_account() {
    let daemon = start(with_accounts());
    let (root, client) = (Caller::root(&daemon), daemon.client());
    root.create_account("tester", &["developer"]);
    let first = Caller::new(client.clone(), Some(&token(&client, "tester", PASSWORD)));
    assert_eq!(first.get(SERVICES).status, 200);
    root.delete_account("tester");
    assert_eq!(code(&first.get(SERVICES)), "401206");
    assert_eq!(code(&log_in(&client, "tester", PASSWORD)), "401202");
    root.create_account("tester", &["admin"]);
    assert_eq!(code(&first.get(SERVICES)), "401206");
    assert_eq!(code(&first.get("/v4/self-perms")), "401206");
    let second = Caller::new(client.clone(), Some(&token(&client, "tester", PASSWORD)));
    assert_eq!(second.get("/v4/accounts").status, 200);
    assert_eq!(code(&first.get(SERVICES)), "401206");

    // Switched off, an account can neither log in nor send requests; on again, it can.
    root.change_account("tester", &json!({"status": "inactive"}));
    assert_eq!(code(&second.get(SERVICES)), "403201");
    assert_eq!(code(&log_in(&client, "tester", PASSWORD)), "403201");
    root.change_account("tester", &json!({"status": "active"}));
    assert_eq!(second.get(SERVICES).status, 200);
    // A role that is taken away is gone, whatever the token says.
    root.change_account("tester", &json!({"roles": ["developer"]}));
    assert_eq!(code(&second.get("/v4/accounts")), "403205");
    let claims = json!({"account": "tester", "roles": ["admin"], "exp": FAR});
    assert_eq!(code(&Caller::new(client, Some(&signed(&claims))).get("/v4/accounts")), "403205");
}

/// A body that comes slowly does not keep the rights that its sender had when the head came.
#[test]
fn a_slow_body_keeps_no_rights() {
    let daemon = start(with_accounts());
    let root = Caller::root(&daemon);
    root.create_account("tester", &["developer"]);
    let body = json!({"service": {"serviceId": "late", "serviceName": "late"}}).to_string();
    let (begin, rest) = body.split_at(10);
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut connection = daemon.client().connect().unwrap();
        let head = format!(
            "POST {SERVICES} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            token_of("tester"),
            body.len(),
        );
        connection.send_bytes(head.as_bytes()).unwrap();
        // The head was read when the server asks for the body.
        assert!(!connection.closes_within(GENEROUS));
        connection.send_bytes(begin.as_bytes()).unwrap();
        connections.push(connection);
    }
    root.delete_account("tester");
    for mut connection in connections {
        connection.send_bytes(rest.as_bytes()).unwrap();
        assert_eq!(code(&connection.read_response("POST").unwrap()), "401206");
    }
    assert_eq!(root.get(&format!("{REGISTRY}/microservices/late")).status, 400);
}

/// Two nodes of one store: a change on one of them counts on the other.
#[test]
fn changes_count_on_every_node() {
    let etcd = Etcd::start();
    let nodes = [(); 2].map(|()| start(on_etcd(with_accounts(), &[etcd.address()])));
    let [root, far_root] = nodes.each_ref().map(Caller::root);
    let far = nodes[1].client();
    root.create_role("r", &permission(&["get"], "service", &Value::Null));
    root.create_account("tester", &["r"]);
    root.create_account("other", &["r"]);
    // An account that another node has just created can log in at once, and its token counts at once on the other node.
    let tester = token(&far, "tester", PASSWORD);
    for node in &nodes {
        assert_eq!(Caller::new(node.client(), Some(&tester)).get(SERVICES).status, 200);
    }
    let tester = Caller::new(far.clone(), Some(&tester));
    let other = Caller::of(&nodes[1], "other");
    root.change_role("r", &json!([]));
    becomes(&tester, SERVICES, "403205");
    root.change_role("r", &permission(&["get"], "service", &Value::Null));
    becomes(&tester, SERVICES, "200");
    root.create_role("s", &json!([]));
    root.change_account("tester", &json!({"roles": ["s"]}));
    becomes(&tester, SERVICES, "403205");
    assert_eq!(other.get(SERVICES).status, 200);
    root.change_account("tester", &json!({"roles": ["r"]}));
    becomes(&tester, SERVICES, "200");
    root.change_account("tester", &json!({"status": "inactive"}));
    becomes(&tester, SERVICES, "403201");
    root.change_account("tester", &json!({"status": "active"}));
    becomes(&tester, SERVICES, "200");
    root.delete_account("tester");
    becomes(&tester, SERVICES, "401206");
    root.create_account("tester", &["r"]);
    becomes(&far_root, "/v4/accounts/tester", "200");
    assert_eq!(code(&tester.get(SERVICES)), "401206");
    assert_eq!(other.get(SERVICES).status, 200);
}
