//! Services: the bodies of registrations and batch deletions, and the answers.

use std::collections::HashSet;

use crate::domain::json::TextMap;
use crate::domain::validate::flag::Force;
use crate::domain::validate::service::MAX_INSTANCES;
use crate::domain::validate::size::SizeLimits;
use crate::domain::validate::{self, rule};
use crate::domain::{Instance, Service};
use crate::error::Error;
use crate::json_object;

json_object! {
    /// The body of a registration. The member `rules` of old clients is ignored.
    pub struct CreateService {
        /// The service. Required.
        "service" => service: Option<Service>,
        /// The tags of the service. If there are none, the service keeps the tags that it has.
        "tags" => tags: TextMap,
        /// Instances that are registered with the service.
        "instances" => instances: Vec<Option<Instance>>,
    }
}

/// A service to register. It is valid, and defaults are filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    pub service: Service,
    /// Not validated yet: as on the original server, the service is stored even if a tag is invalid, and the answer lists the
    /// errors of tags and instances together.
    pub tags: TextMap,
    /// Not validated yet, for the same reason.
    pub instances: Vec<Instance>,
}

impl CreateService {
    /// 400001 if the service is missing or invalid, for more than [`MAX_INSTANCES`] instances, and for a `null` among them.
    pub fn into_registration(self, schema_quota: usize, sizes: &SizeLimits) -> Result<Registration, Error> {
        let mut service = self.service.ok_or_else(|| Error::invalid("Request body is empty"))?;
        service.apply_defaults();
        validate::service::registration(&service, schema_quota)?;
        sizes.check_properties(&service.properties)?;
        let count = self.instances.len();
        if count > MAX_INSTANCES {
            let detail =
                format!("a service is registered with at most {MAX_INSTANCES} instances, not with {count}");
            return Err(Error::invalid(detail));
        }
        let instances = rule::all_present("CreateServiceRequest.Instances", self.instances)?;
        Ok(Registration { service, tags: self.tags, instances })
    }
}

json_object! {
    /// The body of a batch deletion.
    pub struct DeleteServices {
        /// The ids of the services. Required.
        "serviceIds" => service_ids: Vec<String>,
        /// Whether a service is deleted even if it has instances or consumers.
        "force" => force: bool,
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Valid ids in the order of the request, without repetitions.
    pub service_ids: Vec<String>,
    pub force: Force,
}

impl DeleteServices {
    /// 400001 if there are no ids, and for an invalid id.
    pub fn into_deletion(self) -> Result<Deletion, Error> {
        validate::service::batch_deletion(&self.service_ids)?;
        let mut seen = HashSet::new();
        let service_ids = self.service_ids.into_iter().filter(|id| seen.insert(id.clone())).collect();
        Ok(Deletion { service_ids, force: if self.force { Force::Yes } else { Force::No } })
    }
}

json_object! {
    /// The body that replaces the properties of a service or an instance. Some clients send the whole service or instance: its
    /// other members are ignored.
    pub struct Properties {
        /// The new properties. If there are none, all properties are deleted.
        "properties" => properties: TextMap,
    }
}

impl Properties {
    /// 400001 if the properties are too large.
    pub fn into_properties(self, sizes: &SizeLimits) -> Result<TextMap, Error> {
        sizes.check_properties(&self.properties)?;
        Ok(self.properties)
    }
}

json_object! {
    /// The id of a registered or existing service.
    pub struct Existence {
        /// The id of the service.
        "serviceId" => service_id: String,
        /// The id of the schema, if the request asked for a schema.
        "schemaId" => schema_id: String,
    }
}

json_object! {
    /// The answer to a batch deletion.
    pub struct DeleteServicesResult {
        /// One result for each service.
        "services" => services: Vec<DeleteServiceResult>,
    }
}

json_object! {
    /// The result for one service of a batch deletion.
    pub struct DeleteServiceResult {
        /// Why the service was not deleted. Left out if it was deleted.
        "errMessage" => error: String,
        /// The id of the service.
        "serviceId" => service_id: String,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::body;
    use super::*;
    use crate::domain::json;

    fn check_create(input: &str, expected: Result<&str, &str>) {
        let registration =
            body::<CreateService>(input.as_bytes()).and_then(|body| body.into_registration(100, &sizes()));
        match (registration, expected) {
            (Ok(registration), Ok(service)) => {
                assert_eq!(String::from_utf8(json::encode(&registration.service)).unwrap(), service);
            }
            (Err(error), Err(part)) => assert!(error.detail.contains(part), "{error}"),
            (registration, _) => panic!("{input}: {registration:?}"),
        }
    }

    fn sizes() -> SizeLimits {
        SizeLimits { properties: 50, ..SizeLimits::default() }
    }

    #[test]
    fn more_than_the_single_routes_take_is_refused() {
        let with = |member: &str| format!(r#"{{"service":{{"serviceName":"x"{member}}}"#);
        let large = "x".repeat(50);
        check_create(
            &format!("{}}}", with(&format!(r#","properties":{{"p":"{large}"}}"#))),
            Err("server.request.maxPropertiesBytes"),
        );
        let instances = vec!["{}"; MAX_INSTANCES + 1].join(",");
        check_create(
            &format!(r#"{},"instances":[{instances}]}}"#, with("")),
            Err("at most 1000 instances, not with 1001"),
        );
    }

    /// A body that has only `rules` is answered like an empty body.
    #[test]
    fn creations() {
        let minimal =
            r#"{"appId":"default","serviceName":"x","version":"0.0.1","level":"BACK","status":"UP"}"#;
        check_create(r#"{"service":{"serviceName":"x"}}"#, Ok(minimal));
        check_create(r#"{"SERVICE":{"serviceNAME":"x"},"rules":[{"ruleType":"BLACK"}]}"#, Ok(minimal));
        for empty in ["{}", "null", r#"{"service":null}"#, r#"{"tags":{"a":"b"}}"#, r#"{"rules":[{}]}"#] {
            check_create(empty, Err("Request body is empty"));
        }
        // A service that is there twice is one with the members of both.
        check_create(
            r#"{"service":{"serviceName":"y","alias":"z"},"service":{"alias":null,"serviceName":"x"}}"#,
            Ok(
                r#"{"appId":"default","serviceName":"x","version":"0.0.1","level":"BACK","status":"UP","alias":"z"}"#,
            ),
        );
        check_create(r#"{"service":{"serviceName":"x"},"service":null}"#, Err("Request body is empty"));
        check_create("", Err("unexpected end of JSON input"));
        check_create(r#"{"service":{}}"#, Err("MicroService.ServiceName"));
        check_create(r#"{"service":{"serviceName":"x","paths":[null]}}"#, Err("MicroService.Paths[0]"));
        check_create(
            r#"{"service":{"serviceName":"x"},"instances":[{},null]}"#,
            Err("CreateServiceRequest.Instances[1]"),
        );
    }

    #[test]
    fn wrong_types() {
        for (member, path) in [
            (r#""serviceName":5"#, "service.serviceName"),
            (r#""properties":{"a":1}"#, "service.properties.a"),
            (r#""properties":[]"#, "service.properties"),
            (r#""schemas":"x""#, "service.schemas"),
            (r#""schemas":[1]"#, "service.schemas[0]"),
            (r#""framework":"x""#, "service.framework"),
            (r#""paths":{}"#, "service.paths"),
            (r#""version":1.0"#, "service.version"),
            (r#""timestamp":12"#, "service.timestamp"),
        ] {
            check_create(&format!(r#"{{"service":{{{member}}}}}"#), Err(&format!("field '{path}'")));
        }
        check_create(r#"{"service":"x"}"#, Err("field 'service'"));
        check_create(r#"{"service":[]}"#, Err("field 'service'"));
        check_create(r#"{"tags":[]}"#, Err("field 'tags'"));
        check_create(r#"{"instances":{}}"#, Err("field 'instances'"));
    }

    /// Tags and instances are handed on as they are.
    #[test]
    fn tags_and_instances_come_along() {
        let input = r#"{"service":{"serviceName":"x"},"tags":{"0":""},"instances":[{},{"hostName":"h"}]}"#;
        let read = body::<CreateService>(input.as_bytes()).unwrap();
        let registration = read.into_registration(100, &sizes()).unwrap();
        assert_eq!(registration.tags.len(), 1);
        assert_eq!(registration.instances[1].host_name, "h");
    }

    fn check_delete(input: &str, expected: Result<(&[&str], Force), &str>) {
        let deletion = body::<DeleteServices>(input.as_bytes()).and_then(DeleteServices::into_deletion);
        match (deletion, expected) {
            (Ok(deletion), Ok((ids, force))) => {
                assert_eq!(
                    (deletion.service_ids.as_slice(), deletion.force),
                    (ids_of(ids).as_slice(), force)
                );
            }
            (Err(error), Err(part)) => assert!(error.detail.contains(part), "{error}"),
            (deletion, _) => panic!("{input}: {deletion:?}"),
        }
    }

    fn ids_of(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn deletions() {
        check_delete(r#"{"serviceIds":["b","a","b"],"force":true}"#, Ok((&["b", "a"], Force::Yes)));
        check_delete(r#"{"serviceIds":["a"]}"#, Ok((&["a"], Force::No)));
        for none in ["{}", r#"{"serviceIds":[]}"#, r#"{"serviceIds":null}"#] {
            check_delete(none, Err("'DelServicesRequest.ServiceIds' invalid value '[]'"));
        }
        check_delete(r#"{"serviceIds":["a",null]}"#, Err("DelServicesRequest.ServiceIds[1]"));
        check_delete(r#"{"serviceIds":["a"],"force":"true"}"#, Err("field 'force'"));
        check_delete(r#"{"serviceIds":"a"}"#, Err("field 'serviceIds'"));
    }

    #[test]
    fn properties() {
        let input =
            br#"{"serviceId":"other","Properties":{"k":"v","n":null},"framework":{"name":"B"},"version":9}"#;
        let properties = body::<Properties>(input).unwrap().into_properties(&sizes()).unwrap();
        assert_eq!(properties, TextMap::from([("k".into(), "v".into()), ("n".into(), String::new())]));
        assert!(body::<Properties>(br#"{"properties":null}"#).unwrap().properties.is_empty());
        let large = format!(r#"{{"properties":{{"k":"{}"}}}}"#, "x".repeat(50));
        assert!(body::<Properties>(large.as_bytes()).unwrap().into_properties(&sizes()).is_err());
    }

    #[test]
    fn answers() {
        let result =
            |id: &str, error: &str| DeleteServiceResult { error: error.into(), service_id: id.into() };
        let answer = DeleteServicesResult { services: vec![result("a", ""), result("b", "why")] };
        assert_eq!(
            String::from_utf8(json::encode(&answer)).unwrap(),
            r#"{"services":[{"serviceId":"a"},{"errMessage":"why","serviceId":"b"}]}"#
        );
    }
}
