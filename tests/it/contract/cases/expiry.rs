//! The events of a watcher when a lease ends.

use serde_json::json;

use super::watches::{event, watching};
use super::{Caller, code, daemon};
use crate::support::daemon::Settings;

/// 225: an instance whose lease has ended is pushed as deleted, with its last document, and is gone for every client.
#[test]
fn an_expired_instance_is_pushed_as_deleted() {
    let daemon = daemon(Settings::default().environment("INSTANCE_TTL", "3"));
    let caller = Caller::of(&daemon);
    let provider = caller.service(json!({"serviceName": "p", "alias": "al:p"}));
    let mut socket = watching(&caller);
    let instance = caller.instance(&provider, json!({"hostName": "h", "properties": {"a": "b"}}));
    let created = event(&mut socket);
    assert_eq!(created["action"], "CREATE");
    let mut gone = event(&mut socket);
    assert_eq!(gone["action"], "DELETE");
    gone["action"] = json!("CREATE");
    assert_eq!(gone, created);
    let at = format!("/microservices/{provider}/instances/{instance}");
    assert_eq!(code(&caller.get(&at)), "400017");
    assert_eq!(code(&caller.send("PUT", &format!("{at}/heartbeat"), None)), "400017");
    assert_eq!(caller.find("appId=default&serviceName=p"), [""; 0]);
}
