//! Watches and websocket heartbeats: which events are pushed, and how a session ends.

use serde_json::{Value, json};

use super::{Caller, daemon};
use crate::support::daemon::Settings;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::ws::{Frame, WebSocket};

/// A consumer of the service `p` in `default`, and the socket on which it watches.
#[track_caller]
pub(super) fn watching(caller: &Caller) -> WebSocket {
    let consumer = caller.service(json!({"serviceName": "c"}));
    caller.consumer(&consumer).find("appId=default&serviceName=p");
    eventually(GENEROUS, || {
        let providers = caller.get(&format!("/microservices/{consumer}/providers")).json();
        providers["providers"][0]["serviceName"] == "p"
    });
    caller.socket(&format!("/microservices/{consumer}/watcher")).unwrap()
}

#[track_caller]
pub(super) fn event(socket: &mut WebSocket) -> Value {
    socket.expect_json(GENEROUS).unwrap()
}

/// 227: a dependency covers all versions, also later ones.
#[test]
fn instances_of_later_versions_are_pushed() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    caller.service(json!({"serviceName": "p", "version": "1.0.0"}));
    let mut socket = watching(&caller);
    let later = caller.service(json!({"serviceName": "p", "version": "2.0.0"}));
    let instance = caller.instance(&later, json!({"hostName": "h"}));
    let event = event(&mut socket);
    assert_eq!(event["action"], "CREATE");
    assert_eq!(event["key"]["version"], "2.0.0");
    assert_eq!(
        (&event["instance"]["instanceId"], &event["instance"]["version"]),
        (&json!(instance), &json!("2.0.0"))
    );
}

/// 230: messages of a client have no meaning here. Up to 64 bytes are dropped, and a longer message ends the session with 1009.
#[test]
fn a_long_message_is_too_much() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let provider = caller.service(json!({"serviceName": "p"}));
    let mut socket = watching(&caller);
    socket.send_text(&"x".repeat(64)).unwrap();
    let instance = caller.instance(&provider, json!({"hostName": "h"}));
    assert_eq!(event(&mut socket)["instance"]["instanceId"], instance);
    socket.send_text(&"x".repeat(65)).unwrap();
    assert!(matches!(socket.next_data(GENEROUS), Ok(Frame::Close(Some((1009, _))))));
}

/// 233: a pong is a heartbeat. When the instance is gone, the next pong is answered with the close code that clients know.
#[test]
fn a_pong_for_a_removed_instance_ends_the_session() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let service = caller.service(json!({"serviceName": "p"}));
    let instance = caller.instance(&service, json!({"hostName": "h"}));
    let at = format!("/microservices/{service}/instances/{instance}");
    let mut socket = caller.socket(&format!("{at}/heartbeat")).unwrap();
    socket.pong(b"").unwrap();
    // The answer to the ping comes after the pong is handled, so the session goes on.
    socket.ping(b"still there").unwrap();
    assert_eq!(socket.next_frame(GENEROUS).unwrap(), Frame::Pong(b"still there".to_vec()));

    assert_eq!(caller.delete(&at).status, 200);
    socket.pong(b"").unwrap();
    match socket.next_data(GENEROUS).unwrap() {
        Frame::Close(Some((code, reason))) => {
            assert_eq!(code, 4001);
            assert_eq!(reason, "heartbeat reporting failed because the instance does not exist");
        }
        other => panic!("want a close, got {other:?}"),
    }
}
