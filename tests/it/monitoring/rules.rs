//! The files in `deploy/grafana` and `deploy/prometheus`: what `promtool` says, and what the board and the alerts promise.

use std::collections::BTreeSet;

use serde_json::Value;
use serde_yaml_ng::Value as Yaml;

use super::expressions::{BOARD, Expression, alert_rules, metrics, of_alerts, of_board, read, root, text};
use crate::support::prometheus::promtool;

/// Metrics that Prometheus itself adds.
const OF_PROMETHEUS: [&str; 2] = ["up", "prometheus_sd_http_failures_total"];
/// What is added to the name of a histogram or a summary.
const SUFFIXES: [&str; 3] = ["_bucket", "_count", "_sum"];

#[test]
fn promtool_accepts_the_alerts_and_their_tests_hold() {
    let folder = root().join("deploy/prometheus");
    for arguments in [
        &["check", "rules", "alerts.yml"][..],
        &["check", "config", "prometheus.yml"],
        &["test", "rules", "alerts_test.yml"],
    ] {
        if let Err(why) = promtool(&folder, arguments) {
            panic!("promtool {}: {why}", arguments.join(" "));
        }
    }
}

/// Each alert has a test in which it fires, and one in which it does not.
#[test]
fn each_alert_is_tested_both_ways() {
    let document: Yaml = serde_yaml_ng::from_str(&read("deploy/prometheus/alerts_test.yml")).unwrap();
    let tests = document["tests"].as_sequence().unwrap();
    for rule in alert_rules() {
        let alert = text(&rule, "alert");
        let fires = |test: &&Yaml| {
            let checks = test["alert_rule_test"].as_sequence().unwrap().iter();
            let mut of_alert = checks.filter(|check| text(check, "alertname") == alert).peekable();
            assert!(of_alert.peek().is_some(), "{test:?} does not check {alert}");
            of_alert.any(|check| check["exp_alerts"].as_sequence().is_some_and(|alerts| !alerts.is_empty()))
        };
        let of_alert = tests
            .iter()
            .filter(|test| text(test, "name").split(' ').next() == Some(alert))
            .collect::<Vec<_>>();
        let firing = of_alert.iter().copied().filter(fires).count();
        assert_eq!((firing, of_alert.len() - firing), (1, 1), "{alert}");
    }
}

#[test]
fn each_alert_says_what_to_do() {
    let page = read("docs/monitoring.md");
    let headings: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let rules = alert_rules();
    for rule in &rules {
        let (alert, annotations) = (text(rule, "alert"), &rule["annotations"]);
        assert!(["critical", "warning", "info"].contains(&text(&rule["labels"], "severity")), "{alert}");
        for member in ["summary", "description"] {
            assert!(!text(annotations, member).is_empty(), "{alert} has no {member}");
        }
        assert_eq!(text(annotations, "runbook"), format!("docs/monitoring.md#{}", alert.to_lowercase()));
        assert!(headings.contains(alert), "docs/monitoring.md has no section {alert}");
    }
    let names: BTreeSet<&str> = rules.iter().map(|rule| text(rule, "alert")).collect();
    let gone =
        headings.iter().filter(|heading| heading.starts_with("ServiceCenter") && !names.contains(*heading));
    assert_eq!(gone.count(), 0, "docs/monitoring.md has a section of an alert that is gone");
}

/// A metric that gets another name, or goes, must get it in the board and the alerts too. `docs/metrics.md` is made from the code.
#[test]
fn each_metric_of_the_board_and_of_the_alerts_is_exposed() {
    let page = read("docs/metrics.md");
    let exposed: BTreeSet<&str> = page.split('`').skip(1).step_by(2).collect();
    let is_exposed = |name: &str| {
        let mut bases = SUFFIXES.iter().filter_map(|suffix| name.strip_suffix(suffix));
        exposed.contains(name) || bases.any(|base| exposed.contains(base))
    };
    let expressions = [of_board(), of_alerts()].concat();
    assert!(expressions.len() > 100, "only {} expressions", expressions.len());
    for Expression { place, text } in expressions {
        for name in metrics(&text) {
            assert!(OF_PROMETHEUS.contains(&&*name) || is_exposed(&name), "{place}: no metric {name}");
        }
    }
}

/// Grafana takes the file as it is: each panel has an id and a place of its own.
#[test]
fn the_board_holds_together() {
    let board: Value = serde_json::from_str(&read(BOARD)).unwrap();
    let mut ids = BTreeSet::new();
    let mut places = BTreeSet::new();
    let mut panels: Vec<&Value> = board["panels"].as_array().unwrap().iter().collect();
    while let Some(panel) = panels.pop() {
        panels.extend(panel["panels"].as_array().into_iter().flatten());
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels have the id of {}", panel["title"]);
        let place = &panel["gridPos"];
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| place[side].as_u64().unwrap());
        assert!(x + w <= 24, "{} is too wide", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(places.insert(cell), "{} covers another panel", panel["title"]);
        }
    }
    assert!(ids.len() > 60, "only {} panels", ids.len());
}
