//! Batch find: the request body. The answer is in [`super::find_answer`].

use super::instance::InstanceKey;
use crate::domain::ServiceKey;
use crate::domain::validate::{self, rule};
use crate::error::Error;
use crate::json_object;

json_object! {
    /// The body of a batch find.
    pub struct BatchFind {
        /// The services whose instances are wanted.
        "services" => services: Vec<Option<FindService>>,
        /// The instances that are wanted.
        "instances" => instances: Vec<Option<FindInstance>>,
        /// Ignored: the header `X-ConsumerId` names the consumer.
        "consumerServiceId" => consumer_service_id: String,
    }
}

json_object! {
    /// A service whose instances are wanted.
    pub struct FindService {
        /// The key of the service. Version, alias and tenant are ignored. Required.
        "service" => service: Option<ServiceKey>,
        /// The revision that the client has.
        "rev" => revision: String,
    }
}

json_object! {
    /// An instance that is wanted.
    pub struct FindInstance {
        /// The ids of the instance. Required.
        "instance" => instance: Option<InstanceKey>,
        /// The revision that the client has.
        "rev" => revision: String,
    }
}

/// A valid batch find. It has at least one element. The answer names each element by its index here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchQuery {
    pub services: Vec<ServiceQuery>,
    pub instances: Vec<InstanceQuery>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceQuery {
    /// Version, alias and tenant are ignored.
    pub key: ServiceKey,
    /// The revision that the client has, or empty.
    pub revision: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceQuery {
    pub key: InstanceKey,
    /// The revision that the client has, or empty.
    pub revision: String,
}

impl ServiceQuery {
    /// The parts that decide the answer: elements with equal identities have the same answer.
    pub fn identity(&self) -> ([&str; 3], &str) {
        ([&self.key.environment, &self.key.app_id, &self.key.service_name], &self.revision)
    }
}

impl InstanceQuery {
    /// See [`ServiceQuery::identity`].
    pub fn identity(&self) -> ([&str; 2], &str) {
        ([&self.key.service_id, &self.key.instance_id], &self.revision)
    }
}

impl BatchFind {
    /// 400001 if there is no element, if there are more than `most`, and if an element or the consumer is invalid. `consumer_id`
    /// comes from the header.
    pub fn into_query(self, consumer_id: &str, most: usize) -> Result<BatchQuery, Error> {
        validate::find::batch(consumer_id, self.services.len(), self.instances.len(), most)?;
        let services = self.services.into_iter().enumerate().map(service_query).collect::<Result<_, _>>()?;
        let instances =
            self.instances.into_iter().enumerate().map(instance_query).collect::<Result<_, _>>()?;
        Ok(BatchQuery { services, instances })
    }
}

fn service_query((index, element): (usize, Option<FindService>)) -> Result<ServiceQuery, Error> {
    let element = rule::required(format_args!("BatchFindInstancesRequest.Services[{index}]"), element)?;
    let key = element.service;
    let key = rule::required(format_args!("BatchFindInstancesRequest.Services[{index}].Service"), key)?;
    validate::find::batch_service(index, &key)?;
    Ok(ServiceQuery { key, revision: element.revision })
}

fn instance_query((index, element): (usize, Option<FindInstance>)) -> Result<InstanceQuery, Error> {
    let element = rule::required(format_args!("BatchFindInstancesRequest.Instances[{index}]"), element)?;
    let key = element.instance;
    let key = rule::required(format_args!("BatchFindInstancesRequest.Instances[{index}].Instance"), key)?;
    validate::find::batch_instance(index, &key.service_id, &key.instance_id)?;
    Ok(InstanceQuery { key, revision: element.revision })
}

#[cfg(test)]
mod tests {
    use super::super::body;
    use super::*;

    fn check(input: &str, expected: Result<(usize, usize), &str>) {
        let query = body::<BatchFind>(input.as_bytes()).and_then(|body| body.into_query("", 3));
        match (query, expected) {
            (Ok(query), Ok(counts)) => assert_eq!((query.services.len(), query.instances.len()), counts),
            (Err(error), Err(part)) => assert!(error.detail.contains(part), "{error}"),
            (query, _) => panic!("{input}: {query:?}"),
        }
    }

    #[test]
    fn bodies() {
        let service = r#"{"service":{"appId":"default","serviceName":"x"},"rev":"r"}"#;
        let instance = r#"{"instance":{"serviceId":"s","instanceId":"i"}}"#;
        check(&format!(r#"{{"Services":[{service}],"instances":[{instance},{instance}]}}"#), Ok((1, 2)));
        let four = format!(r#"{{"services":[{service},null],"instances":[{instance},{instance}]}}"#);
        check(&four, Err("names 4 services and instances, at most 3"));
        for none in ["{}", "null", r#"{"services":null}"#, r#"{"services":[],"instances":[]}"#] {
            check(none, Err("Required services or instances"));
        }
        let services = "BatchFindInstancesRequest.Services[1]";
        let instances = "BatchFindInstancesRequest.Instances[1]";
        for (element, field) in [
            ("null", format!("{services}'")),
            ("{}", format!("{services}.Service'")),
            (r#"{"service":null}"#, format!("{services}.Service'")),
            (r#"{"service":{"appId":"a"}}"#, format!("{services}.Service.ServiceName'")),
            (r#"{"service":{"serviceName":"a"}}"#, format!("{services}.Service.AppId'")),
            (r#"{"service":{"appId":5}}"#, "'services[1].service.appId'".to_owned()),
        ] {
            check(&format!(r#"{{"services":[{service},{element}]}}"#), Err(&field));
        }
        for (element, field) in [
            ("null", format!("{instances}'")),
            ("{}", format!("{instances}.Instance'")),
            (r#"{"instance":null}"#, format!("{instances}.Instance'")),
            (r#"{"instance":{"serviceId":"s"}}"#, format!("{instances}.Instance.InstanceId'")),
            (r#"{"instance":{"instanceId":"i"}}"#, format!("{instances}.Instance.ServiceId'")),
        ] {
            check(&format!(r#"{{"instances":[{instance},{element}]}}"#), Err(&field));
        }
    }

    #[test]
    fn the_consumer_is_the_headers() {
        let input =
            br#"{"services":[{"service":{"appId":"a","serviceName":"b"}}],"consumerServiceId":"a b"}"#;
        let read = |consumer| body::<BatchFind>(input).and_then(|body| body.into_query(consumer, 1));
        assert!(read("c").is_ok());
        assert!(read("a b").is_err_and(|error| error.detail.contains("ConsumerServiceId")));
    }
}
