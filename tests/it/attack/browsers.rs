//! What a page of another origin can make a browser do. `chromium.txt` holds requests as Chromium 156.0.8078.108 sends them for
//! forms, `fetch`, `XMLHttpRequest`, `sendBeacon`, images and websockets; the tests send these to a daemon.

use serde_json::json;

use super::wire::{Reached, Wire};
use crate::support::daemon::Settings;
use crate::support::http::{Request, Response};

const CHROMIUM: &str = include_str!("chromium.txt");
/// The server and the page in these requests.
const SERVER: &str = "127.0.0.3:30100";
const PAGE: &str = "http://127.0.0.2:30100";

const SERVICES: &str = "/v4/default/registry/microservices";

/// A recorded request.
struct Recorded {
    /// What the page did.
    name: &'static str,
    request: Request,
}

impl Recorded {
    fn read(text: &'static str) -> Self {
        let (name, text) = text.split_once('\n').unwrap();
        let (head, body) = text.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let method = lines.next().unwrap().strip_suffix(" /x HTTP/1.1").unwrap();
        let mut request = Request::new(method, "/x");
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let length = value(&request, "Content-Length").map_or(0, |length| length.parse().unwrap());
        if length > 0 {
            let mut body = body.replace('\n', "\r\n").into_bytes();
            body.truncate(length);
            assert_eq!(body.len(), length, "{name}");
            request = request.bytes(body);
        }
        Self { name, request }
    }

    fn origin(&self) -> Option<&str> {
        value(&self.request, "Origin")
    }

    fn is_preflight(&self) -> bool {
        self.request.method == "OPTIONS"
    }

    fn changes(&self) -> bool {
        !matches!(self.request.method.as_str(), "GET" | "OPTIONS")
    }

    /// The request as the browser sends it to this daemon, for this target. A body is replaced unless the recorded one does what
    /// the page wants: the form of text does.
    fn to(&self, reached: &Reached, target: &str, body: &str) -> Request {
        let mut request = self.request.clone();
        request.target = target.to_owned();
        let address = reached.daemon.address().to_string();
        let origin = reached.origin();
        for (_, value) in &mut request.headers {
            *value = value.replace(&format!("http://{SERVER}"), &origin).replace(SERVER, &address);
        }
        if request.body.is_some() && self.name != "form-text" {
            request.headers.retain(|(name, _)| name != "Content-Length");
            request.body = Some(body.as_bytes().to_vec());
        }
        request
    }
}

fn value<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    request.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
}

fn recorded() -> Vec<Recorded> {
    let all: Vec<Recorded> = CHROMIUM.split("\n== ").skip(1).map(Recorded::read).collect();
    assert!(all.len() > 20, "{}", all.len());
    all
}

/// The recorded requests of pages of this origin.
fn of_pages_at(origin: &str) -> Vec<Recorded> {
    recorded().into_iter().filter(|one| one.origin() == Some(origin)).collect()
}

/// A daemon with a service that pages want to change, and whose id is `victim`.
struct Scene(Reached);

impl Scene {
    fn start(wire: Wire, settings: Settings) -> Self {
        let scene = Self(Reached::start(wire, settings));
        scene.create("victim");
        scene
    }

    fn create(&self, id: &str) {
        let service = json!({"service": {"serviceId": id, "serviceName": id}});
        let answer = self.0.send(&Request::new("POST", SERVICES).json(&service));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Names and properties of all services.
    fn services(&self) -> Vec<String> {
        let answer = self.0.send(&Request::new("GET", &format!("{SERVICES}?noCache=1")));
        let services = answer.json()["services"].as_array().unwrap().clone();
        let mut shown: Vec<String> = services
            .iter()
            .map(|service| format!("{} {}", service["serviceName"], service["properties"]))
            .collect();
        shown.sort();
        shown
    }

    /// Sends a recorded request to a target that it would change.
    fn send(&self, one: &Recorded) -> Response {
        let (target, body) = match asked(&one.request) {
            "PUT" => {
                (format!("{SERVICES}/victim/properties"), r#"{"properties":{"forged":"yes"}}"#.to_owned())
            }
            "DELETE" => (format!("{SERVICES}/victim?force=1"), String::new()),
            "PATCH" => (format!("{SERVICES}/victim"), "{}".to_owned()),
            _ => (SERVICES.to_owned(), json!({"service": {"serviceName": one.name}}).to_string()),
        };
        self.0.send(&one.to(&self.0, &target, &body))
    }
}

/// The method of a request, or the method that a preflight asks for.
fn asked(request: &Request) -> &str {
    value(request, "Access-Control-Request-Method").unwrap_or(&request.method)
}

/// The headers of CORS in an answer.
fn granted(answer: &Response) -> Vec<String> {
    let is_cors = |name: &str| name.to_ascii_lowercase().starts_with("access-control-");
    let found = answer.headers.iter().filter(|(name, _)| is_cors(name));
    let mut granted: Vec<String> =
        found.map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase())).collect();
    granted.sort();
    granted
}

#[track_caller]
fn assert_forbidden(answer: &Response, about: &str) {
    assert_eq!(answer.status, 403, "{about}: {}", answer.text());
    assert_eq!(answer.json()["errorCode"], "403001", "{about}");
    assert!(answer.text().contains("server.cors.origins"), "{about}: {}", answer.text());
}

#[test]
fn a_foreign_page_changes_nothing() {
    foreign_changes(Wire::Http1);
}

#[test]
fn a_foreign_page_changes_nothing_over_http_2() {
    foreign_changes(Wire::Http2);
}

/// Every way in which a page can send a request that changes something is refused, whatever the content type. The browser sends most of them
/// without a preflight. A preflight is not granted.
fn foreign_changes(wire: Wire) {
    let scene = Scene::start(wire, Settings::default());
    let before = scene.services();
    let (mut changes, mut preflights) = (0, 0);
    for one in recorded().iter().filter(|one| matches!(one.origin(), Some(PAGE | "null"))) {
        if one.changes() {
            let answer = scene.send(one);
            assert_forbidden(&answer, one.name);
            assert_eq!(granted(&answer), [""; 0], "{}", one.name);
            changes += 1;
        } else if one.is_preflight() && asked(&one.request) != "GET" {
            let answer = scene.send(one);
            assert_eq!((answer.status, granted(&answer)), (200, Vec::new()), "{}", one.name);
            preflights += 1;
        }
    }
    assert_eq!(scene.services(), before);
    assert_eq!((changes, preflights), (13, 4), "the recorded requests");
}

#[test]
fn a_listed_page_and_a_page_of_the_server_may_change() {
    trusted_changes(Wire::Http1);
}

#[test]
fn a_listed_page_and_a_page_of_the_server_may_change_over_http_2() {
    trusted_changes(Wire::Http2);
}

fn trusted_changes(wire: Wire) {
    let scene = Scene::start(wire, Settings::default().yaml("server.cors.origins", json!(PAGE)));
    let own = scene.0.origin();
    for one in of_pages_at(PAGE).iter().chain(&of_pages_at(&format!("http://{SERVER}"))) {
        let is_patch = asked(&one.request) == "PATCH";
        let origin = if one.origin() == Some(PAGE) { PAGE } else { &own };
        if one.is_preflight() && !is_patch && asked(&one.request) != "GET" {
            let answer = scene.send(one);
            let expected = format!("access-control-allow-origin: {origin}");
            assert_eq!(answer.status, 200, "{}", one.name);
            assert!(granted(&answer).contains(&expected), "{}: {:?}", one.name, granted(&answer));
            assert!(answer.header("Vary").is_some_and(|vary| vary.contains("Origin")), "{}", one.name);
        } else if one.changes() {
            let answer = scene.send(one);
            // No route takes PATCH.
            let expected = if is_patch { 405 } else { 200 };
            assert_eq!(answer.status, expected, "{}: {}", one.name, answer.text());
            if !is_patch {
                let expected = format!("access-control-allow-origin: {origin}");
                assert!(granted(&answer).contains(&expected), "{}: {:?}", one.name, granted(&answer));
            }
            if one.request.method == "DELETE" {
                scene.create("victim");
            }
        }
    }
    // A page with the origin `null` is not trusted.
    for one in of_pages_at("null") {
        assert_forbidden(&scene.send(&one), one.name);
    }
    let services = scene.services().join("\n");
    for part in ["fetch-json", "beacon", "\"forged\"", "own-post", "{\"forged\":\"yes\"}"] {
        assert!(services.contains(part), "{part} in {services}");
    }
}

#[test]
fn any_page_may_read_while_accounts_are_off() {
    reads(Wire::Http1);
}

#[test]
fn any_page_may_read_while_accounts_are_off_over_http_2() {
    reads(Wire::Http2);
}

fn reads(wire: Wire) {
    let scene = Scene::start(wire, Settings::default());
    let (read, expose) = (
        "access-control-allow-origin: *",
        "access-control-expose-headers: X-Resource-Revision, X-Schema-Summary, X-Request-Id",
    );
    for one in recorded().iter().filter(|one| !one.changes() && asked(&one.request) == "GET") {
        if one.name.ends_with("websocket") {
            continue;
        }
        let answer = scene.send(one);
        let expected = match (one.is_preflight(), one.origin()) {
            (true, _) => {
                vec!["access-control-allow-headers: Authorization", "access-control-allow-methods: GET", read]
            }
            (false, Some(_)) => vec![read, expose],
            // The browser hides the answer from the page, or the page is one of the server.
            (false, None) => Vec::new(),
        };
        let mut granted = granted(&answer);
        granted.sort();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(
            (answer.status, granted),
            (200, expected.into_iter().map(str::to_owned).collect()),
            "{}",
            one.name
        );
    }
    // Only pages of the server may read the routes that the original does not have.
    for target in [
        "/v4/default/admin/expiries",
        "/v4/default/admin/events",
        "/v4/default/admin/nodes",
        "/v4/default/admin/diagnose",
        "/v4/default/prometheus/targets",
    ] {
        let read = Request::new("GET", target).header("Origin", PAGE);
        let answer = scene.0.send(&read);
        assert_eq!((answer.status, granted(&answer)), (200, Vec::new()), "{target}");
        let mut preflight = read.header("Access-Control-Request-Method", "GET");
        preflight.method = "OPTIONS".to_owned();
        let answer = scene.0.send(&preflight);
        assert_eq!((answer.status, granted(&answer)), (200, Vec::new()), "{target}");
    }
}

/// A websocket begins with a GET, which no CORS header can keep a page from. A watch only reads, but pongs renew a lease.
#[test]
fn a_foreign_page_may_watch_and_not_beat() {
    let scene = Scene::start(Wire::Http1, Settings::default());
    let instance =
        json!({"instance": {"instanceId": "i", "hostName": "h", "endpoints": ["rest://10.0.0.1:80"]}});
    let registered =
        scene.0.send(&Request::new("POST", &format!("{SERVICES}/victim/instances")).json(&instance));
    assert_eq!(registered.status, 200, "{}", registered.text());
    let watch = format!("{SERVICES}/victim/watcher");
    let beat = format!("{SERVICES}/victim/instances/i/heartbeat");
    let open = |name: &str, target: &str| {
        let all = recorded();
        let one = all.iter().find(|one| one.name == name).unwrap();
        scene.0.send(&one.to(&scene.0, target, ""))
    };
    assert_eq!(open("websocket", &watch).status, 101);
    assert_forbidden(&open("websocket", &beat), "a heartbeat");
    assert_eq!(open("own-websocket", &watch).status, 101);
    assert_eq!(open("own-websocket", &beat).status, 101);
    // A GET of the path without an upgrade is refused as well.
    assert_forbidden(&scene.0.send(&Request::new("GET", &beat).header("Origin", PAGE)), "no upgrade");
}

/// Different spellings of the origin, and other values in its place.
#[test]
fn an_origin_is_compared_as_browsers_compare_it() {
    let scene = Scene::start(
        Wire::Http1,
        Settings::default().yaml("server.cors.origins", json!("http://portal.example")),
    );
    let address = scene.0.daemon.address();
    let port = address.port();
    let ask = |host: &str, origins: &[&str]| {
        let mut request = Request::new("PUT", &format!("{SERVICES}/victim/properties"))
            .header("Host", host)
            .json(&json!({"properties": {}}));
        for origin in origins {
            request = request.header("Origin", origin);
        }
        scene.0.send(&request).status
    };
    let host = address.to_string();
    for origin in [
        "http://portal.example",
        "HTTP://Portal.Example:80",
        &format!("http://{host}"),
        &format!("HTTP://{host}"),
    ] {
        assert_eq!(ask(&host, &[origin]), 200, "{origin}");
    }
    for origin in [
        "",
        "null",
        "http://portal.example.",
        "https://portal.example",
        "http://portal.example/",
        "http://portal.example http://portal.example",
        &format!("https://{host}"),
        &format!("http://{}", address.ip()),
        &format!("http://{}:{}", address.ip(), port ^ 1),
    ] {
        assert_eq!(ask(&host, &[origin]), 403, "{origin:?}");
    }
    assert_eq!(ask(&host, &[]), 200, "no browser");
    assert_eq!(ask(&host, &["http://portal.example", "http://portal.example"]), 403, "two");
    for (name, origin) in [
        (format!("LOCALHOST:{port}"), format!("http://localhost:{port}")),
        (format!("[::1]:{port}"), format!("http://[::1]:{port}")),
        (format!("h.:{port}"), format!("http://h.:{port}")),
        ("h".to_owned(), "http://h:80".to_owned()),
        ("h:80".to_owned(), "http://h".to_owned()),
    ] {
        assert_eq!(ask(&name, &[&origin]), 200, "{name}");
        assert_eq!(ask("other", &[&origin]), 403, "{name}");
    }
}
