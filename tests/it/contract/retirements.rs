//! The list of the services that the retirement job deletes, as an operator sees it.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Settings};
use crate::support::registry::{Instance, Registry};

fn planned(node: &Daemon) -> Value {
    let answer = node.client().get("/v4/default/admin/retirements").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Name, version and reason of each service in the list.
fn rows(planned: &Value) -> Vec<[String; 3]> {
    let text = |row: &Value, member: &str| row[member].as_str().unwrap_or_default().to_owned();
    let rows = planned["retirements"].as_array().into_iter().flatten();
    rows.map(|row| ["serviceName", "version", "reason"].map(|member| text(row, member))).collect()
}

/// Settings whose job runs once a year.
fn seldom() -> Settings {
    Settings::default()
        .yaml("registry.service.retire.cron", json!("0 1 1 1 *"))
        .yaml("registry.service.retire.reserve", json!(1))
}

#[test]
fn a_dry_run_lists_what_the_job_deletes() {
    let settings = seldom().conf("registry.service.retire.emptyAfter", "10h");
    let node = Daemon::start(settings).unwrap();
    let registry = Registry::new(node.client(), "default");
    let old = registry.create_service("shop", "1.0.0").unwrap();
    registry.create_service("shop", "2.0.0").unwrap();
    let used = registry.create_service("used", "1.0.0").unwrap();
    registry.register(&used, &Instance::named("i")).unwrap();
    let list = planned(&node);
    assert_eq!(rows(&list), [["shop", "1.0.0", "oldVersion"], ["shop", "2.0.0", "empty"]]);
    let [first, second] = [0, 1].map(|at| list["retirements"][at].clone());
    assert_eq!(
        (first["serviceId"].as_str(), first["tenant"].as_str()),
        (Some(&*old), Some("default/default"))
    );
    // The first run marks the empty service. The time counts from then.
    assert!(second["emptySince"].is_null(), "{second}");
    let (now, due) = (first["due"].as_i64().unwrap(), second["due"].as_i64().unwrap());
    assert!((now + 36_000..now + 36_060).contains(&due), "{list}");
    assert!(list["nextRun"].as_i64().unwrap() > now, "{list}");
    assert_eq!(rows(&planned(&node)).len(), 2, "nothing is deleted");
}

#[test]
fn without_the_keys_nothing_is_planned() {
    let node = Daemon::start(seldom()).unwrap();
    Registry::new(node.client(), "default").create_service("empty", "1.0.0").unwrap();
    let list = planned(&node);
    assert!(rows(&list).is_empty() && list["nextRun"].is_i64(), "{list}");

    let off = Settings::default().yaml("registry.service.retire.disable", json!(true));
    let node = Daemon::start(off).unwrap();
    assert_eq!(planned(&node), json!({}));
}
