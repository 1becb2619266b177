//! Validates requests for services: registration, ids in paths, ids in a batch deletion.

use std::fmt;

use super::demand::{ConfiguredLimit, Demand, Demanded};
use super::rule::{self, MemberRule, ShownTexts};
use super::{instance, member, pattern, tag};
use crate::domain::Service;
use crate::error::Error;

/// A request of which only the service's id is validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceRequest {
    Get,
    Delete,
    /// Replace the properties. They may be any texts.
    PutProperties,
    GetTags,
    ListSchemas,
    /// List the providers or the consumers.
    GetDependencies,
    /// Watch the providers.
    Watch,
}

impl fmt::Display for ServiceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GetServiceRequest",
            Self::Delete => "DeleteServiceRequest",
            Self::PutProperties => "UpdateServicePropsRequest",
            Self::GetTags => "GetServiceTagsRequest",
            Self::ListSchemas => "GetAllSchemaRequest",
            Self::GetDependencies => "GetDependenciesRequest",
            Self::Watch => "WatchInstanceRequest",
        })
    }
}

/// Validates the service id in a path.
pub fn id(request: ServiceRequest, service_id: &str) -> Result<(), Error> {
    member::SERVICE_ID.check(format_args!("{request}.ServiceId"), service_id)
}

const NEW_ID: MemberRule = MemberRule::at_most(64).and_like(pattern::NEW_SERVICE_ID);
const DESCRIPTION: MemberRule = MemberRule::at_most(256);
const LEVEL: MemberRule = MemberRule::like(pattern::LEVEL);
const SCHEMA: MemberRule = MemberRule::like(pattern::LISTED_SCHEMA_ID);
const PATH: MemberRule = MemberRule::like(pattern::PATH);
const STATUS: MemberRule = MemberRule::like(pattern::SERVICE_STATUS);
const VERSION: MemberRule = MemberRule::at_most(64).and_like(pattern::VERSION);
const LISTED_ID: MemberRule = MemberRule::like(pattern::LISTED_ID);
const REGISTER_BY: MemberRule = MemberRule::at_most(64).and_like(pattern::REGISTER_BY);
const FRAMEWORK_NAME: MemberRule = MemberRule::at_most(64).and_like(pattern::NAME);
const FRAMEWORK_VERSION: MemberRule = MemberRule::at_most(64);

/// What [`registration`] demands of the body of a request, before defaults are filled in.
const SERVICE: &[Demand] = &[
    Demand::rule("serviceId", NEW_ID),
    Demand::rule("appId", member::OPTIONAL_APP_ID),
    Demand::rule("serviceName", member::SERVICE_NAME),
    Demand::rule("version", VERSION),
    Demand::rule("description", DESCRIPTION),
    Demand::rule_or_empty("level", LEVEL),
    Demand::new("schemas", Demanded::Count(0, ConfiguredLimit::Schemas)),
    Demand::rule("schemas[]", SCHEMA),
    Demand::rule("paths[]", rule::REQUIRED),
    Demand::rule("paths[].path", PATH),
    Demand::rule("status", STATUS),
    Demand::rule("providers[]", rule::REQUIRED),
    Demand::rule("alias", member::ALIAS),
    Demand::rule("environment", member::ENVIRONMENT),
    Demand::rule("registerBy", REGISTER_BY),
    Demand::rule("framework.name", FRAMEWORK_NAME),
    Demand::rule("framework.version", FRAMEWORK_VERSION),
];

/// How many instances can be registered with a service. The limit bounds the answer, which has a sentence for each that fails.
pub const MAX_INSTANCES: usize = 1_000;

/// The body of a registration. Tags and instances are checked when the service is registered.
pub const REGISTRATION: &[Demand] = &[
    Demand::rule("service", rule::REQUIRED),
    Demand::new("service", Demanded::Part(SERVICE)),
    Demand::new("", Demanded::Part(tag::REPLACEMENT)),
    Demand::rule("instances", MemberRule::at_most(MAX_INSTANCES)),
    Demand::rule("instances[]", rule::REQUIRED),
    Demand::new("instances[]", Demanded::Part(instance::INSTANCE)),
];

/// The body of a batch deletion.
pub const DELETION: &[Demand] =
    &[Demand::rule("serviceIds", rule::REQUIRED), Demand::rule("serviceIds[]", LISTED_ID)];

/// Validates a service to register, with its defaults filled in. The list of schema ids has at most `schema_quota` elements,
/// and an id may come twice. Properties may be any texts: only the size of the body limits them.
pub fn registration(service: &Service, schema_quota: usize) -> Result<(), Error> {
    NEW_ID.check("MicroService.ServiceId", &service.service_id)?;
    member::OPTIONAL_APP_ID.check("MicroService.AppId", &service.app_id)?;
    member::SERVICE_NAME.check("MicroService.ServiceName", &service.service_name)?;
    VERSION.check("MicroService.Version", &service.version)?;
    DESCRIPTION.check("MicroService.Description", &service.description)?;
    LEVEL.check("MicroService.Level", &service.level)?;
    let schemas = &service.schemas;
    MemberRule::at_most(schema_quota).check_count(
        "MicroService.Schemas",
        schemas.len(),
        ShownTexts(schemas),
    )?;
    for (index, schema) in schemas.iter().enumerate() {
        SCHEMA.check(format_args!("MicroService.Schemas[{index}]"), schema)?;
    }
    for (index, path) in service.paths.iter().enumerate() {
        let path = rule::required(format_args!("MicroService.Paths[{index}]"), path.as_ref())?;
        PATH.check(format_args!("MicroService.Paths[{index}].Path"), &path.path)?;
    }
    STATUS.check("MicroService.Status", &service.status)?;
    for (index, provider) in service.providers.iter().enumerate() {
        rule::required(format_args!("MicroService.Providers[{index}]"), provider.as_ref())?;
    }
    member::ALIAS.check("MicroService.Alias", &service.alias)?;
    member::ENVIRONMENT.check("MicroService.Environment", &service.environment)?;
    REGISTER_BY.check("MicroService.RegisterBy", &service.register_by)?;
    if let Some(framework) = &service.framework {
        FRAMEWORK_NAME.check("FrameWork.Name", &framework.name)?;
        FRAMEWORK_VERSION.check("FrameWork.Version", &framework.version)?;
    }
    Ok(())
}

/// Validates the ids of a batch deletion: at least one.
pub fn batch_deletion<T: AsRef<str>>(service_ids: &[T]) -> Result<(), Error> {
    const FIELD: &str = "DelServicesRequest.ServiceIds";
    rule::REQUIRED.check_count(FIELD, service_ids.len(), ShownTexts(service_ids))?;
    for (index, id) in service_ids.iter().enumerate() {
        LISTED_ID.check(format_args!("{FIELD}[{index}]"), id.as_ref())?;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::rule::refused_field;
    use super::*;
    use crate::domain::json;

    /// Validates a service given as JSON, with a quota of 100 schemas. `field` is the member that the error must name.
    fn check(service: &str, field: Option<&str>) {
        let mut service: Service = json::decode(service.as_bytes()).unwrap();
        service.apply_defaults();
        check_result(registration(&service, 100), field);
    }

    fn check_result(result: Result<(), Error>, field: Option<&str>) {
        assert_eq!(refused_field(result).as_deref(), field);
    }

    /// A service with one more member.
    fn with(member: &str) -> String {
        format!(r#"{{"serviceName":"n",{member}}}"#)
    }

    fn x(count: usize) -> String {
        "x".repeat(count)
    }

    #[test]
    fn a_name_is_enough() {
        check(r#"{"serviceName":"x"}"#, None);
    }

    #[test]
    fn all_maxima_at_once() {
        let paths = (0..101).map(|at| format!(r#"{{"path":"/p{at}"}}"#)).collect::<Vec<_>>().join(",");
        check(
            &format!(
                r#"{{"appId":"{}","serviceName":"{}","version":"32767.32767.32767.32767","alias":"{}",
                "description":"{}","schemas":["{}"],"framework":{{"name":"{}","version":"{}"}},"paths":[{paths}],
                "level":"MIDDLE","status":"DOWN","environment":"acceptance","registerBy":"PLATFORM"}}"#,
                x(160),
                x(128),
                x(128),
                x(256),
                x(160),
                x(64),
                x(64)
            ),
            None,
        );
    }

    #[test]
    fn name() {
        for bad in ["", "*", "-", ".a", "a_", "a:b", "grö", &x(129)] {
            check(&format!(r#"{{"serviceName":"{bad}"}}"#), Some("MicroService.ServiceName"));
        }
        check("{}", Some("MicroService.ServiceName"));
        check(r#"{"serviceName":null}"#, Some("MicroService.ServiceName"));
        check(&format!(r#"{{"serviceName":"{}"}}"#, x(128)), None);
    }

    #[test]
    fn the_refusal_says_member_value_and_rule() {
        let service =
            Service { service_name: "<&>".to_owned(), level: "BACK".to_owned(), ..Service::default() };
        let error = registration(&service, 100).unwrap_err();
        assert_eq!(
            error.detail,
            "field 'MicroService.ServiceName' invalid value '<&>' does not match rule: {Min: 1, Max: 128, \
             Regexp: ^[a-zA-Z0-9]*$|^[a-zA-Z0-9][a-zA-Z0-9_\\-.]*[a-zA-Z0-9]$}"
        );
    }

    /// No URL would reach an id with `/`.
    #[test]
    fn own_id() {
        for good in [&x(64), &"ä".repeat(64), "My.Id_-", "äöü:;,@!$*()=~%-", ""] {
            check(&with(&format!(r#""serviceId":"{good}""#)), None);
        }
        for bad in [" ", "a b", "a\\t", "\\n", "a/b", ".", "..", "a\u{202e}b", &x(65), &"ä".repeat(65)] {
            check(&with(&format!(r#""serviceId":"{bad}""#)), Some("MicroService.ServiceId"));
        }
    }

    #[test]
    fn app_id() {
        for good in ["", "0", "a--b..c__d", &x(160)] {
            check(&with(&format!(r#""appId":"{good}""#)), None);
        }
        for bad in ["*", "a b", "a:b", "ä", "a\\n", &x(161)] {
            check(&with(&format!(r#""appId":"{bad}""#)), Some("MicroService.AppId"));
        }
    }

    #[test]
    fn version() {
        for good in ["1", "1.0", "1.0.0.0", "00.0.1", ""] {
            check(&with(&format!(r#""version":"{good}""#)), None);
        }
        for bad in ["1.", "1.a.0", "1.32768.0", "1.1.0.0.0", "latest", "1.0+", &"0".repeat(65)] {
            check(&with(&format!(r#""version":"{bad}""#)), Some("MicroService.Version"));
        }
    }

    /// Environment and registrant are one word each, not several in a row.
    #[test]
    fn words() {
        check(&with(r#""level":"INVALID""#), Some("MicroService.Level"));
        check(&with(r#""status":"STARTING""#), Some("MicroService.Status"));
        check(&with(r#""environment":"notexistenv""#), Some("MicroService.Environment"));
        check(&with(r#""environment":"developmenttesting""#), Some("MicroService.Environment"));
        check(&with(r#""registerBy":"InValid""#), Some("MicroService.RegisterBy"));
        check(&with(r#""registerBy":"SDKSIDECAR""#), Some("MicroService.RegisterBy"));
        check(&with(r#""level":"","status":"","environment":"","registerBy":"SDK""#), None);
    }

    #[test]
    fn alias_and_description() {
        check(&with(r#""alias":"aA:-_.1""#), None);
        for bad in ["@$#%", ".", ".."] {
            check(&with(&format!(r#""alias":"{bad}""#)), Some("MicroService.Alias"));
        }
        check(&with(&format!(r#""alias":"{}""#, x(129))), Some("MicroService.Alias"));
        check(&with(&format!(r#""description":"{}""#, "中".repeat(256))), None);
        check(&with(&format!(r#""description":"{}""#, "中".repeat(257))), Some("MicroService.Description"));
    }

    /// An id may come twice.
    #[test]
    fn schemas() {
        let list = |count| (0..count).map(|at| format!(r#""s{at}""#)).collect::<Vec<_>>().join(",");
        check(&with(&format!(r#""schemas":[{}]"#, list(100))), None);
        check(&with(&format!(r#""schemas":[{}]"#, list(101))), Some("MicroService.Schemas"));
        check(&with(r#""schemas":["dup","dup"]"#), None);
        for bad in ["\"\"", "null", "\"a b\"", "\"-a\"", &format!("\"{}\"", x(161))] {
            check(&with(&format!(r#""schemas":["ok",{bad}]"#)), Some("MicroService.Schemas[1]"));
        }
    }

    /// Members of members, and `null` in a list of objects.
    #[test]
    fn inner_objects() {
        check(&with(r#""paths":[{},{"path":"a b"}]"#), Some("MicroService.Paths[1].Path"));
        check(&with(r#""paths":[{},null]"#), Some("MicroService.Paths[1]"));
        check(&with(r#""providers":[null]"#), Some("MicroService.Providers[0]"));
        for good in [r#"{"name":"N"}"#, r#"{"version":"any @ 1"}"#, "{}", "null"] {
            check(&with(&format!(r#""framework":{good}"#)), None);
        }
        check(&with(&format!(r#""framework":{{"name":"{}"}}"#, x(65))), Some("FrameWork.Name"));
        check(&with(r#""framework":{"name":"test@$"}"#), Some("FrameWork.Name"));
        check(&with(&format!(r#""framework":{{"version":"{}"}}"#, x(65))), Some("FrameWork.Version"));
    }

    #[test]
    fn the_first_failure_in_the_order_of_members_is_reported() {
        check(r#"{"serviceName":"*","appId":"*","serviceId":"a/b"}"#, Some("MicroService.ServiceId"));
        check(r#"{"serviceName":"*","appId":"*"}"#, Some("MicroService.AppId"));
    }

    #[test]
    fn ids_in_paths() {
        for good in ["a", "ä", "a/b", &x(64)] {
            check_result(id(ServiceRequest::Get, good), None);
        }
        for bad in ["", " ", "a b", "\t", ".", "..", "a\u{200b}", &x(65)] {
            check_result(id(ServiceRequest::Get, bad), Some("GetServiceRequest.ServiceId"));
        }
        check_result(id(ServiceRequest::Delete, ""), Some("DeleteServiceRequest.ServiceId"));
        check_result(id(ServiceRequest::PutProperties, ""), Some("UpdateServicePropsRequest.ServiceId"));
        check_result(id(ServiceRequest::GetTags, ""), Some("GetServiceTagsRequest.ServiceId"));
        check_result(id(ServiceRequest::ListSchemas, ""), Some("GetAllSchemaRequest.ServiceId"));
        check_result(id(ServiceRequest::GetDependencies, ""), Some("GetDependenciesRequest.ServiceId"));
    }

    #[test]
    fn batch_deletions() {
        check_result(batch_deletion(&["a", "a/b", &x(64)]), None);
        check_result(batch_deletion::<&str>(&[]), Some("DelServicesRequest.ServiceIds"));
        for bad in ["", "a b", "..", "a\u{202e}", &x(65)] {
            check_result(batch_deletion(&["a", bad]), Some("DelServicesRequest.ServiceIds[1]"));
        }
    }
}
