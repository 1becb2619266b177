//! Websockets of accounts: refused before the upgrade, and closed when the account may no longer keep them.

use serde_json::{Value, json};

use super::{Caller, permission, start, token_of, with_accounts};
use crate::support::daemon::Daemon;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::ws::{Frame, WebSocket, WsError};

const WATCHER: &str = "/v4/default/registry/microservices/own/watcher";
const HEARTBEAT: &str = "/v4/default/registry/microservices/own/instances/i/heartbeat";
/// The close code of a session that is no longer permitted.
const NOT_PERMITTED: u16 = 4003;

fn open(daemon: &Daemon, target: &str, account: Option<&str>) -> Result<WebSocket, WsError> {
    let authorization = account.map(|name| format!("Bearer {}", token_of(name)));
    let headers: Vec<_> =
        authorization.map(|value| ("Authorization".to_owned(), value)).into_iter().collect();
    WebSocket::open(daemon.address(), target, &headers)
}

fn prepared() -> (Daemon, Caller) {
    let daemon = start(with_accounts());
    let root = Caller::root(&daemon);
    root.create_service("own", "", "default", "own");
    root.create_role("all", &permission(&["*"], "service", &Value::Null));
    root.create_role("nothing", &json!([]));
    root.create_role("own", &permission(&["*"], "service", &json!({"serviceName": "own"})));
    root.create_role("foreign", &permission(&["*"], "service", &json!({"serviceName": "foreign"})));
    root.create_role("reads", &permission(&["get"], "service", &Value::Null));
    (daemon, root)
}

#[test]
fn a_websocket_is_refused_before_the_upgrade() {
    let (daemon, root) = prepared();
    for role in ["nothing", "foreign", "reads", "own"] {
        root.create_account(role, &[role]);
    }
    root.create_account("inactive", &["admin"]);
    root.change_account("inactive", &json!({"status": "inactive"}));
    let v3 = "/registry/v3/microservices/own/watcher";
    let unknown = "/v4/default/registry/microservices/unknown/watcher";
    let mut opened = Vec::new();
    for (target, account, expected) in [
        (WATCHER, None, 401),
        (HEARTBEAT, None, 401),
        (v3, None, 401),
        (WATCHER, Some("never"), 401),
        (WATCHER, Some("inactive"), 403),
        (HEARTBEAT, Some("inactive"), 403),
        (WATCHER, Some("nothing"), 403),
        (WATCHER, Some("foreign"), 403),
        (HEARTBEAT, Some("foreign"), 403),
        (HEARTBEAT, Some("reads"), 403),
        (v3, Some("own"), 403),
        (unknown, Some("own"), 401),
        (WATCHER, Some("reads"), 101),
        (WATCHER, Some("own"), 101),
        (HEARTBEAT, Some("own"), 101),
        (v3, Some("root"), 101),
    ] {
        let status = match open(&daemon, target, account) {
            Ok(socket) => {
                opened.push(socket);
                101
            }
            Err(WsError::Refused { status, .. }) => status,
            Err(error) => panic!("{target} {account:?}: {error}"),
        };
        assert_eq!(status, expected, "{target} {account:?}");
    }
}

/// Reads frames until the server closes; the close code.
#[track_caller]
fn closed(mut socket: WebSocket) -> u16 {
    match socket.next_data(GENEROUS).unwrap() {
        Frame::Close(Some((code, _))) => code,
        frame => panic!("{frame:?}"),
    }
}

/// Sends pongs, each of which is a heartbeat, until the server closes; the close code.
#[track_caller]
fn closed_at_a_pong(mut socket: WebSocket) -> u16 {
    eventually(GENEROUS, || {
        socket.pong(b"").ok();
        match socket.next_data(std::time::Duration::from_millis(50)) {
            Ok(Frame::Close(Some((code, _)))) => Ok(code),
            Ok(frame) => Err(format!("{frame:?}")),
            Err(error) => Err(error.to_string()),
        }
    })
}

#[test]
fn a_websocket_ends_with_the_right_to_it() {
    let (daemon, root) = prepared();
    let accounts = ["deleted", "inactive", "lost-role", "changed-role", "other"];
    root.create_role("changes", &permission(&["*"], "service", &Value::Null));
    for account in accounts {
        root.create_account(account, &[if account == "changed-role" { "changes" } else { "own" }]);
    }
    let mut watches = accounts.map(|account| Some(open(&daemon, WATCHER, Some(account)).unwrap()));
    let mut beats = accounts.map(|account| Some(open(&daemon, HEARTBEAT, Some(account)).unwrap()));
    let admin = open(&daemon, WATCHER, Some("root")).unwrap();
    root.delete_account("deleted");
    root.change_account("inactive", &json!({"status": "inactive"}));
    root.change_account("lost-role", &json!({"roles": ["foreign"]}));
    root.change_role("changes", &permission(&["delete"], "service", &Value::Null));
    for (index, account) in accounts.iter().enumerate().take(4) {
        assert_eq!(closed(watches[index].take().unwrap()), NOT_PERMITTED, "{account}");
        assert_eq!(closed_at_a_pong(beats[index].take().unwrap()), NOT_PERMITTED, "{account}");
    }
    // The others stay: they still get a pong for a ping.
    for mut socket in [watches[4].take().unwrap(), beats[4].take().unwrap(), admin] {
        socket.ping(b"still there").unwrap();
        eventually(GENEROUS, || match socket.next_frame(GENEROUS) {
            Ok(Frame::Pong(payload)) => Ok(payload),
            Ok(Frame::Ping(_)) => Err("a ping".to_owned()),
            other => panic!("{other:?}"),
        });
    }
    // An account that comes back does not bring its old sessions back, and opens new ones.
    root.create_account("deleted", &["own"]);
    open(&daemon, WATCHER, Some("deleted")).unwrap();
}

/// An admin may watch a service that does not exist here. That session ends with the right, too.
#[test]
fn an_admin_that_is_none_any_more_watches_nothing() {
    let (daemon, root) = prepared();
    root.create_account("second", &["admin"]);
    let watch = open(&daemon, WATCHER, Some("second")).unwrap();
    let beat = open(&daemon, HEARTBEAT, Some("second")).unwrap();
    root.change_account("second", &json!({"roles": ["nothing"]}));
    assert_eq!(closed(watch), NOT_PERMITTED);
    assert_eq!(closed_at_a_pong(beat), NOT_PERMITTED);
}
