//! What a daemon answers below `/console`.

use serde_json::json;

use super::files;
use crate::access;
use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Client, Request, Response};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

fn page(client: &Client) -> Response {
    let page = client.get("/console/").unwrap();
    assert_eq!(page.status, 200, "{}", page.text());
    page
}

/// The path that the page gives to its files.
fn assets(page: &Response) -> String {
    let page = page.text();
    let (_, from) = page.split_once("\"assets/").unwrap();
    let (hash, _) = from.split_once('/').unwrap();
    assert!(hash.len() == 16 && hash.chars().all(|digit| digit.is_ascii_hexdigit()), "{hash}");
    format!("/console/assets/{hash}")
}

fn with(client: &Client, target: &str, name: &str, value: &str) -> Response {
    client.send(&Request::new("GET", target).header(name, value)).unwrap()
}

#[test]
fn the_page_allows_nothing_from_elsewhere_and_is_never_kept() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let page = page(&daemon.client());
    for (name, value) in [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Cache-Control", "no-store"),
        ("Content-Security-Policy", POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ] {
        assert_eq!(page.header(name), Some(value), "{name}");
    }
    let text = page.text();
    for value in ["data-accounts=\"off\"", &format!("data-version=\"{}\"", env!("CARGO_PKG_VERSION"))] {
        assert!(text.contains(value), "{value} is not in {text}");
    }
    assert!(text.contains(&format!("data-node=\"{}\"", daemon.address())), "{text}");
    // Below another path of a proxy, an absolute address would be wrong.
    for address in text.split("src=\"").skip(1).chain(text.split("href=\"").skip(1)) {
        assert!(address.starts_with("assets/"), "{address}");
    }
    assert!(!text.contains('{'), "a value is not filled in: {text}");
}

#[test]
fn each_file_is_served_packed_and_plain_and_may_be_kept_for_good() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let client = daemon.client();
    let assets = assets(&page(&client));
    for (path, content) in files::assets() {
        let target = format!("{assets}/{path}");
        let plain = client.get(&target).unwrap();
        assert_eq!((plain.status, plain.header("Content-Encoding")), (200, None), "{path}");
        assert!(plain.body == content, "{path} has other content");
        let kind = match path.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "text/plain; charset=utf-8",
        };
        assert_eq!(plain.header("Content-Type"), Some(kind), "{path}");
        // The second answer is what the first has compressed.
        for _ in 0..2 {
            let packed = with(&client, &target, "Accept-Encoding", "gzip");
            let encoding = (content.len() >= 1400).then_some("gzip");
            assert_eq!((packed.status, packed.header("Content-Encoding")), (200, encoding), "{path}");
            assert!(packed.decoded_body().unwrap() == content, "{path} has other content if it is packed");
            assert!(packed.header("Vary").is_some_and(|vary| vary.contains("Accept-Encoding")), "{path}");
        }
        for (name, value) in [
            ("Cache-Control", Some("public, max-age=31536000, immutable")),
            ("X-Content-Type-Options", Some("nosniff")),
            ("Cross-Origin-Resource-Policy", Some("same-origin")),
            ("ETag", None),
        ] {
            assert_eq!(plain.header(name), value, "{path} {name}");
        }
    }
}

#[test]
fn another_hash_path_or_method_finds_nothing() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let client = daemon.client();
    let assets = assets(&page(&client));
    for target in [
        "/console/x".to_owned(),
        "/console/index.html".to_owned(),
        "/console/app.js".to_owned(),
        "/console/assets/".to_owned(),
        "/console/assets/app.js".to_owned(),
        "/console/assets/0123456789abcdef/app.js".to_owned(),
        format!("{}/app.js", assets.to_uppercase().replace("/CONSOLE/ASSETS", "/console/assets")),
        assets.clone(),
        format!("{assets}/"),
        format!("{assets}/index.html"),
        format!("{assets}/vendor/README.md"),
        format!("{assets}/vendor"),
        format!("{assets}/app.js/"),
        format!("{assets}/APP.JS"),
        format!("{assets}/ui%2Ftable.js"),
        format!("{assets}/ui/..%2fapp.js"),
        format!("{assets}/%2e%2e/app.js"),
        format!("{assets}/../../../conf/app.conf"),
        format!("{assets}/..%2f..%2fconf/app.conf"),
        format!("{assets}//etc/passwd"),
    ] {
        let answer = client.get(&target).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (404, "404 page not found\n"), "{target}");
        assert_eq!(answer.header("Cache-Control").unwrap_or("no-store"), "no-store", "{target}");
    }
    // As on each other path, `.` and `//` are cleaned.
    assert_eq!(client.get(&format!("{assets}//./app.js")).unwrap().status, 200);
    for target in ["/console", "/console/", &format!("{assets}/app.js")] {
        for method in ["HEAD", "POST", "PUT", "DELETE"] {
            let answer = client.send(&Request::new(method, target)).unwrap();
            assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET")), "{method} {target}");
        }
    }
}

#[test]
fn the_folder_leads_to_the_page_wherever_a_proxy_puts_it() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let answer = daemon.client().get("/console").unwrap();
    assert_eq!((answer.status, answer.header("Location"), answer.body.len()), (307, Some("console/"), 0));
}

#[test]
fn no_page_of_another_origin_may_read_it() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let client = daemon.client();
    let file = format!("{}/app.js", assets(&page(&client)));
    for target in ["/console", "/console/", &file] {
        let answer = with(&client, target, "Origin", "https://elsewhere.example");
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None, "{target}");
    }
}

/// Nodes with the same program give the files the same addresses.
#[test]
fn the_addresses_of_files_are_those_of_their_content() {
    let [one, other] = [(); 2].map(|()| Daemon::start(Settings::default()).unwrap());
    assert_eq!(assets(&page(&one.client())), assets(&page(&other.client())));
}

fn offers_writes(page: &Response) -> bool {
    let text = page.text();
    let offers = text.contains("data-writable=\"yes\"");
    assert_ne!(offers, text.contains("data-writable=\"no\""), "{text}");
    offers
}

#[test]
fn without_accounts_it_writes_only_from_the_machine_itself() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let client = daemon.client();
    assert!(offers_writes(&page(&client)));
    for name in ["Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP", "Via"]
    {
        let page = with(&client, "/console/", name, "10.0.0.1");
        assert!(!offers_writes(&page), "{name}");
    }
}

#[test]
fn the_configuration_decides_whether_it_writes() {
    for (value, expected) in [("true", true), ("false", false)] {
        let daemon = Daemon::start(Settings::default().conf("console.writable", value)).unwrap();
        let client = daemon.client();
        assert_eq!(offers_writes(&page(&client)), expected, "{value}");
        assert_eq!(
            offers_writes(&with(&client, "/console/", "X-Forwarded-For", "10.0.0.1")),
            expected,
            "{value}"
        );
    }
}

#[test]
fn with_accounts_the_page_is_open_and_writes_what_the_account_may() {
    let daemon = access::start(access::with_accounts());
    let client = daemon.client();
    let forwarded = with(&client, "/console/", "X-Forwarded-For", "10.0.0.1");
    assert!(
        offers_writes(&forwarded) && forwarded.text().contains("data-accounts=\"on\""),
        "{}",
        forwarded.text()
    );
    let file = format!("{}/app.js", assets(&page(&client)));
    assert_eq!(client.get(&file).unwrap().status, 200);
}

/// The page needs many files, and a rejected one would leave it half loaded.
#[test]
fn its_files_do_not_count_for_the_rate_of_a_client() {
    let settings = Settings::default().conf("server.limit.connections", "2").conf("server.limit.unit", "h");
    let daemon = Daemon::start(settings).unwrap();
    let client = daemon.client();
    let file = format!("{}/app.js", assets(&page(&client)));
    for target in ["/console", "/console/", &file] {
        for _ in 0..3 {
            assert!(matches!(client.get(target).unwrap().status, 200 | 307), "{target}");
        }
    }
    let statuses = [(); 3].map(|()| client.get("/v4/default/registry/microservices").unwrap().status);
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn it_can_be_turned_off() {
    let mut daemon = Daemon::start(Settings::default().yaml("console.enable", json!(false))).unwrap();
    let client = daemon.client();
    for target in ["/console", "/console/", "/console/assets/0/app.js"] {
        assert_eq!(client.get(target).unwrap().status, 404, "{target}");
    }
    let paths = client.get("/openapi.json").unwrap().json()["paths"].clone();
    assert!(paths.as_object().unwrap().keys().all(|path| !path.contains("console")));
    assert!(!daemon.process().log().contains("console"), "{}", daemon.process().log());
}

#[test]
fn the_log_says_where_it_is() {
    let mut daemon = Daemon::start(Settings::default()).unwrap();
    let url = format!("http://{}/console/", daemon.address());
    // The daemon is ready before it logs.
    eventually(GENEROUS, || daemon.process().log().contains(&format!("the web console is at {url}")));
}
