//! The operations: their requests, and their effect on the model.

use serde_json::{Value, json};

use super::answer::{ComparableAnswer, Expected, list};
use super::model::{Asker, Identity, Key, Model, NO_INSTANCE, Name, Service, TextMap};
use crate::support::http::Request;

const BASE: &str = "/v4/default/registry";
#[derive(Clone, Debug)]
pub enum Operation {
    RegisterService { given: Option<&'static str>, key: Key, alias: &'static str, properties: TextMap },
    UnregisterService { id: String, force: bool },
    PutServiceProperties { id: String, properties: TextMap },
    ReplaceTags { id: String, tags: TextMap },
    PutTag { id: String, tag: &'static str, value: String },
    DeleteTag { id: String, tag: &'static str },
    RegisterInstance { service: String, id: &'static str, status: &'static str, properties: TextMap },
    UnregisterInstance { service: String, id: &'static str },
    PutStatus { service: String, id: &'static str, status: &'static str },
    PutInstanceProperties { service: String, id: &'static str, properties: TextMap },
    PutStatusWhere { properties: TextMap, status: &'static str },
    Heartbeat { service: String, id: &'static str },
    ChangeDependencies { consumer: Key, providers: Vec<(Name, &'static str)>, replace: bool },
    Find { asker: Asker, name: Name },
    List { asker: Asker, service: String },
    GetInstance { asker: Asker, service: String, id: &'static str },
    BatchFind { consumer: Option<String>, services: Vec<Name>, instances: Vec<(String, &'static str)> },
    Providers { id: String },
    Consumers { id: String },
    GetService { id: String },
    GetTags { id: String },
    Existence { key: Key },
    ListServices,
}

/// The identity and the revision of each query in earlier answers.
pub trait Seen {
    fn seen(&self, query: &str) -> Option<(Identity, String)>;
}

fn key_json(name: &Name, version: &str) -> Value {
    json!({"environment": name.environment, "appId": name.app, "serviceName": name.name, "version": version})
}

pub fn find_query(asker: &Asker, name: &Name) -> String {
    format!("find {} {} {} {:?} {:?}", name.environment, name.app, name.name, asker.consumer, asker.tags)
}

pub fn instance_query(asker: &Asker, service: &str, id: &str) -> String {
    format!("instance {service} {id} {:?} {:?}", asker.consumer, asker.tags)
}

impl Operation {
    /// Whether the registry computes rules again for it, also if they do not change.
    pub fn asks_for_rules(&self) -> bool {
        matches!(self, Self::UnregisterService { .. } | Self::ChangeDependencies { .. })
    }

    /// The query of a find, of a list, or of the read of an instance.
    pub fn query(&self) -> Option<String> {
        match self {
            Self::Find { asker, name } => Some(find_query(asker, name)),
            Self::List { asker, service } => {
                Some(format!("list {service} {:?} {:?}", asker.consumer, asker.tags))
            }
            Self::GetInstance { asker, service, id } => Some(instance_query(asker, service, id)),
            _ => None,
        }
    }

    /// The request. `rev` is the revision that the client knows.
    pub fn request(&self, rev: Option<&str>, seen: &dyn Seen) -> Request {
        let asked = |asker: &Asker, path: String| {
            let tags = (!asker.tags.is_empty()).then(|| format!("tags={}", asker.tags.join(",")));
            let more: Vec<String> = tags.into_iter().chain(rev.map(|rev| format!("rev={rev}"))).collect();
            let joint = match (more.is_empty(), path.contains('?')) {
                (true, _) => "",
                (false, true) => "&",
                (false, false) => "?",
            };
            let request = Request::new("GET", &format!("{BASE}{path}{joint}{}", more.join("&")));
            match &asker.consumer {
                Some(consumer) => request.header("X-ConsumerId", consumer),
                None => request,
            }
        };
        let plain = |method: &str, path: String| Request::new(method, &format!("{BASE}{path}"));
        match self {
            Self::RegisterService { given, key: (name, version), alias, properties } => {
                let mut service = key_json(name, version);
                service["alias"] = json!(alias);
                service["properties"] = json!(properties);
                service["serviceId"] = json!(given.unwrap_or_default());
                plain("POST", "/microservices".to_owned()).json(&json!({ "service": service }))
            }
            Self::UnregisterService { id, force } => {
                plain("DELETE", format!("/microservices/{id}?force={}", u8::from(*force)))
            }
            Self::PutServiceProperties { id, properties } => {
                plain("PUT", format!("/microservices/{id}/properties"))
                    .json(&json!({"properties": properties}))
            }
            Self::ReplaceTags { id, tags } => {
                plain("POST", format!("/microservices/{id}/tags")).json(&json!({ "tags": tags }))
            }
            Self::PutTag { id, tag, value } => {
                plain("PUT", format!("/microservices/{id}/tags/{tag}?value={value}"))
            }
            Self::DeleteTag { id, tag } => plain("DELETE", format!("/microservices/{id}/tags/{tag}")),
            Self::RegisterInstance { service, id, status, properties } => {
                let check = json!({"mode": "push", "interval": 3600, "times": 3});
                let instance = json!({
                    "instanceId": id, "hostName": "h", "endpoints": ["rest://127.0.0.1:1"], "status": status,
                    "properties": properties, "healthCheck": check,
                });
                plain("POST", format!("/microservices/{service}/instances"))
                    .json(&json!({"instance": instance}))
            }
            Self::UnregisterInstance { service, id } => {
                plain("DELETE", format!("/microservices/{service}/instances/{id}"))
            }
            Self::PutStatus { service, id, status } => {
                plain("PUT", format!("/microservices/{service}/instances/{id}/status?value={status}"))
            }
            Self::PutInstanceProperties { service, id, properties } => {
                let path = format!("/microservices/{service}/instances/{id}/properties");
                plain("PUT", path).json(&json!({ "properties": properties }))
            }
            Self::PutStatusWhere { properties, status } => {
                let body = json!({"matches": {"properties": properties}, "status": status});
                plain("PUT", "/instances/status".to_owned()).json(&body)
            }
            Self::Heartbeat { service, id } => {
                plain("PUT", format!("/microservices/{service}/instances/{id}/heartbeat"))
            }
            Self::ChangeDependencies { consumer: (name, version), providers, replace } => {
                let aliased = |(name, alias): &(Name, &str)| {
                    let mut key = key_json(name, "0.0.0+");
                    key["alias"] = json!(alias);
                    key
                };
                let providers: Vec<Value> = providers.iter().map(aliased).collect();
                let entry = json!({"consumer": key_json(name, version), "providers": providers});
                let method = if *replace { "PUT" } else { "POST" };
                plain(method, "/dependencies".to_owned()).json(&json!({ "dependencies": [entry] }))
            }
            Self::Find { asker, name } => {
                let (environment, app, name) = (name.environment, name.app, name.name);
                asked(asker, format!("/instances?env={environment}&appId={app}&serviceName={name}"))
            }
            Self::List { asker, service } => asked(asker, format!("/microservices/{service}/instances")),
            Self::GetInstance { asker, service, id } => {
                asked(asker, format!("/microservices/{service}/instances/{id}"))
            }
            Self::BatchFind { consumer, services, instances } => {
                let asker = Asker { consumer: consumer.clone(), tags: Vec::new() };
                let rev = |query: String| seen.seen(&query).map(|(_, rev)| rev).unwrap_or_default();
                let services = services.iter().map(|name| {
                    let key =
                        json!({"environment": name.environment, "appId": name.app, "serviceName": name.name});
                    json!({"service": key, "rev": rev(find_query(&asker, name))})
                });
                let instances = instances.iter().map(|(service, id)| {
                    let key = json!({"serviceId": service, "instanceId": id});
                    json!({"instance": key, "rev": rev(instance_query(&asker, service, id))})
                });
                let body = json!({
                    "services": services.collect::<Vec<_>>(),
                    "instances": instances.collect::<Vec<_>>(),
                });
                let request = plain("POST", "/instances/action?type=query".to_owned()).json(&body);
                match consumer {
                    Some(consumer) => request.header("X-ConsumerId", consumer),
                    None => request,
                }
            }
            Self::Providers { id } => plain("GET", format!("/microservices/{id}/providers?noCache=1")),
            Self::Consumers { id } => plain("GET", format!("/microservices/{id}/consumers?noCache=1")),
            Self::GetService { id } => plain("GET", format!("/microservices/{id}")),
            Self::GetTags { id } => plain("GET", format!("/microservices/{id}/tags")),
            Self::Existence { key: (name, version) } => {
                let (environment, app, name) = (name.environment, name.app, name.name);
                plain(
                    "GET",
                    format!(
                        "/existence?type=microservice&env={environment}&appId={app}&serviceName={name}&version={version}"
                    ),
                )
            }
            Self::ListServices => plain("GET", "/microservices".to_owned()),
        }
    }

    /// Performs the operation on the model; the expected answer. `known` is the identity of the revision that the client sends.
    pub fn perform(&self, model: &mut Model, known: Option<Identity>, seen: &dyn Seen) -> Expected {
        let nothing = |()| Value::Null;
        match self {
            Self::RegisterService { given, key, alias, properties } => {
                let registered = model.register_service(*given, key, alias, properties);
                Expected::of(registered, |id| json!({ "serviceId": id }))
            }
            Self::UnregisterService { id, force } => {
                Expected::of(model.unregister_service(id, *force), nothing)
            }
            Self::PutServiceProperties { id, properties } => {
                let service = model.service_mut(id);
                Expected::of(service.map(|service| service.properties.clone_from(properties)), nothing)
            }
            Self::ReplaceTags { id, tags } => {
                Expected::of(model.service_mut(id).map(|service| service.tags.clone_from(tags)), nothing)
            }
            Self::PutTag { id, tag, value } => {
                let put = model.service_mut(id).and_then(|service| {
                    let known = service.tags.get_mut(*tag).ok_or("400018")?;
                    known.clone_from(value);
                    Ok(())
                });
                Expected::of(put, nothing)
            }
            Self::DeleteTag { id, tag } => {
                let service = model.service_mut(id);
                let deleted = service.and_then(|service| service.tags.remove(*tag).map(drop).ok_or("400018"));
                Expected::of(deleted, nothing)
            }
            Self::RegisterInstance { service, id, status, properties } => {
                let registered = model.register_instance(service, id, status, properties);
                Expected::of(registered, |()| json!({ "instanceId": id }))
            }
            Self::UnregisterInstance { service, id } => {
                Expected::of(model.unregister_instance(service, id), nothing)
            }
            Self::PutStatus { service, id, status } => {
                Expected::of(model.change_instance(service, id, |i| i.status = status), nothing)
            }
            Self::PutInstanceProperties { service, id, properties } => {
                let change = model.change_instance(service, id, |instance| {
                    instance.properties.clone_from(properties);
                    instance.is_overridden = true;
                });
                Expected::of(change, nothing)
            }
            Self::PutStatusWhere { properties, .. } if properties.is_empty() => {
                Expected::of(Err("400001"), nothing)
            }
            Self::PutStatusWhere { properties, status } => {
                for (service, id) in model.to_be_changed(properties, status) {
                    model.change_instance(&service, id, |i| i.status = status).unwrap();
                }
                Expected::of(Ok(()), nothing)
            }
            Self::Heartbeat { service, id } => {
                let is_there = model.service(service).is_ok_and(|known| known.instances.contains_key(id));
                Expected::of(is_there.then_some(()).ok_or(NO_INSTANCE), nothing)
            }
            Self::ChangeDependencies { consumer, providers, replace } => {
                Expected::of(model.change_dependencies(consumer, providers, *replace), nothing)
            }
            Self::Find { asker, name } => {
                Expected::find(find_query(asker, name), model.find(asker, name), "instances", known)
            }
            Self::List { asker, service } => {
                let query = self.query().unwrap();
                Expected::find(query, model.list(asker, service), "instances", known)
            }
            Self::GetInstance { asker, service, id } => {
                let query = self.query().unwrap();
                Expected::find(query, model.instance(asker, service, id), "instance", known)
            }
            Self::BatchFind { consumer, services, instances } => {
                let asker = Asker { consumer: consumer.clone(), tags: Vec::new() };
                batch(model, &asker, services, instances, seen)
            }
            Self::Providers { id } => Expected::of(model.providers(id), |found| list("providers", found)),
            Self::Consumers { id } => Expected::of(model.consumers(id), |found| list("consumers", found)),
            Self::GetService { id } => {
                Expected::of(model.service(id), |service| json!({"service": service.shown()}))
            }
            Self::GetTags { id } => {
                Expected::of(model.service(id), |service| match service.tags.is_empty() {
                    true => json!({}),
                    false => json!({"tags": service.tags}),
                })
            }
            Self::Existence { key } => Expected::of(model.existence(key), |id| json!({"serviceId": id})),
            Self::ListServices => {
                let all = model.services.iter().map(Service::shown).collect();
                Expected { answer: ComparableAnswer::ok(list("services", all)), identities: Vec::new() }
            }
        }
    }
}

/// The finds of a batch, one after another: failed, not modified, or found.
fn batch(
    model: &mut Model,
    asker: &Asker,
    services: &[Name],
    instances: &[(String, &'static str)],
    seen: &dyn Seen,
) -> Expected {
    let mut identities = Vec::new();
    let found: Vec<_> =
        services.iter().map(|name| (find_query(asker, name), model.find(asker, name))).collect();
    let services = super::registry::batch_part(found, seen, &mut identities);
    let found: Vec<_> = instances
        .iter()
        .map(|(service, id)| (instance_query(asker, service, id), model.instance(asker, service, id)))
        .collect();
    let mut body = json!({ "services": services });
    if !found.is_empty() {
        body["instances"] = super::registry::batch_part(found, seen, &mut identities);
    }
    Expected { answer: ComparableAnswer::ok(body), identities }
}
