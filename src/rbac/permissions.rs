//! Decides what an account may do, and which services a list shows it.
//!
//! A permission of a role has verbs and resources. It covers a request if it has the request's verb or `*`, and a resource of
//! the request's type. A resource without labels covers everything of its type. A resource with labels covers what has all of
//! these labels. Permissions only add to each other.

use std::fmt;
use std::sync::Arc;

use crate::domain::Service;
use crate::domain::account::{Role, RolePermission};
use crate::domain::json::TextMap;
use crate::error::{Code, Error};

use super::resource::{Resource, Verb};

const ENVIRONMENT: &str = "environment";
const APP_ID: &str = "appId";
const SERVICE_NAME: &str = "serviceName";

const SLOTS: usize = Verb::ALL.len() * Resource::ALL.len();

/// The labels of something that a request is about. A label that it does not have is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels<'a> {
    pub environment: &'a str,
    pub app_id: &'a str,
    pub service_name: &'a str,
}

impl<'a> Labels<'a> {
    pub fn of(service: &'a Service) -> Self {
        let Service { environment, app_id, service_name, .. } = service;
        Self { environment, app_id, service_name }
    }

    fn label(&self, name: &str) -> &str {
        match name {
            ENVIRONMENT => self.environment,
            APP_ID => self.app_id,
            SERVICE_NAME => self.service_name,
            _ => "",
        }
    }
}

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { environment, app_id, service_name } = self;
        write!(
            f,
            "{{{ENVIRONMENT}: '{environment}', {APP_ID}: '{app_id}', {SERVICE_NAME}: '{service_name}'}}"
        )
    }
}

/// What a permitted request may touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Everything of the resource's type.
    All,
    /// What has all labels of one of these rules. A list shows nothing else.
    Labelled(Arc<[TextMap]>),
}

impl Grant {
    /// Whether a list shows a service. In lists, `*` in a rule's `serviceName` stands for any characters.
    pub fn shows(&self, environment: &str, app_id: &str, service_name: &str) -> bool {
        let Self::Labelled(rules) = self else {
            return true;
        };
        let labels = Labels { environment, app_id, service_name };
        let matches = |(name, value): (&String, &String)| match name.as_str() {
            SERVICE_NAME => wildcard_matches(value, service_name),
            name => labels.label(name) == value,
        };
        rules.iter().any(|rule| rule.iter().all(matches))
    }
}

/// The permissions of an account, in a form that decides without a search. It is made once for each change of accounts or roles.
#[derive(Clone, Debug)]
pub struct Permissions(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Admin,
    /// The roles have no permission at all.
    Nothing,
    /// For each resource type and verb what is granted.
    Grants(Box<[Option<Grant>; SLOTS]>),
}

impl Permissions {
    /// The permissions of roles that exist. With the role `admin` (`is_admin`) everything is permitted.
    pub fn of<'a>(roles: impl Iterator<Item = &'a Role>, is_admin: bool) -> Self {
        if is_admin {
            return Self(Kind::Admin);
        }
        let permissions: Vec<&RolePermission> =
            roles.flat_map(|role| role.permissions.iter().flatten()).collect();
        if permissions.is_empty() {
            return Self(Kind::Nothing);
        }
        let mut grants = Box::new([const { None }; SLOTS]);
        for resource in Resource::ALL {
            for verb in Verb::ALL {
                grants[slot(verb, resource)] = grant(&permissions, verb, resource);
            }
        }
        Self(Kind::Grants(grants))
    }

    /// 403205 unless the verb is permitted on the resource type and on each of the targets. A request without targets, such as
    /// a list, is permitted if anything of the type is. The caller then shows what [`Grant::shows`].
    pub fn decide(&self, verb: Verb, resource: Resource, targets: &[Labels<'_>]) -> Result<Grant, Error> {
        let grants = match &self.0 {
            Kind::Admin => return Ok(Grant::All),
            Kind::Nothing => return Err(Error::new(Code::NoPermission, "role has no any permissions")),
            Kind::Grants(grants) => grants,
        };
        let Some(grant) = &grants[slot(verb, resource)] else {
            let detail = format!("role has no permissions[{resource}:{verb}]");
            return Err(Error::new(Code::NoPermission, detail));
        };
        if let Grant::Labelled(rules) = grant
            && let Some(target) = targets.iter().find(|target| !rules.iter().any(|rule| covers(rule, target)))
        {
            let detail = format!("role has no permissions[{resource}:{verb}] for labels {target}");
            return Err(Error::new(Code::NoPermission, detail));
        }
        Ok(grant.clone())
    }
}

fn slot(verb: Verb, resource: Resource) -> usize {
    resource as usize * Verb::ALL.len() + verb as usize
}

/// What permissions grant together.
fn grant(permissions: &[&RolePermission], verb: Verb, resource: Resource) -> Option<Grant> {
    let has_verb =
        |permission: &&&RolePermission| permission.verbs.iter().any(|has| has == "*" || has == verb.name());
    let resources =
        permissions.iter().filter(has_verb).flat_map(|permission| permission.resources.iter().flatten());
    let rules: Vec<&TextMap> =
        resources.filter(|has| has.kind == resource.name()).map(|resource| &resource.labels).collect();
    match rules.iter().any(|rule| rule.is_empty()) {
        _ if rules.is_empty() => None,
        true => Some(Grant::All),
        false => Some(Grant::Labelled(rules.into_iter().cloned().collect())),
    }
}

/// Whether a target has all labels of a rule. Here a `*` is a `*`.
fn covers(rule: &TextMap, target: &Labels<'_>) -> bool {
    rule.iter().all(|(name, value)| target.label(name) == value)
}

/// Whether a text matches a pattern in which each `*` stands for any characters.
fn wildcard_matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    // The earliest place for each piece leaves most of the text to the pieces after it.
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*') {
        match text.find(piece) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
    }
    text.ends_with(end)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::domain::json;

    fn role(permissions: &str) -> Role {
        json::decode(format!(r#"{{"name":"r","perms":{permissions}}}"#).as_bytes()).unwrap()
    }

    fn permissions(roles: &[&str]) -> Permissions {
        let roles: Vec<Role> = roles.iter().map(|permissions| role(permissions)).collect();
        Permissions::of(roles.iter(), false)
    }

    fn service<'a>(environment: &'a str, app_id: &'a str, service_name: &'a str) -> Labels<'a> {
        Labels { environment, app_id, service_name }
    }

    /// The detail of the refusal, or nothing.
    fn check(roles: &[&str], verb: Verb, resource: Resource, targets: &[Labels<'_>], refusal: &str) {
        let decided = permissions(roles).decide(verb, resource, targets);
        let detail = decided.err().map(|error| {
            assert_eq!(error.code, Code::NoPermission);
            error.detail.into_owned()
        });
        assert_eq!(detail.unwrap_or_default(), refusal, "{roles:?} {verb} {resource} {targets:?}");
    }

    #[test]
    fn without_any_permission_everything_is_rejected() {
        for roles in [&[] as &[&str], &["[]"], &["null"], &["[null]", "[]"]] {
            check(roles, Verb::Get, Resource::Service, &[], "role has no any permissions");
        }
    }

    #[test]
    fn verb_and_type_must_match() {
        let roles = [
            r#"[null, {"resources":[{"type":"service"}, null],"verbs":["get","create"]}]"#,
            r#"[{"resources":[{"type":"role"},{"type":"ops"}],"verbs":["*"]}, {"verbs":["update"]}]"#,
        ];
        check(&roles, Verb::Get, Resource::Service, &[service("", "a", "b")], "");
        check(&roles, Verb::Create, Resource::Service, &[], "");
        check(&roles, Verb::Update, Resource::Service, &[], "role has no permissions[service:update]");
        check(&roles, Verb::Delete, Resource::Role, &[], "");
        check(&roles, Verb::Get, Resource::Ops, &[], "");
        check(&roles, Verb::Get, Resource::Account, &[], "role has no permissions[account:get]");
        check(&roles, Verb::Get, Resource::ServiceSchema, &[], "role has no permissions[service/schema:get]");
    }

    const TWO_APPS: &str = r#"[
        {"resources":[{"type":"service","labels":{"appId":"a1","environment":"testing"}}],"verbs":["*"]},
        {"resources":[{"type":"service","labels":{"appId":"a2"}}],"verbs":["get"]}]"#;

    #[test]
    fn all_labels_of_one_rule_must_match() {
        let get = |target, refusal| check(&[TWO_APPS], Verb::Get, Resource::Service, &[target], refusal);
        get(service("testing", "a1", "x"), "");
        get(service("", "a2", "x"), "");
        let refusal = "role has no permissions[service:get] for labels \
                       {environment: 'development', appId: 'a1', serviceName: 'x'}";
        get(service("development", "a1", "x"), refusal);
        check(&[TWO_APPS], Verb::Update, Resource::Service, &[service("testing", "a1", "x")], "");
        let refusal = "role has no permissions[service:update] for labels \
                       {environment: '', appId: 'a2', serviceName: 'x'}";
        check(&[TWO_APPS], Verb::Update, Resource::Service, &[service("", "a2", "x")], refusal);
    }

    /// The original permits a request if one of its services matches.
    #[test]
    fn every_target_must_match() {
        let (own, foreign) = (service("", "a2", "x"), service("", "a3", "x"));
        check(&[TWO_APPS], Verb::Get, Resource::Service, &[own, own], "");
        let refusal = "role has no permissions[service:get] for labels \
                       {environment: '', appId: 'a3', serviceName: 'x'}";
        check(&[TWO_APPS], Verb::Get, Resource::Service, &[own, foreign], refusal);
    }

    #[test]
    fn a_label_that_no_request_has_matches_only_if_it_is_empty() {
        let with = |value| {
            format!(
                r#"[{{"resources":[{{"type":"service","labels":{{"color":"{value}","appId":"a"}}}}],"verbs":["*"]}}]"#
            )
        };
        assert!(
            permissions(&[&with("")]).decide(Verb::Get, Resource::Service, &[service("", "a", "x")]).is_ok()
        );
        assert!(
            permissions(&[&with("red")])
                .decide(Verb::Get, Resource::Service, &[service("", "a", "x")])
                .is_err()
        );
    }

    #[test]
    fn admin_may_do_everything() {
        for roles in [vec![], vec![role("[]")]] {
            let admin = Permissions::of(roles.iter(), true);
            assert_eq!(
                admin.decide(Verb::Delete, Resource::Account, &[service("", "a", "b")]),
                Ok(Grant::All)
            );
        }
    }

    #[test]
    fn lists_show_what_a_rule_covers() {
        let of = |roles: &[&str]| permissions(roles).decide(Verb::Get, Resource::Service, &[]).unwrap();
        let two_apps = of(&[TWO_APPS]);
        assert!(two_apps.shows("testing", "a1", "x") && two_apps.shows("", "a2", "y"));
        assert!(!two_apps.shows("", "a1", "x") && !two_apps.shows("", "a3", "x"));
        let all = of(&[TWO_APPS, r#"[{"resources":[{"type":"service"}],"verbs":["get"]}]"#]);
        assert_eq!(all, Grant::All);
        assert!(all.shows("", "a3", "x"));
    }

    /// A wildcard counts in lists, and is literal in decisions.
    #[test]
    fn wildcards() {
        let role = r#"[{"resources":[{"type":"service","labels":{"serviceName":"a-*"}}],"verbs":["*"]}]"#;
        let role = permissions(&[role]);
        let grant = role.decide(Verb::Get, Resource::Service, &[]).unwrap();
        assert!(grant.shows("", "x", "a-1") && !grant.shows("", "x", "b-1"));
        assert!(role.decide(Verb::Get, Resource::Service, &[service("", "x", "a-1")]).is_err());
        assert!(role.decide(Verb::Get, Resource::Service, &[service("", "x", "a-*")]).is_ok());
        for (pattern, text) in [
            ("*", ""),
            ("*", "x"),
            ("a*", "a"),
            ("a*b*c", "a-b-b-c"),
            ("*b*", "b"),
            ("**", "x"),
            ("a*a", "aa"),
            ("", ""),
        ] {
            assert!(wildcard_matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "x"),
            ("a*a", "a"),
            ("a*", "b"),
            ("*b", "bc"),
            ("a*b*c", "acb"),
            ("a*bc*c", "abc"),
            ("a?", "ab"),
        ] {
            assert!(!wildcard_matches(pattern, text), "{pattern} {text}");
        }
    }

    /// Section 2.8 of the contract, step by step.
    fn naive(
        roles: &[Role],
        verb: Verb,
        resource: Resource,
        targets: &[Labels<'_>],
    ) -> Result<Option<Vec<TextMap>>, u8> {
        let mut all = Vec::new();
        for role in roles {
            for permission in role.permissions.iter().flatten() {
                all.push(permission);
            }
        }
        if all.is_empty() {
            return Err(1);
        }
        let mut kept = Vec::new();
        for permission in all {
            if permission.verbs.iter().any(|has| has == "*" || *has == verb.to_string()) {
                for has in permission.resources.iter().flatten() {
                    if has.kind == resource.to_string() {
                        kept.push(has);
                    }
                }
            }
        }
        if kept.is_empty() {
            return Err(2);
        }
        if kept.iter().any(|has| has.labels.is_empty()) {
            return Ok(None);
        }
        for target in targets {
            let mut matches = false;
            for has in &kept {
                let pair = |name: &str, value: &str| has.labels.get(name).is_none_or(|has| has == value);
                let known = ["environment", "appId", "serviceName"];
                matches |= pair("environment", target.environment)
                    && pair("appId", target.app_id)
                    && pair("serviceName", target.service_name)
                    && has
                        .labels
                        .iter()
                        .all(|(name, value)| known.contains(&name.as_str()) || value.is_empty());
            }
            if !matches {
                return Err(3);
            }
        }
        Ok(Some(kept.into_iter().map(|has| has.labels.clone()).collect()))
    }

    #[test]
    fn random_decisions_are_those_of_the_naive_model() {
        let mut random = StdRng::seed_from_u64(20);
        let mut outcomes = [0; 5];
        for _ in 0..20_000 {
            let mut pick = |choices: &[&'static str]| choices[random.random_range(0..choices.len())];
            let mut roles = Vec::new();
            for _ in 0..pick(&["", "1", "22", "333"]).len() {
                let mut permissions = Vec::new();
                for _ in 0..pick(&["", "1", "22"]).len() {
                    let verbs = format!(
                        r#"["{}","{}"]"#,
                        pick(&["get", "create", "update", "x"]),
                        pick(&["delete", "*", "get"])
                    );
                    let mut resources = Vec::new();
                    for _ in 0..pick(&["", "1", "22", "333"]).len() {
                        let kind = pick(&["service", "service", "role", "ops", "other"]);
                        let label = |name: &str, value: &str| match value {
                            "-" => String::new(),
                            value => format!(r#""{name}":"{value}","#),
                        };
                        let labels = [
                            label("environment", pick(&["-", "-", "", "testing"])),
                            label("appId", pick(&["-", "a", "b"])),
                            label("serviceName", pick(&["-", "s", "t", "*"])),
                            label("color", pick(&["-", "-", "-", "", "red"])),
                        ];
                        let labels = labels.concat();
                        resources.push(format!(
                            r#"{{"type":"{kind}","labels":{{{}}}}}"#,
                            labels.trim_end_matches(',')
                        ));
                    }
                    permissions.push(format!(r#"{{"verbs":{verbs},"resources":[{}]}}"#, resources.join(",")));
                }
                roles.push(role(&format!("[{}]", permissions.join(","))));
            }
            let count = pick(&["", "1", "22", "333"]).len();
            let mut target = || Labels {
                environment: pick(&["", "testing"]),
                app_id: pick(&["a", "b"]),
                service_name: pick(&["s", "t", "*"]),
            };
            let targets: Vec<Labels<'_>> = (0..count).map(|_| target()).collect();
            let verb = Verb::ALL[random.random_range(0..Verb::ALL.len())];
            let resource = [Resource::Service, Resource::Role, Resource::Ops][random.random_range(0..3)];

            let expected = naive(&roles, verb, resource, &targets);
            let decided = Permissions::of(roles.iter(), false).decide(verb, resource, &targets);
            match (&decided, &expected) {
                (Ok(Grant::All), Ok(None)) => outcomes[4] += 1,
                (Ok(Grant::Labelled(rules)), Ok(Some(kept))) => {
                    assert_eq!(rules.as_ref(), kept.as_slice());
                    outcomes[0] += 1;
                }
                (Err(error), Err(step)) => {
                    let found = match error.detail.as_ref() {
                        "role has no any permissions" => 1,
                        detail if detail.contains(" for labels ") => 3,
                        _ => 2,
                    };
                    assert_eq!(found, *step, "{error}");
                    outcomes[usize::from(*step)] += 1;
                }
                other => panic!("{other:?} for {roles:?} {verb} {resource} {targets:?}"),
            }
        }
        assert!(outcomes.iter().all(|count| *count > 100), "each outcome was tried: {outcomes:?}");
    }
}
