//! Instances: the bodies of registrations, batches of heartbeats and status changes, and the answers.

use std::collections::HashSet;

use crate::domain::Instance;
use crate::domain::json::TextMap;
use crate::domain::validate::size::SizeLimits;
use crate::domain::validate::{self, rule};
use crate::error::Error;
use crate::json_object;

json_object! {
    /// The body of a registration.
    pub struct RegisterInstanceBody {
        /// The instance. Required.
        "instance" => instance: Option<Instance>,
    }
}

impl RegisterInstanceBody {
    /// The instance, after validation; 400001 if it is invalid. Defaults are not filled in. `service_id` comes from the path.
    pub fn into_instance(self, service_id: &str, sizes: &SizeLimits) -> Result<Instance, Error> {
        let instance = rule::required("RegisterInstanceRequest.Instance", self.instance)?;
        check_registration(service_id, &instance, sizes)?;
        Ok(instance)
    }
}

/// 400001 for an instance that is invalid or too large.
pub fn check_registration(service_id: &str, instance: &Instance, sizes: &SizeLimits) -> Result<(), Error> {
    validate::instance::registration(service_id, instance)?;
    sizes.check_instance(instance)
}

json_object! {
    /// The answer to a registration.
    pub struct InstanceRegistered {
        /// The id of the instance.
        "instanceId" => instance_id: String,
    }
}

json_object! {
    /// The ids of an instance.
    pub struct InstanceKey {
        /// The id of the service.
        "serviceId" => service_id: String,
        /// The id of the instance.
        "instanceId" => instance_id: String,
    }
}

json_object! {
    /// The body of a batch of heartbeats.
    pub struct Heartbeats {
        /// The instances. Required.
        "instances" => instances: Vec<Option<InstanceKey>>,
    }
}

impl Heartbeats {
    /// The instances in their order, without repetitions. 400001 if there are none, and for a `null` among them. The ids are not
    /// validated here, so that one invalid id does not prevent the other heartbeats.
    pub fn into_instances(self) -> Result<Vec<InstanceKey>, Error> {
        if self.instances.is_empty() {
            return Err(Error::invalid("Request format invalid."));
        }
        let mut instances = rule::all_present("HeartbeatSetRequest.Instances", self.instances)?;
        let mut seen = HashSet::new();
        instances.retain(|key| seen.insert((key.service_id.clone(), key.instance_id.clone())));
        Ok(instances)
    }
}

json_object! {
    /// The answer to a batch of heartbeats.
    pub struct HeartbeatsResult {
        /// One result for each instance.
        "instances" => instances: Vec<HeartbeatResult>,
    }
}

json_object! {
    /// The result of one heartbeat.
    pub struct HeartbeatResult {
        /// The id of the service.
        "serviceId" => service_id: String,
        /// The id of the instance.
        "instanceId" => instance_id: String,
        /// Why the heartbeat failed. Left out if it succeeded.
        "errMessage" => error: String,
    }
}

json_object! {
    /// The body of a status change of many instances.
    pub struct BulkStatus {
        /// Which instances are changed. Required.
        "matches" => matches: Option<Matches>,
        /// The new status. Required.
        "status" => status: String,
    }
}

json_object! {
    /// The conditions for an instance. Unknown members are an error here: a misspelled condition must not change all instances.
    pub struct Matches, closed {
        /// Properties that an instance must have, all of them. At least one is required.
        "properties" => properties: TextMap,
    }
}

/// A new status for all instances that have these properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusChange {
    /// At least one.
    pub properties: TextMap,
    pub status: String,
}

impl BulkStatus {
    /// 400001 if the status is invalid or missing, and if there is no property to match.
    pub fn into_change(self) -> Result<StatusChange, Error> {
        let properties = self.matches.unwrap_or_default().properties;
        validate::instance::bulk_status(&self.status, properties.len())?;
        Ok(StatusChange { properties, status: self.status })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::body;
    use super::super::tests::check_read as check;
    use super::*;
    use crate::domain::json;

    #[test]
    fn registrations() {
        let sizes = SizeLimits { instance: 100, ..SizeLimits::default() };
        let read = |input: &str| {
            body::<RegisterInstanceBody>(input.as_bytes()).and_then(|body| body.into_instance("s", &sizes))
        };
        let instance = Instance { host_name: "h".to_owned(), ..Instance::default() };
        check(read(r#"{"INSTANCE":{"HostName":"h"},"x":1}"#), Ok(instance));
        for none in ["{}", "null", r#"{"instance":null}"#, r#"{"instancse":{"hostName":"h"}}"#] {
            let detail = "field 'RegisterInstanceRequest.Instance' invalid value '<nil>' does not match rule: {Min: 1}";
            check(read(none), Err(detail));
        }
        check(read(r#"{"instance":{}}"#), Err("MicroServiceInstance.HostName"));
        let large =
            format!(r#"{{"instance":{{"hostName":"h","properties":{{"p":"{}"}}}}}}"#, "x".repeat(100));
        check(read(&large), Err("server.request.maxInstanceBytes"));
        check(read(r#"{"instance":{"healthCheck":{"interval":1.5}}}"#), Err("instance.healthCheck.interval"));
        check(read("{"), Err("EOF"));
    }

    fn key(service_id: &str, instance_id: &str) -> InstanceKey {
        InstanceKey { service_id: service_id.to_owned(), instance_id: instance_id.to_owned() }
    }

    #[test]
    fn heartbeats() {
        let read = |input: &str| body::<Heartbeats>(input.as_bytes()).and_then(Heartbeats::into_instances);
        check(
            read(
                r#"{"Instances":[{"serviceId":"a","instanceId":"b c"},{"instanceId":"b c","serviceId":"a"},{}]}"#,
            ),
            Ok(vec![key("a", "b c"), key("", "")]),
        );
        // Joined, these two pairs would be equal.
        let pairs =
            r#"{"instances":[{"serviceId":"ab","instanceId":"c"},{"serviceId":"a","instanceId":"bc"}]}"#;
        check(read(pairs), Ok(vec![key("ab", "c"), key("a", "bc")]));
        for none in ["{}", "null", r#"{"instances":[]}"#, r#"{"instances":null}"#] {
            check(read(none), Err("Request format invalid."));
        }
        check(read(r#"{"instances":[null]}"#), Err("HeartbeatSetRequest.Instances[0]"));
        check(read(r#"{"instances":[{"serviceId":5}]}"#), Err("instances[0].serviceId"));
        check(read(r#"{"instances":{}}"#), Err("field 'instances'"));
        check(read("[]"), Err("expected an object"));
    }

    /// The status must be one.
    #[test]
    fn many_statuses() {
        let read = |input: &str| body::<BulkStatus>(input.as_bytes()).and_then(BulkStatus::into_change);
        let change = |properties: &[(&str, &str)], status: &str| StatusChange {
            properties: properties.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
            status: status.to_owned(),
        };
        check(
            read(r#"{"matches":{"properties":{"a":"b"}},"status":"DOWN"}"#),
            Ok(change(&[("a", "b")], "DOWN")),
        );
        check(
            read(r#"{"Matches":{"PROPERTIES":{"a":null}},"status":"UP","x":1}"#),
            Ok(change(&[("a", "")], "UP")),
        );
        for none in ["", r#""matches":null,"#, r#""matches":{},"#, r#""matches":{"properties":{}},"#] {
            let field = "UpdateManyInstanceStatusRequest.Matches.Properties";
            check(read(&format!(r#"{{{none}"status":"UP"}}"#)), Err(field));
        }
        check(read(r#"{"matches":{"property":{"a":"b"}},"status":"UP"}"#), Err("unknown member 'property'"));
        check(read(r#"{"matches":{"properties":{"a":"b"},"service":"s"},"status":"UP"}"#), Err("'service'"));
        check(read(r#"{"status":"nonsense"}"#), Err("UpdateManyInstanceStatusRequest.Status"));
        check(read("{}"), Err("UpdateManyInstanceStatusRequest.Status"));
        check(read(r#"{"matches":{"properties":{"a":5}},"status":"UP"}"#), Err("matches.properties.a"));
    }

    #[test]
    fn answers() {
        let result = |error: &str| HeartbeatResult {
            service_id: "a".to_owned(),
            instance_id: "b".to_owned(),
            error: error.to_owned(),
        };
        let answer = HeartbeatsResult { instances: vec![result(""), result("why")] };
        assert_eq!(
            String::from_utf8(json::encode(&answer)).unwrap(),
            r#"{"instances":[{"serviceId":"a","instanceId":"b"},{"serviceId":"a","instanceId":"b","errMessage":"why"}]}"#
        );
    }
}
