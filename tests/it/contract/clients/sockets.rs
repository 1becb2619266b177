//! Watches and websocket heartbeats as clients use them: frames, pings, closes, and the content of events.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use crate::contract::cases::{Caller, code, ids};
use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::ws::{Frame, WsError};

const V4: &str = "/v4/default/registry";

/// Makes a handshake with the fewest headers that the protocol allows; the head of the answer, and the stream behind it.
fn handshake(address: SocketAddr, target: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(GENEROUS)).unwrap();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    (String::from_utf8(head).unwrap(), stream)
}

/// Reads one frame: its first byte, whether it is masked, and its payload.
fn frame(stream: &mut TcpStream) -> (u8, bool, Vec<u8>) {
    let mut read = |count: usize| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).unwrap();
        bytes
    };
    let head = read(2);
    let length = match head[1] & 0x7F {
        126 => read(2).iter().fold(0, |length, &byte| length << 8 | usize::from(byte)),
        127 => read(8).iter().fold(0, |length, &byte| length << 8 | usize::from(byte)),
        short => usize::from(short),
    };
    (head[0], head[1] & 0x80 != 0, read(length))
}

/// A provider, and a consumer that depends on it.
struct Pair {
    caller: Caller,
    provider: String,
    consumer: String,
}

impl Pair {
    #[track_caller]
    fn new(daemon: &Daemon) -> Self {
        let caller = Caller::of(daemon);
        let provider = caller.service(json!({
            "serviceName": "p", "version": "1.2.3", "appId": "app", "environment": "testing", "alias": "app:p",
        }));
        let consumer = caller.service(json!({"serviceName": "c", "appId": "app", "environment": "testing"}));
        caller.consumer(&consumer).find("appId=app&serviceName=p");
        eventually(GENEROUS, || {
            let providers = caller.get(&format!("/microservices/{consumer}/providers")).json();
            providers["providers"][0]["serviceId"] == provider.as_str()
        });
        Self { caller, provider, consumer }
    }

    fn watcher(&self) -> String {
        format!("/microservices/{}/watcher", self.consumer)
    }

    /// The find that a client sends after an event: the instances and the revision.
    fn pull(&self) -> (Value, String) {
        let response = self.caller.consumer(&self.consumer).get("/instances?appId=app&serviceName=p");
        assert_eq!(response.status, 200);
        (response.json()["instances"].clone(), response.joined_header("X-Resource-Revision").unwrap())
    }
}

/// Some clients read frames instead of messages, and refuse a handshake that grants an extension they did not ask for.
#[test]
fn events_are_whole_text_frames() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let pair = Pair::new(&daemon);
    let (head, mut stream) = handshake(daemon.address(), &format!("{V4}{}", pair.watcher()));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let small = head.to_ascii_lowercase();
    assert!(small.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
    for unasked in
        ["sec-websocket-protocol", "sec-websocket-extensions", "content-length", "transfer-encoding"]
    {
        assert!(!small.contains(unasked), "{head}");
    }
    let properties = json!({"p": "x".repeat(4000)});
    for number in 0..3 {
        let id = format!("i{number}");
        let document = json!({"instanceId": id, "hostName": "h", "properties": properties});
        pair.caller.instance(&pair.provider, document);
        let (first, is_masked, payload) = frame(&mut stream);
        // A text message of one frame.
        assert_eq!((first, is_masked), (0x81, false));
        let event: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!((&event["action"], &event["instance"]["instanceId"]), (&json!("CREATE"), &json!(id)));
        assert_eq!(event["instance"]["properties"], properties);
    }
}

/// Each event has the key and the instance, because clients read them without a check. When an event has come, a find shows the change with
/// a new revision.
#[test]
fn a_find_shows_what_an_event_tells() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let pair = Pair::new(&daemon);
    let caller = &pair.caller;
    let mut socket = caller.socket(&pair.watcher()).unwrap();
    let at = format!("/microservices/{}/instances/i", pair.provider);
    let mut revision = pair.pull().1;
    let mut told = |action: &str, check: &dyn Fn(&Value)| {
        let event = socket.expect_json(GENEROUS).unwrap();
        let (found, now) = pair.pull();
        assert_eq!(event["action"], action);
        let key = json!({
            "tenant": "default/default", "environment": "testing", "appId": "app", "serviceName": "p",
            "alias": "app:p", "version": "1.2.3",
        });
        assert_eq!(event["key"], key);
        let instance = &event["instance"];
        assert_eq!((&instance["instanceId"], &instance["serviceId"]), (&json!("i"), &json!(pair.provider)));
        assert_eq!(instance["version"], "1.2.3");
        if action == "DELETE" {
            assert_eq!(ids(&found, "instanceId"), [""; 0]);
        } else {
            assert_eq!(found, json!([instance]));
        }
        check(instance);
        assert_ne!(now, revision, "{action}");
        revision = now;
    };
    for _ in 0..5 {
        caller.instance(
            &pair.provider,
            json!({"instanceId": "i", "hostName": "h", "endpoints": ["rest://1:1"]}),
        );
        told("CREATE", &|instance| assert_eq!(instance["status"], "UP"));
        assert_eq!(code(&caller.send("PUT", &format!("{at}/status?value=DOWN"), None)), "200");
        told("UPDATE", &|instance| assert_eq!(instance["status"], "DOWN"));
        assert_eq!(code(&caller.put(&format!("{at}/properties"), &json!({"properties": {"a": "b"}}))), "200");
        told("UPDATE", &|instance| assert_eq!(instance["properties"], json!({"a": "b"})));
        // The instance is registered again with other endpoints, which is a change.
        caller.instance(
            &pair.provider,
            json!({"instanceId": "i", "hostName": "h", "endpoints": ["rest://1:2"]}),
        );
        told("UPDATE", &|instance| assert_eq!(instance["endpoints"], json!(["rest://1:2"])));
        assert_eq!(code(&caller.delete(&at)), "200");
        told("DELETE", &|instance| assert_eq!(instance["endpoints"], json!(["rest://1:2"])));
    }
}

/// Clients that never write rely on the pings of the server. Other clients send pings, and close the connection if the pong has another
/// payload.
#[test]
fn pings_go_both_ways() {
    let daemon =
        Daemon::start(Settings::default().yaml("heartbeat.websocket.pingInterval", json!("1s"))).unwrap();
    let pair = Pair::new(&daemon);
    let caller = &pair.caller;
    caller.instance(&pair.provider, json!({"instanceId": "i", "hostName": "h"}));
    let heartbeat = format!("/microservices/{}/instances/i/heartbeat", pair.provider);
    let mut socket = caller.socket(&heartbeat).unwrap();
    for _ in 0..3 {
        // The client answers each ping, which counts as a heartbeat.
        assert!(matches!(socket.next_frame(GENEROUS).unwrap(), Frame::Ping(_)));
    }
    for path in [heartbeat, pair.watcher()] {
        let mut socket = caller.socket(&path).unwrap();
        socket.ping(b"sixty seconds").unwrap();
        let pong = eventually(GENEROUS, || match socket.next_frame(GENEROUS) {
            Ok(Frame::Ping(_)) => Err("a ping came first".to_owned()),
            other => Ok(other),
        });
        assert_eq!(pong.unwrap(), Frame::Pong(b"sixty seconds".to_vec()), "{path}");
    }
}

/// Clients act on these ends: close code 4001 means "register again". For an unknown service they get a text, and no close frame.
#[test]
fn sessions_end_as_clients_expect() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let pair = Pair::new(&daemon);
    let caller = &pair.caller;
    for service in [pair.provider.as_str(), "none"] {
        let mut socket =
            caller.socket(&format!("/microservices/{service}/instances/none/heartbeat")).unwrap();
        match socket.next_frame(GENEROUS).unwrap() {
            Frame::Close(Some((code, reason))) => {
                assert_eq!(code, 4001);
                assert!(reason.contains("instance does not exist"), "{reason}");
            }
            other => panic!("want a close, got {other:?}"),
        }
    }
    let mut socket = caller.socket("/microservices/none/watcher").unwrap();
    assert!(socket.expect_text(GENEROUS).unwrap().contains("service does not exist"));
    assert!(matches!(socket.next_frame(GENEROUS), Err(WsError::Dropped(_))));

    // The bytes are one text frame, and then the connection ends.
    let (head, mut stream) = handshake(daemon.address(), &format!("{V4}/microservices/none/watcher"));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(frame(&mut stream), (0x81, false, b"service does not exist".to_vec()));
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
}

/// Many idle watchers, and then one event for each. The memory is printed and not judged, because the allocator decides when it returns
/// memory.
#[test]
#[expect(clippy::print_stdout, reason = "the measurement is for who runs the test")]
fn two_and_a_half_thousand_idle_sockets() {
    const SOCKETS: usize = 2500;
    let mut daemon = Daemon::start(Settings::default()).unwrap();
    let pair = Pair::new(&daemon);
    let before = daemon.process().resident_memory();
    let target = format!("{V4}{}", pair.watcher());
    let address = daemon.address();
    let mut sockets: Vec<TcpStream> = (0..SOCKETS).map(|_| handshake(address, &target).1).collect();
    let grown = daemon.process().resident_memory().saturating_sub(before);
    println!("{SOCKETS} idle watchers: {} bytes each", grown * 1024 / SOCKETS);
    // Other clients are served as before.
    assert_eq!(pair.pull().0, Value::Null);
    pair.caller.instance(&pair.provider, json!({"instanceId": "i", "hostName": "h"}));
    for socket in &mut sockets {
        // Pings come first if the handshakes took long.
        let mut frames = std::iter::repeat_with(|| frame(socket));
        let (first, _, payload) = frames.find(|(first, ..)| *first != 0x89).unwrap();
        assert_eq!(first, 0x81);
        let event: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!((&event["action"], &event["instance"]["instanceId"]), (&json!("CREATE"), &json!("i")));
    }
    drop(sockets);
    assert_eq!(ids(&pair.pull().0, "instanceId"), ["i"]);
}
