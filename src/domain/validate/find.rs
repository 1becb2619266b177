//! Validates requests that read: find, list, get, batch find, existence.

use super::demand::{ConfiguredLimit, Demand, Demanded};
use super::rule::Shown;
use super::{member, rule};
use crate::domain::ServiceKey;
use crate::error::Error;

/// Parameters of a find, as they are in header and query.
#[derive(Clone, Copy, Debug, Default)]
pub struct FindParameters<'a> {
    /// The consumer's service id, or empty.
    pub consumer_id: &'a str,
    /// May be empty.
    pub environment: &'a str,
    pub app_id: &'a str,
    /// Name or alias.
    pub service_name: &'a str,
    /// Tag keys with commas between them, or empty. See [`tag_keys`].
    pub tags: &'a str,
}

/// Validates a find. This runs on every poll of every client, so it allocates only for an error.
pub fn find(parameters: &FindParameters<'_>) -> Result<(), Error> {
    member::CONSUMER_ID.check("FindInstancesRequest.ConsumerServiceId", parameters.consumer_id)?;
    member::ENVIRONMENT.check("FindInstancesRequest.Environment", parameters.environment)?;
    member::APP_ID.check("FindInstancesRequest.AppId", parameters.app_id)?;
    member::FIND_NAME.check("FindInstancesRequest.ServiceName", parameters.service_name)?;
    tags("FindInstancesRequest.Tags", parameters.tags)
}

/// Parameters of a list of one service's instances, as they are in header, path and query.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListParameters<'a> {
    /// The consumer's service id, or empty.
    pub consumer_id: &'a str,
    /// The provider's service id.
    pub service_id: &'a str,
    /// Tag keys with commas between them, or empty. See [`tag_keys`].
    pub tags: &'a str,
}

pub fn list(parameters: &ListParameters<'_>) -> Result<(), Error> {
    member::CONSUMER_ID.check("GetInstancesRequest.ConsumerServiceId", parameters.consumer_id)?;
    member::SERVICE_ID.check("GetInstancesRequest.ProviderServiceId", parameters.service_id)?;
    tags("GetInstancesRequest.Tags", parameters.tags)
}

/// Validates a read of one instance.
pub fn instance(parameters: &ListParameters<'_>, instance_id: &str) -> Result<(), Error> {
    member::CONSUMER_ID.check("GetOneInstanceRequest.ConsumerServiceId", parameters.consumer_id)?;
    member::SERVICE_ID.check("GetOneInstanceRequest.ProviderServiceId", parameters.service_id)?;
    member::INSTANCE_ID.check("GetOneInstanceRequest.ProviderInstanceId", instance_id)?;
    tags("GetOneInstanceRequest.Tags", parameters.tags)
}

/// Parameters of a request for the targets of Prometheus, as they are in the query. `None` is a parameter that is not there.
#[derive(Clone, Copy, Debug, Default)]
pub struct TargetParameters<'a> {
    pub environment: Option<&'a str>,
    pub status: Option<&'a str>,
    /// Each as `name:value`.
    pub properties: &'a [String],
}

/// How many properties one request for targets may name.
const MAX_PROPERTIES: usize = 16;

/// Validates a request for the targets of Prometheus. Returns names and values of the properties.
pub fn targets(parameters: &TargetParameters<'_>) -> Result<Vec<(String, String)>, Error> {
    member::ENVIRONMENT.check("GetTargetsRequest.Environment", parameters.environment.unwrap_or_default())?;
    if let Some(status) = parameters.status {
        member::INSTANCE_STATUS.check("GetTargetsRequest.Status", status)?;
    }
    let properties = parameters.properties;
    if properties.len() > MAX_PROPERTIES {
        let named = properties.len();
        return Err(Error::invalid(format!(
            "the query has {named} properties, at most {MAX_PROPERTIES} are allowed"
        )));
    }
    let parts = |text: &String| match text.split_once(':') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(Error::invalid(format!(
            "the property '{}' in the query is not of the form name:value",
            Shown::new(text)
        ))),
    };
    properties.iter().map(parts).collect()
}

/// The keys in a `tags` parameter. An empty parameter has none. A comma at an end makes an empty key, which is not valid.
pub fn tag_keys(tags: &str) -> impl Iterator<Item = &str> {
    tags.split(',').filter(move |_| !tags.is_empty())
}

fn tags(field: &str, tags: &str) -> Result<(), Error> {
    for (index, key) in tag_keys(tags).enumerate() {
        member::TAG.check(format_args!("{field}[{index}]"), key)?;
    }
    Ok(())
}

/// The body of a batch find.
pub const BATCH: &[Demand] = &[
    Demand::new("", Demanded::OneOf(&["services", "instances"])),
    Demand::new("services", Demanded::Count(0, ConfiguredLimit::Batch)),
    Demand::rule("services[]", rule::REQUIRED),
    Demand::rule("services[].service", rule::REQUIRED),
    Demand::rule("services[].service.environment", member::ENVIRONMENT),
    Demand::rule("services[].service.appId", member::APP_ID),
    Demand::rule("services[].service.serviceName", member::FIND_NAME),
    Demand::new("instances", Demanded::Count(0, ConfiguredLimit::Batch)),
    Demand::rule("instances[]", rule::REQUIRED),
    Demand::rule("instances[].instance", rule::REQUIRED),
    Demand::rule("instances[].instance.serviceId", member::SERVICE_ID),
    Demand::rule("instances[].instance.instanceId", member::INSTANCE_ID),
];

/// Validates the consumer id in the header of a batch find, and the number of services and instances in its body: at least
/// one, and at most `most` of both together.
pub fn batch(consumer_id: &str, services: usize, instances: usize, most: usize) -> Result<(), Error> {
    if services == 0 && instances == 0 {
        return Err(Error::invalid("Required services or instances"));
    }
    let named = services.saturating_add(instances);
    if named > most {
        let detail = format!(
            "the batch find names {named} services and instances, at most {most} are allowed (server.request.maxBatch); \
             send several batches"
        );
        return Err(Error::invalid(detail));
    }
    member::CONSUMER_ID.check("BatchFindInstancesRequest.ConsumerServiceId", consumer_id)
}

/// Validates a service in a batch find. `index` is its position in the body. Version, alias and tenant of the key are not
/// used.
pub fn batch_service(index: usize, key: &ServiceKey) -> Result<(), Error> {
    let place = format_args!("BatchFindInstancesRequest.Services[{index}].Service");
    member::ENVIRONMENT.check(format_args!("{place}.Environment"), &key.environment)?;
    member::APP_ID.check(format_args!("{place}.AppId"), &key.app_id)?;
    member::FIND_NAME.check(format_args!("{place}.ServiceName"), &key.service_name)
}

/// Validates an instance in a batch find. `index` is its position in the body.
pub fn batch_instance(index: usize, service_id: &str, instance_id: &str) -> Result<(), Error> {
    let place = format_args!("BatchFindInstancesRequest.Instances[{index}].Instance");
    member::SERVICE_ID.check(format_args!("{place}.ServiceId"), service_id)?;
    member::INSTANCE_ID.check(format_args!("{place}.InstanceId"), instance_id)
}

/// Validates the environment whose applications are listed; it may be empty.
pub fn apps(environment: &str) -> Result<(), Error> {
    member::ENVIRONMENT.check("GetAppsRequest.Environment", environment)
}

/// Validates the question whether a service exists. For schemas there is [`super::schema::ids`].
pub fn existence(key: &ServiceKey) -> Result<(), Error> {
    member::ENVIRONMENT.check("GetExistenceRequest.Environment", &key.environment)?;
    member::APP_ID.check("GetExistenceRequest.AppId", &key.app_id)?;
    member::FIND_NAME.check("GetExistenceRequest.ServiceName", &key.service_name)?;
    member::VERSION.check("GetExistenceRequest.Version", &key.version)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::rule::refused_field;
    use super::*;

    fn check(result: Result<(), Error>, field: Option<&str>) {
        assert_eq!(refused_field(result).as_deref(), field);
    }

    fn x(count: usize) -> String {
        "x".repeat(count)
    }

    fn asked<'a>(app_id: &'a str, service_name: &'a str) -> FindParameters<'a> {
        FindParameters { app_id, service_name, ..FindParameters::default() }
    }

    #[test]
    fn app_and_name() {
        check(find(&asked("default", "x")), None);
        check(find(&asked(&x(160), &x(289))), None);
        check(find(&asked("default", "a:b")), None);
        for bad in ["", " ", "*", &x(161)] {
            check(find(&asked(bad, "x")), Some("FindInstancesRequest.AppId"));
        }
        for bad in ["", " ", "-", &x(290)] {
            check(find(&asked("default", bad)), Some("FindInstancesRequest.ServiceName"));
        }
    }

    #[test]
    fn environment_and_consumer() {
        let good = asked("default", "x");
        check(find(&FindParameters { environment: "testing", consumer_id: &x(64), ..good }), None);
        for bad in ["prod", " ", "testingtesting"] {
            check(
                find(&FindParameters { environment: bad, ..good }),
                Some("FindInstancesRequest.Environment"),
            );
        }
        for bad in ["a b", "..", "a\u{202e}b", &x(65)] {
            let field = "FindInstancesRequest.ConsumerServiceId";
            check(find(&FindParameters { consumer_id: bad, ..good }), Some(field));
        }
    }

    #[test]
    fn tags_are_a_list_with_commas() {
        let good = asked("default", "x");
        for tags in ["", "a", "a,b", "a,a"] {
            check(find(&FindParameters { tags, ..good }), None);
        }
        for (tags, index) in [("a,", 1), (",", 0), ("0a", 0), (" ", 0), ("a,b,-", 2), (",a", 0)] {
            let field = format!("FindInstancesRequest.Tags[{index}]");
            check(find(&FindParameters { tags, ..good }), Some(&field));
        }
        assert_eq!(tag_keys("a,b").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(tag_keys("").count(), 0);
    }

    #[test]
    fn environment_of_apps() {
        for environment in ["", "acceptance", "testing"] {
            check(apps(environment), None);
        }
        for environment in ["bad", "developmenttesting"] {
            check(apps(environment), Some("GetAppsRequest.Environment"));
        }
    }

    #[test]
    fn targets_are_filtered_by_what_instances_can_have() {
        let none = TargetParameters::default();
        assert_eq!(targets(&none), Ok(Vec::new()));
        for environment in [Some(""), Some("testing")] {
            assert_eq!(targets(&TargetParameters { environment, ..none }), Ok(Vec::new()));
        }
        let check_one = |parameters: &TargetParameters<'_>, field: &str| {
            check(targets(parameters).map(drop), Some(&format!("GetTargetsRequest.{field}")));
        };
        check_one(&TargetParameters { environment: Some("prod"), ..none }, "Environment");
        assert_eq!(targets(&TargetParameters { status: Some("UP"), ..none }), Ok(Vec::new()));
        for status in ["", "up", "ANY"] {
            check_one(&TargetParameters { status: Some(status), ..none }, "Status");
        }
        let properties = ["a:b", "a.b:", ":x:y"].map(str::to_owned);
        let expected =
            [("a", "b"), ("a.b", ""), ("", "x:y")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(targets(&TargetParameters { properties: &properties, ..none }), Ok(expected.to_vec()));
        let refused = |properties: &[String]| {
            targets(&TargetParameters { properties, ..none }).unwrap_err().detail.into_owned()
        };
        assert!(refused(&["no\ncolon".to_owned()]).contains("'no\\ncolon'"));
        assert!(refused(&vec!["a:b".to_owned(); 17]).contains("at most 16"));
    }

    #[test]
    fn list_and_instance() {
        let good = ListParameters { consumer_id: "", service_id: "s", tags: "a" };
        check(list(&good), None);
        check(instance(&good, "i"), None);
        check(
            list(&ListParameters { service_id: "", ..good }),
            Some("GetInstancesRequest.ProviderServiceId"),
        );
        let long = x(65);
        let consumer = ListParameters { consumer_id: &long, ..good };
        check(list(&consumer), Some("GetInstancesRequest.ConsumerServiceId"));
        check(instance(&consumer, "i"), Some("GetOneInstanceRequest.ConsumerServiceId"));
        check(list(&ListParameters { tags: "a,", ..good }), Some("GetInstancesRequest.Tags[1]"));
        check(instance(&good, ""), Some("GetOneInstanceRequest.ProviderInstanceId"));
        let service = ListParameters { service_id: " ", ..good };
        check(instance(&service, "i"), Some("GetOneInstanceRequest.ProviderServiceId"));
    }

    #[test]
    fn batches() {
        assert_eq!(batch("", 0, 0, 5).unwrap_err().detail, "Required services or instances");
        check(batch("c", 5, 0, 5), None);
        check(batch("c", 0, 5, 5), None);
        for (services, instances) in [(6, 0), (0, 6), (3, 3), (usize::MAX, 1)] {
            let refused = batch("c", services, instances, 5).unwrap_err().detail;
            assert!(refused.contains("at most 5 are allowed (server.request.maxBatch)"), "{refused}");
        }
        check(batch(&x(65), 1, 0, 5), Some("BatchFindInstancesRequest.ConsumerServiceId"));
        let key = |environment: &str, app_id: &str, service_name: &str| ServiceKey {
            environment: environment.to_owned(),
            app_id: app_id.to_owned(),
            service_name: service_name.to_owned(),
            version: "any text".to_owned(),
            ..ServiceKey::default()
        };
        check(batch_service(0, &key("", "default", "a:b")), None);
        let field = |name: &str| format!("BatchFindInstancesRequest.Services[1].Service.{name}");
        check(batch_service(1, &key("no", "default", "x")), Some(&field("Environment")));
        check(batch_service(1, &key("", "", "x")), Some(&field("AppId")));
        check(batch_service(1, &key("", "default", &x(290))), Some(&field("ServiceName")));
        check(batch_instance(0, "s", "i"), None);
        let field = |name: &str| format!("BatchFindInstancesRequest.Instances[3].Instance.{name}");
        check(batch_instance(3, "", "i"), Some(&field("ServiceId")));
        check(batch_instance(3, "s", "a@b"), Some(&field("InstanceId")));
    }

    #[test]
    fn existence_of_a_service() {
        let key = |app_id: &str, service_name: &str, version: &str| ServiceKey {
            app_id: app_id.to_owned(),
            service_name: service_name.to_owned(),
            version: version.to_owned(),
            ..ServiceKey::default()
        };
        check(existence(&key(&x(160), &x(289), "1.0.0")), None);
        for bad in ["", " ", "*", &x(161)] {
            check(existence(&key(bad, "x", "1")), Some("GetExistenceRequest.AppId"));
        }
        for bad in ["", " ", "-", &x(290)] {
            check(existence(&key("a", bad, "1")), Some("GetExistenceRequest.ServiceName"));
        }
        let zeros = "0".repeat(65);
        for bad in ["", "latest", "0.0.0+", "0.0.0-1.0.0", "3.32768.0", "3.0.0.0.0", "1.", " 1", &zeros] {
            check(existence(&key("a", "x", bad)), Some("GetExistenceRequest.Version"));
        }
        let environment = ServiceKey { environment: "no".to_owned(), ..key("a", "x", "1") };
        check(existence(&environment), Some("GetExistenceRequest.Environment"));
    }
}
