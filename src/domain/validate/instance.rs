//! Validates requests for instances: registration, ids in paths, status.

use std::fmt;

use super::demand::{Demand, Demanded};
use super::rule::{self, MemberRule, ShownCount};
use super::{member, pattern};
use crate::domain::Instance;
use crate::domain::instance::{DataCenter, HealthCheck};
use crate::error::Error;

/// A request of which only the ids of service and instance are validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceRequest {
    Unregister,
    /// Replace the properties. They may be any texts.
    PutProperties,
    /// A heartbeat, single or in a batch.
    Heartbeat,
}

impl fmt::Display for InstanceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unregister => "UnregisterInstanceRequest",
            Self::PutProperties => "UpdateInstancePropsRequest",
            Self::Heartbeat => "HeartbeatRequest",
        })
    }
}

/// Validates the ids in a path, or in one element of a batch of heartbeats.
pub fn ids(request: InstanceRequest, service_id: &str, instance_id: &str) -> Result<(), Error> {
    named_ids(&request, service_id, instance_id)
}

fn named_ids(place: &dyn fmt::Display, service_id: &str, instance_id: &str) -> Result<(), Error> {
    member::SERVICE_ID.check(format_args!("{place}.ServiceId"), service_id)?;
    member::INSTANCE_ID.check(format_args!("{place}.InstanceId"), instance_id)
}

/// Validates a status to set, and the ids in the path.
pub fn status(service_id: &str, instance_id: &str, status: &str) -> Result<(), Error> {
    named_ids(&"UpdateInstanceStatusRequest", service_id, instance_id)?;
    member::INSTANCE_STATUS.check("UpdateInstanceStatusRequest.Status", status)
}

/// Validates a status to set on all instances with certain properties. The request must give a property, because otherwise it
/// would change every instance.
pub fn bulk_status(status: &str, properties: usize) -> Result<(), Error> {
    member::INSTANCE_STATUS.check("UpdateManyInstanceStatusRequest.Status", status)?;
    let field = "UpdateManyInstanceStatusRequest.Matches.Properties";
    rule::REQUIRED.check_count(field, properties, ShownCount(properties))
}

const OWN_ID: MemberRule = MemberRule::at_most(64).and_like(pattern::INSTANCE_ID);
const ENDPOINT: MemberRule = MemberRule::like(pattern::ANY);
const HOST_NAME: MemberRule = MemberRule::between(1, 64).and_like(pattern::ANY);
const STATUS: MemberRule = MemberRule::like(pattern::NEW_INSTANCE_STATUS);
const MODE: MemberRule = MemberRule::like(pattern::HEALTH_MODE);
const PORT: MemberRule = MemberRule::at_most(65_535);
const INTERVAL: MemberRule = MemberRule::between(1, i32::MAX as usize);
const TIMES: MemberRule = MemberRule::at_most(i32::MAX as usize);
const URL: MemberRule = MemberRule::like(pattern::NO_BLANKS);
const PLACE: MemberRule = MemberRule::between(1, 128).and_like(pattern::PLACE);

/// What [`registration`] demands of an instance.
pub(super) const INSTANCE: &[Demand] = &[
    Demand::rule("instanceId", OWN_ID),
    Demand::rule("endpoints[]", ENDPOINT),
    Demand::rule("hostName", HOST_NAME),
    Demand::rule("status", STATUS),
    Demand::rule("healthCheck.mode", MODE),
    Demand::rule("healthCheck.port", PORT),
    Demand::rule("healthCheck.interval", INTERVAL),
    Demand::rule("healthCheck.times", TIMES),
    Demand::rule("healthCheck.url", URL),
    Demand::rule("dataCenterInfo.name", PLACE),
    Demand::rule("dataCenterInfo.region", PLACE),
    Demand::rule("dataCenterInfo.availableZone", PLACE),
];

/// The body of a registration.
pub const REGISTRATION: &[Demand] =
    &[Demand::rule("instance", rule::REQUIRED), Demand::new("instance", Demanded::Part(INSTANCE))];

/// The body of a batch of heartbeats. Ids are not validated, so that one invalid id does not prevent the other heartbeats.
pub const HEARTBEATS: &[Demand] =
    &[Demand::rule("instances", rule::REQUIRED), Demand::rule("instances[]", rule::REQUIRED)];

/// The body of a status change of many instances.
pub const BULK_STATUS: &[Demand] = &[
    Demand::rule("status", member::INSTANCE_STATUS),
    Demand::rule("matches", rule::REQUIRED),
    Demand::new("matches", Demanded::Closed),
    Demand::rule("matches.properties", rule::REQUIRED),
];

/// Validates an instance to register, as the client sent it, without defaults. `service_id` is the one in the path. Service id,
/// version and times in the document are not used, and properties may be any texts.
pub fn registration(service_id: &str, instance: &Instance) -> Result<(), Error> {
    OWN_ID.check("MicroServiceInstance.InstanceId", &instance.instance_id)?;
    member::SERVICE_ID.check("MicroServiceInstance.ServiceId", service_id)?;
    for (index, endpoint) in instance.endpoints.iter().enumerate() {
        ENDPOINT.check(format_args!("MicroServiceInstance.Endpoints[{index}]"), endpoint)?;
    }
    HOST_NAME.check("MicroServiceInstance.HostName", &instance.host_name)?;
    STATUS.check("MicroServiceInstance.Status", &instance.status)?;
    instance.health_check.as_ref().map_or(Ok(()), health_check)?;
    instance.data_center.as_ref().map_or(Ok(()), data_center)
}

fn health_check(check: &HealthCheck) -> Result<(), Error> {
    MODE.check("HealthCheck.Mode", &check.mode)?;
    PORT.check_number("HealthCheck.Port", check.port)?;
    INTERVAL.check_number("HealthCheck.Interval", check.interval)?;
    TIMES.check_number("HealthCheck.Times", check.times)?;
    URL.check("HealthCheck.Url", &check.url)
}

fn data_center(place: &DataCenter) -> Result<(), Error> {
    PLACE.check("DataCenterInfo.Name", &place.name)?;
    PLACE.check("DataCenterInfo.Region", &place.region)?;
    PLACE.check("DataCenterInfo.AvailableZone", &place.available_zone)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::rule::refused_field;
    use super::*;
    use crate::domain::json;

    /// Validates an instance given as JSON. `field` is the member that the error must name.
    fn check(instance: &str, field: Option<&str>) {
        let instance: Instance = json::decode(instance.as_bytes()).unwrap();
        check_result(registration("s", &instance), field);
    }

    fn check_result(result: Result<(), Error>, field: Option<&str>) {
        assert_eq!(refused_field(result).as_deref(), field);
    }

    /// An instance with one more member.
    fn with(member: &str) -> String {
        format!(r#"{{"hostName":"h",{member}}}"#)
    }

    fn x(count: usize) -> String {
        "x".repeat(count)
    }

    #[test]
    fn a_host_name_is_enough() {
        check(r#"{"hostName":"h"}"#, None);
        check(
            r#"{"instanceId":"i-_.1","serviceId":"a b","endpoints":["rest://127.0.0.1:8080","any text"],
            "hostName":"h","status":"STARTING","properties":{"":"e"},"timestamp":"x","version":"9.9.9.9.9",
            "healthCheck":{"mode":"push","port":65535,"interval":60,"times":5,"url":"http://x/y?z=1"},
            "dataCenterInfo":{"name":"dc","region":"reg-1","availableZone":"az_1.a"}}"#,
            None,
        );
    }

    #[test]
    fn endpoints_and_host_name() {
        check(&with(r#""endpoints":[""]"#), Some("MicroServiceInstance.Endpoints[0]"));
        check(&with(r#""endpoints":["ok"," "]"#), Some("MicroServiceInstance.Endpoints[1]"));
        check(&with(r#""endpoints":[null]"#), Some("MicroServiceInstance.Endpoints[0]"));
        check("{}", Some("MicroServiceInstance.HostName"));
        for bad in ["", " ", "\\t", &x(65), &"中".repeat(65)] {
            check(&format!(r#"{{"hostName":"{bad}"}}"#), Some("MicroServiceInstance.HostName"));
        }
        for good in [&x(64), &"中".repeat(64), "a b", " a", "@$%", "\\nx"] {
            check(&format!(r#"{{"hostName":"{good}"}}"#), None);
        }
    }

    #[test]
    fn status_at_registration() {
        for good in ["", "UP", "DOWN", "STARTING", "TESTING", "OUTOFSERVICE"] {
            check(&with(&format!(r#""status":"{good}""#)), None);
        }
        check(&with(r#""status":"Invalid""#), Some("MicroServiceInstance.Status"));
    }

    /// The service id in the path counts.
    #[test]
    fn own_id_and_the_service() {
        for bad in [&x(65), "a@b", "a b", "ä", "a/b", ".", ".."] {
            check(&with(&format!(r#""instanceId":"{bad}""#)), Some("MicroServiceInstance.InstanceId"));
        }
        let instance = Instance { host_name: "h".to_owned(), ..Instance::default() };
        check_result(registration("", &instance), Some("MicroServiceInstance.ServiceId"));
        check_result(registration(&x(65), &instance), Some("MicroServiceInstance.ServiceId"));
    }

    #[test]
    fn push_checks() {
        let push = |member: &str| with(&format!(r#""healthCheck":{{"mode":"push",{member}}}"#));
        check(&push(r#""interval":30,"times":0"#), None);
        check(&push(r#""interval":2147483647,"times":2147483647"#), None);
        check(&push(r#""interval":30,"times":-1"#), Some("HealthCheck.Times"));
        check(&push(r#""interval":0,"times":3"#), Some("HealthCheck.Interval"));
        check(&push(r#""interval":-5,"times":3"#), Some("HealthCheck.Interval"));
        check(&push(r#""interval":30,"port":65536"#), Some("HealthCheck.Port"));
        check(&push(r#""interval":30,"port":-1"#), Some("HealthCheck.Port"));
        check(&push(r#""interval":30,"url":"a b""#), Some("HealthCheck.Url"));
        for bad in [r#"{"interval":30}"#, r#"{"mode":"poll","interval":30}"#, r#"{"mode":"PUSH"}"#, "{}"] {
            check(&with(&format!(r#""healthCheck":{bad}"#)), Some("HealthCheck.Mode"));
        }
    }

    /// With `pull` the registry sets interval and times itself, but the client's values must be valid all the same.
    #[test]
    fn pull_checks() {
        check(&with(r#""healthCheck":{"mode":"pull","interval":1}"#), None);
        check(&with(r#""healthCheck":{"mode":"pull"}"#), Some("HealthCheck.Interval"));
        check(&with(r#""healthCheck":{"mode":"pull","port":65536,"interval":1}"#), Some("HealthCheck.Port"));
    }

    #[test]
    fn a_place_has_three_names() {
        let place = |members: &str| with(&format!(r#""dataCenterInfo":{{{members}}}"#));
        check(&place(""), Some("DataCenterInfo.Name"));
        check(&place(r#""name":"a""#), Some("DataCenterInfo.Region"));
        check(&place(r#""name":"a","region":"b""#), Some("DataCenterInfo.AvailableZone"));
        check(&place(r#""name":"a","region":"b","availableZone":"""#), Some("DataCenterInfo.AvailableZone"));
        check(&place(r#""name":"a b","region":"b","availableZone":"c""#), Some("DataCenterInfo.Name"));
        let long = |count| format!(r#""name":"{}","region":"_.-","availableZone":"Z1""#, x(count));
        check(&place(&long(128)), None);
        check(&place(&long(129)), Some("DataCenterInfo.Name"));
    }

    #[test]
    fn ids_in_paths() {
        check_result(ids(InstanceRequest::Heartbeat, "s", &x(64)), None);
        for bad in ["", " ", "a@b", ".", "..", &x(65)] {
            check_result(ids(InstanceRequest::Heartbeat, "s", bad), Some("HeartbeatRequest.InstanceId"));
        }
        check_result(ids(InstanceRequest::Heartbeat, " ", " "), Some("HeartbeatRequest.ServiceId"));
        check_result(ids(InstanceRequest::Unregister, "s", ""), Some("UnregisterInstanceRequest.InstanceId"));
        check_result(
            ids(InstanceRequest::PutProperties, "", "i"),
            Some("UpdateInstancePropsRequest.ServiceId"),
        );
    }

    /// A bulk change takes the same words.
    #[test]
    fn status_to_set() {
        for good in ["UP", "DOWN", "STARTING", "TESTING", "OUTOFSERVICE"] {
            check_result(status("s", "i", good), None);
            check_result(bulk_status(good, 1), None);
        }
        for bad in ["INVALID", "", "up", "DOWN "] {
            check_result(status("s", "i", bad), Some("UpdateInstanceStatusRequest.Status"));
            check_result(bulk_status(bad, 1), Some("UpdateManyInstanceStatusRequest.Status"));
        }
        check_result(status("s", " ", "UP"), Some("UpdateInstanceStatusRequest.InstanceId"));
        check_result(bulk_status("UP", 0), Some("UpdateManyInstanceStatusRequest.Matches.Properties"));
    }
}
