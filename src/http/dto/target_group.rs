//! Instances as Prometheus' HTTP service discovery reads them: a list of groups with targets and labels.
//!
//! Every label begins with `__meta_service_center_`, and nothing else is set: Prometheus advises service discoveries to leave
//! `__scheme__`, `__metrics_path__` and the choice of targets to the rules for relabeling of its user. A label without a value is
//! left out, because Prometheus takes an empty label for a missing one.
//!
//! What an instance registered is text from strangers. An endpoint becomes a target only if it has a host and a port, and the
//! text of the target is made of these two, so nothing else of the endpoint (a user, a password, a path) reaches Prometheus.

use crate::config::endpoint::{bracketed, parse_port, split_host_port};
use crate::domain::json::TextMap;
use crate::domain::{Instance, Service, Tenant};
use crate::json_object;

json_object! {
    /// Targets with the same labels.
    pub struct TargetGroup {
        /// One `host:port`.
        "targets" => targets: Vec<String>,
        /// Names begin with `__meta_service_center_`.
        "labels" => labels: TextMap,
    }
}

const PREFIX: &str = "__meta_service_center_";
/// The longest host that DNS knows, in bytes.
const LONGEST_HOST: usize = 253;

/// An instance has at most so many groups, because each repeats the labels. Real ones have one to three schemes.
const MAX_GROUPS: usize = 8;

/// The endpoints of an instance that have a host and a port, grouped by scheme and encryption. After [`MAX_GROUPS`] groups, endpoints
/// of further schemes are left out.
pub fn target_groups(
    tenant: &Tenant,
    service: &Service,
    tags: Option<&TextMap>,
    instance: &Instance,
) -> Vec<TargetGroup> {
    let mut grouped: Vec<(&str, bool, Vec<String>)> = Vec::new();
    for endpoint in instance.endpoints.iter().filter_map(|text| ScrapeEndpoint::parse(text)) {
        let ScrapeEndpoint { scheme, target, is_encrypted } = endpoint;
        let known = grouped.iter().position(|(of, encrypted, _)| *of == scheme && *encrypted == is_encrypted);
        match known {
            Some(at) => grouped[at].2.push(target),
            None if grouped.len() < MAX_GROUPS => grouped.push((scheme, is_encrypted, vec![target])),
            None => {}
        }
    }
    if grouped.is_empty() {
        return Vec::new();
    }
    let labels = labels(tenant, service, tags, instance);
    let group = |(scheme, is_encrypted, targets)| {
        let mut labels = labels.clone();
        add(&mut labels, "endpoint_scheme", scheme);
        add(&mut labels, "endpoint_ssl_enabled", if is_encrypted { "true" } else { "false" });
        TargetGroup { targets, labels }
    };
    grouped.into_iter().map(group).collect()
}

fn labels(tenant: &Tenant, service: &Service, tags: Option<&TextMap>, instance: &Instance) -> TextMap {
    let mut labels = TextMap::new();
    for (name, value) in [
        ("domain", tenant.domain()),
        ("project", tenant.project()),
        ("app_id", &service.app_id),
        ("environment", &service.environment),
        ("service_id", &service.service_id),
        ("service_name", &service.service_name),
        ("service_alias", &service.alias),
        ("service_version", &service.version),
        ("instance_id", &instance.instance_id),
        ("instance_host", &instance.host_name),
        ("instance_status", &instance.status),
    ] {
        add(&mut labels, name, value);
    }
    if let Some(place) = &instance.data_center {
        add(&mut labels, "data_center", &place.name);
        add(&mut labels, "region", &place.region);
        add(&mut labels, "zone", &place.available_zone);
    }
    for (kind, values) in [
        ("property_", Some(&instance.properties)),
        ("service_property_", Some(&service.properties)),
        ("service_tag_", tags),
    ] {
        for (name, value) in values.into_iter().flatten() {
            add(&mut labels, &format!("{kind}{}", label_name(name)), value);
        }
    }
    labels
}

/// Adds a label. Of several names that become the same label, the first one counts.
fn add(labels: &mut TextMap, name: &str, value: &str) {
    if !value.is_empty() {
        labels.entry(format!("{PREFIX}{name}")).or_insert_with(|| value.to_owned());
    }
}

/// A name with `_` for each character that Prometheus does not allow in the name of a label.
fn label_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// The parts of an endpoint that Prometheus needs.
#[derive(Debug, PartialEq, Eq)]
struct ScrapeEndpoint<'a> {
    /// `rest`, `highway`, `grpc` and so on; empty if the endpoint has none.
    scheme: &'a str,
    /// `host:port`, with brackets around an IPv6 address.
    target: String,
    /// The scheme is `https`, or the query has `sslEnabled=true`.
    is_encrypted: bool,
}

impl<'a> ScrapeEndpoint<'a> {
    /// Reads `[scheme://]host:port[/…][?…]`. `None` for any other text, also for one with a user.
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at(end);
        let (host, port) = split_host_port(authority)?;
        let port = parse_port(port?)?;
        // A zone has a meaning only on the machine of the instance.
        let is_host = host.is_ascii() && host.len() <= LONGEST_HOST && !host.contains('%');
        let before_fragment = after.split_once('#').map_or(after, |(before, _)| before);
        let query = before_fragment.split_once('?').map_or("", |(_, query)| query);
        let asks_for_tls = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            name.eq_ignore_ascii_case("sslEnabled") && value.eq_ignore_ascii_case("true")
        };
        let is_encrypted = scheme.eq_ignore_ascii_case("https") || query.split('&').any(asks_for_tls);
        is_host.then(|| Self { scheme, target: format!("{}:{port}", bracketed(host)), is_encrypted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, &str, bool)>) {
        let parsed = ScrapeEndpoint::parse(text);
        let parts = parsed.as_ref().map(|one| (one.scheme, one.target.as_str(), one.is_encrypted));
        assert_eq!(parts, expected, "{text:?}");
    }

    #[test]
    fn endpoints_with_a_host_and_a_port_are_targets() {
        check("rest://10.0.0.7:8080", Some(("rest", "10.0.0.7:8080", false)));
        check("10.0.0.7:8080", Some(("", "10.0.0.7:8080", false)));
        check("rest://h.local:80?sslEnabled=true", Some(("rest", "h.local:80", true)));
        check("rest://h:80/?a=b&SSLENABLED=True#x", Some(("rest", "h:80", true)));
        check("rest://h:80/?sslEnabled=false&x=sslEnabled=true", Some(("rest", "h:80", false)));
        check("https://h:443/a/b", Some(("https", "h:443", true)));
        check("grpc://[fd00::4]:9090", Some(("grpc", "[fd00::4]:9090", false)));
        check("highway://h:7070?login=true", Some(("highway", "h:7070", false)));
    }

    #[test]
    fn other_endpoints_are_no_targets() {
        for text in [
            "",
            "rest://",
            "rest://h",
            "rest://h:",
            "rest://h:0",
            "rest://h:65536",
            "rest://h:80:81",
            "rest://:80",
            "h:http",
            "rest://u:p@h:80",
            "rest://h:80@evil:81",
            "rest://fd00::4:80",
            "rest://[fe80::1%eth0]:80",
            "rest://h\u{e4}:80",
            "rest://h h:80",
            "rest://h\n:80",
            "rest://{{.}}:80",
            "rest:/h:80",
            "rest://a/rest://h:80",
            "unix:///tmp/x",
        ] {
            check(text, None);
        }
        check(&format!("rest://{}:80", "x".repeat(LONGEST_HOST + 1)), None);
    }

    #[test]
    fn names_become_names_of_labels() {
        for (name, expected) in
            [("zone", "zone"), ("a.b-c", "a_b_c"), ("\u{e4}\"{", "___"), ("0", "0"), ("", "")]
        {
            assert_eq!(label_name(name), expected, "{name:?}");
        }
    }

    #[test]
    fn an_instance_has_a_group_for_each_kind_of_endpoint() {
        let text = |text: &str| text.to_owned();
        let map = |pairs: &[(&str, &str)]| -> TextMap {
            pairs.iter().map(|(name, value)| (text(name), text(value))).collect()
        };
        let service = Service {
            service_id: text("s"),
            app_id: text("shop"),
            service_name: text("orders"),
            version: text("1.0.0"),
            properties: map(&[("allowCrossApp", "true")]),
            ..Service::default()
        };
        let instance = Instance {
            instance_id: text("i"),
            host_name: text("host \"1\""),
            status: text("DOWN"),
            endpoints: [
                "rest://h:80?sslEnabled=true",
                "no address",
                "h:81",
                "rest://[::1]:82/?sslEnabled=true",
            ]
            .map(text)
            .to_vec(),
            properties: map(&[("a.b", "1"), ("a_b", "2"), ("empty", "")]),
            ..Instance::default()
        };
        let groups =
            target_groups(&Tenant::default_tenant(), &service, Some(&map(&[("team", "red")])), &instance);
        let targets: Vec<&[String]> = groups.iter().map(|group| group.targets.as_slice()).collect();
        assert_eq!(targets, [&["h:80", "[::1]:82"][..], &["h:81"]]);
        let shared = [
            ("app_id", "shop"),
            ("domain", "default"),
            ("instance_host", "host \"1\""),
            ("instance_id", "i"),
            ("instance_status", "DOWN"),
            ("project", "default"),
            ("property_a_b", "1"),
            ("service_id", "s"),
            ("service_name", "orders"),
            ("service_property_allowCrossApp", "true"),
            ("service_tag_team", "red"),
            ("service_version", "1.0.0"),
        ];
        let of_each = [
            vec![("endpoint_scheme", "rest"), ("endpoint_ssl_enabled", "true")],
            vec![("endpoint_ssl_enabled", "false")],
        ];
        for (group, own) in groups.iter().zip(of_each) {
            let expected: TextMap = own
                .iter()
                .chain(&shared)
                .map(|(name, value)| (format!("{PREFIX}{name}"), text(value)))
                .collect();
            assert_eq!(group.labels, expected);
        }
        let schemes = (0..20).map(|at| format!("s{at}://h:{}", at + 1)).collect();
        let many = Instance { endpoints: schemes, ..instance.clone() };
        let count = target_groups(&Tenant::default_tenant(), &service, None, &many).len();
        assert_eq!(count, MAX_GROUPS, "each group repeats all labels");
        let without = Instance { endpoints: vec![text("rest://h")], ..instance };
        assert!(target_groups(&Tenant::default_tenant(), &service, None, &without).is_empty());
    }
}
