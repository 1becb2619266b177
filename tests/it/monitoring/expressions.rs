//! The expressions of the Grafana board and of the alerts, and the metrics that they name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_yaml_ng::Value as Yaml;

pub const BOARD: &str = "deploy/grafana/service-center.json";
pub const ALERTS: &str = "deploy/prometheus/alerts.yml";
/// What the names of our metrics, of the metrics of every process, and of Prometheus' own metrics begin with.
const PREFIXES: [&str; 3] = ["service_center_", "process_", "prometheus_"];

/// The folder of the project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The content of a file of the project.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// An expression and its place.
#[derive(Clone, Debug)]
pub struct Expression {
    pub place: String,
    pub text: String,
}

/// All expressions of the board, with the variables of Grafana replaced. They ask for the jobs whose names begin with `service-center`.
pub fn of_board() -> Vec<Expression> {
    let board: Value = serde_json::from_str(&read(BOARD)).unwrap();
    let mut found = Vec::new();
    of_panels(&board, &mut found);
    for annotation in board["annotations"]["list"].as_array().unwrap() {
        if let Some(text) = annotation["expr"].as_str() {
            let place = format!("annotation {}", annotation["name"]);
            found.push(Expression { place, text: text.to_owned() });
        }
    }
    for variable in board["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["query"]["query"].as_str() {
            let place = format!("variable {}", variable["name"]);
            let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
            let (selector, label) = inside.rsplit_once(", ").unwrap();
            found.push(Expression { place, text: format!("count by ({label}) ({selector})") });
        }
    }
    for expression in &mut found {
        expression.text = expression
            .text
            .replace("job=\"$job\"", "job=~\"service-center.*\"")
            .replace("$instance", ".+")
            .replace("$__rate_interval", "10s");
        assert!(!expression.text.contains('$'), "{expression:?} has an unknown variable");
    }
    found
}

fn of_panels(parent: &Value, found: &mut Vec<Expression>) {
    for panel in parent["panels"].as_array().into_iter().flatten() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let place = format!("panel {}", panel["title"]);
            found.push(Expression { place, text: target["expr"].as_str().unwrap().to_owned() });
        }
        of_panels(panel, found);
    }
}

/// The rules of the alerts.
pub fn alert_rules() -> Vec<Yaml> {
    let document: Yaml = serde_yaml_ng::from_str(&read(ALERTS)).unwrap();
    let groups = document["groups"].as_sequence().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_sequence().unwrap().clone()).collect()
}

/// A text member of a rule.
pub fn text<'y>(rule: &'y Yaml, member: &str) -> &'y str {
    rule[member].as_str().unwrap_or_else(|| panic!("no {member} in {rule:?}"))
}

pub fn of_alerts() -> Vec<Expression> {
    let rules = alert_rules();
    let expressions = rules.iter().map(|rule| Expression {
        place: format!("alert {}", text(rule, "alert")),
        text: text(rule, "expr").to_owned(),
    });
    expressions.collect()
}

/// The selectors of an expression, such as `up{job="a"}`, without ranges and offsets.
pub fn selectors(expression: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find(|c: char| c == '"' || is_of_name(c)) {
        rest = &rest[at..];
        if rest.starts_with('"') {
            rest = after_string(rest);
            continue;
        }
        let name = rest.find(|c: char| !is_of_name(c)).map_or(rest, |end| &rest[..end]);
        rest = &rest[name.len()..];
        if name != "up" && !PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let matchers = if rest.starts_with('{') { &rest[..end_of_matchers(rest)] } else { "" };
        found.push(format!("{name}{matchers}"));
        rest = &rest[matchers.len()..];
    }
    found
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// What follows the text in quotes at the begin.
fn after_string(text: &str) -> &str {
    text[1..].split_once('"').unwrap().1
}

/// The length of `{…}` at the begin. Texts in quotes may contain braces.
fn end_of_matchers(text: &str) -> usize {
    let mut rest = &text[1..];
    loop {
        let at = rest.find(['"', '}']).unwrap();
        if rest[at..].starts_with('}') {
            return text.len() - rest.len() + at + 1;
        }
        rest = after_string(&rest[at..]);
    }
}

/// The names of the metrics in an expression.
pub fn metrics(expression: &str) -> BTreeSet<String> {
    let name = |selector: String| selector.split('{').next().unwrap_or_default().to_owned();
    selectors(expression).into_iter().map(name).collect()
}

#[test]
fn selectors_are_found() {
    let check = |expression: &str, expected: &[&str]| assert_eq!(selectors(expression), expected);
    check("up == 0", &["up"]);
    check("sum by (job) (up{job=~\"a}b\"}) > 1", &["up{job=~\"a}b\"}"]);
    check(
        "rate(service_center_x_total{route=\"/{p}\"}[5m]) / on (up_to) process_open_fds offset 1m",
        &["service_center_x_total{route=\"/{p}\"}", "process_open_fds"],
    );
    check("label_replace(vector(1), \"a\", \"up\", \"b\", \"\")", &[]);
    assert_eq!(metrics("up{a=\"b\"} + up").len(), 1);
}
