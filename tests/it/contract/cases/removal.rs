//! What protects a service from deletion, and the effect of `force`.

use serde_json::{Value, json};

use super::{Caller, code, daemon};
use crate::support::daemon::Settings;
use crate::support::eventually::{GENEROUS, eventually};

/// 86, 87, 94: instances protect their service. With `force`, in each spelling, they are deleted with it. A request for many services deletes
/// those that are not protected.
#[test]
fn instances_protect_their_service() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let busy = |name: &str| {
        let id = caller.service(json!({ "serviceName": name }));
        let instance = caller.instance(&id, json!({"hostName": "h"}));
        (id, instance)
    };
    for force in ["force=true", "force=1"] {
        let (id, instance) = busy("a");
        let refused = caller.delete(&format!("/microservices/{id}"));
        assert_eq!(code(&refused), "400013");
        assert_eq!(refused.json()["detail"], "Can not delete the service deployed instance(s).");
        assert_eq!(code(&caller.delete(&format!("/microservices/{id}?force=false"))), "400013");
        assert_eq!(code(&caller.get(&format!("/microservices/{id}/instances/{instance}"))), "200");

        let deleted = caller.delete(&format!("/microservices/{id}?{force}"));
        assert_eq!((deleted.status, deleted.body.len()), (200, 0));
        assert_eq!(code(&caller.get(&format!("/microservices/{id}?noCache=1"))), "400012");
        let beat = caller.send("PUT", &format!("/microservices/{id}/instances/{instance}/heartbeat"), None);
        assert_eq!(code(&beat), "400017");
    }

    let ((held, _), free) = (busy("b"), caller.service(json!({"serviceName": "c"})));
    let delete = |body: Value| caller.send("DELETE", "/microservices", Some(&body));
    let answer = delete(json!({"serviceIds": [held, free]}));
    assert_eq!(answer.status, 200);
    for entry in answer.json()["services"].as_array().unwrap() {
        let message = entry["errMessage"].as_str();
        assert_eq!(message.is_some(), entry["serviceId"] == held.as_str(), "{entry}");
        assert!(message.is_none_or(|text| text.contains("deployed instance(s)")), "{entry}");
    }
    assert_eq!(code(&caller.get(&format!("/microservices/{held}"))), "200");
    assert_eq!(code(&caller.get(&format!("/microservices/{free}?noCache=1"))), "400012");
    assert_eq!(
        delete(json!({"serviceIds": [held], "force": true})).json()["services"],
        json!([{"serviceId": held}])
    );
}

/// 90: a service that depends only on itself can be deleted.
#[test]
fn a_service_does_not_protect_itself() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let id = caller.service(json!({"serviceName": "a"}));
    assert_eq!(caller.consumer(&id).find("appId=default&serviceName=a"), [""; 0]);
    let consumers = format!("/microservices/{id}/consumers");
    eventually(GENEROUS, || caller.get(&consumers).json()["consumers"][0]["serviceId"] == id.as_str());
    assert_eq!(code(&caller.delete(&format!("/microservices/{id}"))), "200");
    assert_eq!(code(&caller.get(&format!("/microservices/{id}?noCache=1"))), "400012");
}
