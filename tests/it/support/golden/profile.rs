//! The server configurations of the scenarios, as differences from the default settings.

use serde_json::json;

use crate::support::daemon::Settings;

/// The settings of a profile; `None` if there is no such profile.
pub fn settings(profile: &str) -> Option<Settings> {
    let quota = |settings: Settings| {
        ["service", "instance", "schema", "tag"]
            .into_iter()
            .fold(settings, |settings, what| settings.yaml(&format!("quota.cap.{what}.limit"), json!(2)))
    };
    let plain = Settings::default();
    let settings = match profile {
        "plain" => plain,
        "quota" | "quota-tight" => quota(plain),
        "limit" => plain.yaml("server.limit.connections", json!(1)),
        "schema-disabled" => plain.yaml("registry.schema.disable", json!(true)),
        "shared" => plain
            .yaml("registry.service.globalVisible", json!("SharedA,SharedB"))
            .yaml("registry.instance.properties", json!({"engineID": "e1", "engineName": "n1"}))
            .yaml(
                "registry.instance.datacenter",
                json!({"name": "dcn", "region": "r1", "availableZone": "z1"}),
            ),
        "retire" => plain
            .yaml("registry.service.retire.cron", json!("* * * * *"))
            .yaml("registry.schema.retire.cron", json!("* * * * *")),
        _ => return None,
    };
    Some(settings)
}
