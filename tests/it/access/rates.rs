//! Accounts that send more requests than `server.limit.accountConnections` allows.

use serde_json::{Value, json};

use super::{Caller, REGISTRY, done, permission, start, with_accounts};
use crate::support::http::Response;
use crate::support::registry::code;

fn is_over(answer: &Response) -> bool {
    if answer.status != 429 {
        done(answer);
        return false;
    }
    assert_eq!(code(answer), "429001", "{}", answer.text());
    let wait: u64 = answer.header("Retry-After").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    let text = answer.text();
    assert!(text.contains("server.limit.accountConnections") && text.contains("'one'"), "{text}");
    true
}

/// An account over its rate is told when to come back. Its heartbeats go on, and other accounts notice nothing.
#[test]
fn an_account_over_its_rate_is_told_when_to_come_back() {
    const REQUESTS: u32 = 40;
    let settings = with_accounts()
        .yaml("server.limit.accountConnections", json!(REQUESTS))
        .yaml("server.limit.unit", json!("h"));
    let daemon = start(settings);
    let root = Caller::root(&daemon);
    root.create_service("s", "", "default", "s");
    root.create_role("all", &permission(&["*"], "service", &Value::Null));
    root.create_account("one", &["all"]);
    root.create_account("two", &["all"]);
    let (one, two) = (Caller::of(&daemon, "one"), Caller::of(&daemon, "two"));
    let services = format!("{REGISTRY}/microservices");
    let answered = (0..2 * REQUESTS).filter(|_| !is_over(&one.get(&services))).count();
    assert_eq!(answered, REQUESTS as usize);
    // Another token of the account, other addresses in headers, and other routes are no way around.
    let again = Caller::of(&daemon, "one");
    assert!(is_over(&again.get(&services)));
    let forwarded = crate::support::http::Request::new("GET", &services).header("X-Forwarded-For", "8.8.8.8");
    assert!(is_over(&again.send(forwarded)));
    let late = json!({"service": {"serviceId": "late", "serviceName": "late"}});
    assert!(is_over(&one.post(&services, &late)));

    let beat = format!("{REGISTRY}/microservices/s/instances/i/heartbeat");
    let beats = json!({"Instances": [{"serviceId": "s", "instanceId": "i"}]});
    for _ in 0..2 * REQUESTS {
        done(&one.put(&beat, &json!({})));
        done(&one.post(&beat, &json!({})));
        done(&one.put(&format!("{REGISTRY}/heartbeats"), &beats));
    }
    for target in ["/health", "/version", "/metrics"] {
        done(&one.get(target));
    }
    done(&two.get(&services));
    assert!(!two.get(&format!("{services}?noCache=1")).text().contains("late"));
    // Requests without a valid token belong to no account.
    assert_eq!(code(&Caller::nobody(&daemon).get(&services)), "401204");
}
