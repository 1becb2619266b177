//! A naive model of one tenant of the registry: lists that are searched from end to end. It uses no code of the daemon, except for the function
//! that derives the id of a service from its key.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use service_center::domain::service::derived_id;

pub type TextMap = BTreeMap<String, String>;

/// Environment, application, name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub environment: &'static str,
    pub app: &'static str,
    pub name: &'static str,
}

/// A name in a version.
pub type Key = (Name, &'static str);

#[derive(Clone, Debug)]
pub struct Service {
    pub id: String,
    pub name: Name,
    pub version: &'static str,
    pub alias: &'static str,
    pub properties: TextMap,
    pub tags: TextMap,
    pub instances: BTreeMap<&'static str, Instance>,
}

#[derive(Clone, Debug)]
pub struct Instance {
    pub status: &'static str,
    pub properties: TextMap,
    /// Whether a request has replaced its properties. Then they stay when it registers again.
    pub is_overridden: bool,
    /// The number of its last write.
    pub written: u64,
}

/// A find: the consumer, the query, and its options.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asker {
    pub consumer: Option<String>,
    pub tags: Vec<&'static str>,
}

/// The state behind a find's revision: the last write among the instances, and their number.
pub type Identity = (u64, usize);

/// The instances that a find shows, and their identity.
#[derive(Clone, Debug)]
pub struct FoundInstances {
    pub instances: Vec<Value>,
    pub identity: Identity,
}

/// The number of an error.
pub type Code = &'static str;

pub const NO_SERVICE: Code = "400012";
pub const NO_INSTANCE: Code = "400017";

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub services: Vec<Service>,
    /// Consumer and provider, and the alias the provider is named with.
    pub rules: BTreeMap<(Key, Name), &'static str>,
    writes: u64,
}

impl Service {
    pub fn key(&self) -> Key {
        (self.name.clone(), self.version)
    }

    pub fn shown(&self) -> Value {
        json!({
            "serviceId": self.id,
            "environment": self.name.environment,
            "appId": self.name.app,
            "serviceName": self.name.name,
            "version": self.version,
            "alias": self.alias,
            "properties": self.properties,
        })
    }

    fn shown_instance(&self, id: &str, instance: &Instance) -> Value {
        json!({
            "instanceId": id,
            "serviceId": self.id,
            "status": instance.status,
            "properties": instance.properties,
            "version": self.version,
        })
    }

    fn is_open(&self) -> bool {
        self.properties.get("allowCrossApp").is_some_and(|value| value == "true")
    }

    /// Whether a consumer sees it: it has the same environment, and the same application unless it allows others.
    fn is_seen_by(&self, consumer: Option<&Self>) -> bool {
        consumer.is_none_or(|consumer| {
            consumer.name.environment == self.name.environment
                && (consumer.name.app == self.name.app || self.is_open())
        })
    }

    fn has_tags(&self, tags: &[&str]) -> bool {
        tags.iter().all(|tag| self.tags.contains_key(*tag))
    }
}

impl Model {
    pub fn service(&self, id: &str) -> Result<&Service, Code> {
        self.services.iter().find(|service| service.id == id).ok_or(NO_SERVICE)
    }

    pub fn service_mut(&mut self, id: &str) -> Result<&mut Service, Code> {
        self.services.iter_mut().find(|service| service.id == id).ok_or(NO_SERVICE)
    }

    fn write(&mut self) -> u64 {
        self.writes += 1;
        self.writes
    }

    /// All versions with a name, sorted as texts.
    pub fn named(&self, name: &Name) -> Vec<&Service> {
        let mut found: Vec<&Service> = self.services.iter().filter(|service| service.name == *name).collect();
        found.sort_by_key(|service| service.version);
        found
    }

    /// All versions with a name, or with the alias if there are none.
    fn named_or_aliased(&self, name: &Name) -> Vec<&Service> {
        self.meant_by(name, name.name)
    }

    /// All versions with a name, or with it as their alias if there are none.
    fn meant_by(&self, name: &Name, alias: &str) -> Vec<&Service> {
        let found = self.named(name);
        if !found.is_empty() || alias.is_empty() {
            return found;
        }
        let is_aliased = |service: &&Service| {
            service.alias == alias
                && service.name.app == name.app
                && service.name.environment == name.environment
        };
        let mut found: Vec<&Service> = self.services.iter().filter(is_aliased).collect();
        found.sort_by_key(|service| service.version);
        found
    }

    /// The consumers of all rules that mean a service.
    fn consumers_of(&self, service: &Service) -> Vec<&Key> {
        let rules = self.rules.iter();
        let means = rules.filter(|((_, provider), alias)| {
            self.meant_by(provider, alias).iter().any(|meant| meant.id == service.id)
        });
        means.map(|((consumer, _), _)| consumer).collect()
    }

    /// An existing service does not change, and its id is the answer.
    pub fn register_service(
        &mut self,
        given: Option<&'static str>,
        key: &Key,
        alias: &'static str,
        properties: &TextMap,
    ) -> Result<String, Code> {
        let (name, version) = key;
        let by_name = self.services.iter().find(|service| service.key() == *key);
        let by_alias = self.services.iter().find(|service| {
            !alias.is_empty()
                && service.alias == alias
                && service.version == *version
                && (service.name.environment, service.name.app) == (name.environment, name.app)
        });
        let index = ["/cse-sr/ms/indexes/default/default", name.environment, name.app, name.name, version];
        let id = given.map_or_else(|| derived_id(&index.join("/")), str::to_owned);
        if let Some(owner) = by_name.or(by_alias) {
            let is_right = given.is_none_or(|given| given == owner.id);
            return if is_right { Ok(owner.id.clone()) } else { Err("400010") };
        }
        if self.service(&id).is_ok() {
            return Err("400010");
        }
        self.services.push(Service {
            id: id.clone(),
            name: name.clone(),
            version,
            alias,
            properties: properties.clone(),
            tags: TextMap::new(),
            instances: BTreeMap::new(),
        });
        Ok(id)
    }

    pub fn unregister_service(&mut self, id: &str, force: bool) -> Result<(), Code> {
        let service = self.service(id)?;
        let key = service.key();
        let others = self.consumers_of(service).iter().any(|consumer| **consumer != key);
        if !force && others {
            return Err("400023");
        }
        if !force && !service.instances.is_empty() {
            return Err("400013");
        }
        self.services.retain(|service| service.id != id);
        self.rules.retain(|(consumer, _), _| *consumer != key);
        self.drop_dead_rules();
        Ok(())
    }

    /// A rule that means no service, by name or alias, ends with the next deletion or replacement.
    fn drop_dead_rules(&mut self) {
        let mut rules = std::mem::take(&mut self.rules);
        rules.retain(|(_, provider), alias| !self.meant_by(provider, alias).is_empty());
        self.rules = rules;
    }

    pub fn register_instance(
        &mut self,
        service: &str,
        id: &'static str,
        status: &'static str,
        properties: &TextMap,
    ) -> Result<(), Code> {
        let written = self.write();
        let instances = &mut self.service_mut(service)?.instances;
        match instances.get_mut(id) {
            // The status stays, whatever the request says.
            Some(known) if known.is_overridden || known.properties == *properties => {}
            Some(known) => {
                known.properties.clone_from(properties);
                known.written = written;
            }
            None => {
                let properties = properties.clone();
                instances.insert(id, Instance { status, properties, is_overridden: false, written });
            }
        }
        Ok(())
    }

    pub fn unregister_instance(&mut self, service: &str, id: &str) -> Result<(), Code> {
        let service = self.service_mut(service).map_err(|_| NO_INSTANCE)?;
        service.instances.remove(id).map(drop).ok_or(NO_INSTANCE)
    }

    /// Changes an instance, which counts as a write also if nothing differs.
    pub fn change_instance(
        &mut self,
        service: &str,
        id: &str,
        change: impl FnOnce(&mut Instance),
    ) -> Result<(), Code> {
        let written = self.write();
        let service = self.service_mut(service).map_err(|_| NO_INSTANCE)?;
        let instance = service.instances.get_mut(id).ok_or(NO_INSTANCE)?;
        change(instance);
        instance.written = written;
        Ok(())
    }

    /// The instances with these properties and another status.
    pub fn to_be_changed(&self, properties: &TextMap, status: &str) -> Vec<(String, &'static str)> {
        let mut found = Vec::new();
        for service in &self.services {
            for (id, instance) in &service.instances {
                let has_all =
                    properties.iter().all(|(key, value)| instance.properties.get(key) == Some(value));
                if has_all && instance.status != status {
                    found.push((service.id.clone(), *id));
                }
            }
        }
        found
    }

    pub fn change_dependencies(
        &mut self,
        consumer: &Key,
        providers: &[(Name, &'static str)],
        replace: bool,
    ) -> Result<(), Code> {
        if !self.services.iter().any(|service| service.key() == *consumer) {
            return Err(NO_SERVICE);
        }
        if replace {
            self.rules.retain(|(known, _), _| known != consumer);
        }
        for (provider, alias) in providers {
            // A known rule keeps its alias.
            self.rules.entry((consumer.clone(), provider.clone())).or_insert(alias);
        }
        if replace {
            self.drop_dead_rules();
        }
        Ok(())
    }

    fn consumer(&self, asker: &Asker) -> Result<Option<&Service>, Code> {
        asker.consumer.as_ref().map(|id| self.service(id)).transpose()
    }

    /// The instances of all versions that the consumer sees. If it sees one, it depends on the provider from then on.
    pub fn find(&mut self, asker: &Asker, name: &Name) -> Result<FoundInstances, Code> {
        let consumer = self.consumer(asker)?;
        let environment = consumer.map_or(name.environment, |consumer| consumer.name.environment);
        let versions = self.named_or_aliased(&Name { environment, ..name.clone() });
        if versions.is_empty() {
            return Err(NO_SERVICE);
        }
        let is_visible = |service: &&&Service| service.has_tags(&asker.tags) && service.is_seen_by(consumer);
        let visible: Vec<&Service> = versions.iter().filter(is_visible).copied().collect();
        let found = found(&visible);
        if let (Some(consumer), Some(provider)) = (consumer, visible.first()) {
            let (rule, alias) = ((consumer.key(), provider.name.clone()), provider.alias);
            self.rules.entry(rule).or_insert(alias);
        }
        Ok(found)
    }

    pub fn list(&self, asker: &Asker, service: &str) -> Result<FoundInstances, Code> {
        let consumer = self.consumer(asker)?;
        let service = self.service(service)?;
        let is_visible = service.has_tags(&asker.tags) && service.is_seen_by(consumer);
        if is_visible { Ok(found(&[service])) } else { Err(NO_SERVICE) }
    }

    pub fn instance(&self, asker: &Asker, service: &str, id: &str) -> Result<FoundInstances, Code> {
        let consumer = self.consumer(asker)?;
        let service = self.service(service)?;
        let is_visible = service.has_tags(&asker.tags) && service.is_seen_by(consumer);
        let instance = service.instances.get(id).filter(|_| is_visible).ok_or(NO_INSTANCE)?;
        let instances = vec![service.shown_instance(id, instance)];
        Ok(FoundInstances { instances, identity: (instance.written, 1) })
    }

    pub fn providers(&self, consumer: &str) -> Result<Vec<Value>, Code> {
        let key = self.service(consumer)?.key();
        let of = self.rules.iter().filter(|((consumer, _), _)| *consumer == key);
        let meant = of.flat_map(|((_, provider), alias)| self.meant_by(provider, alias));
        let once: BTreeMap<&str, &Service> = meant.map(|service| (service.id.as_str(), service)).collect();
        Ok(once.into_values().map(Service::shown).collect())
    }

    pub fn consumers(&self, provider: &str) -> Result<Vec<Value>, Code> {
        let keys = self.consumers_of(self.service(provider)?);
        let is_one = |service: &&Service| keys.contains(&&service.key());
        Ok(self.services.iter().filter(is_one).map(Service::shown).collect())
    }

    /// The id of an exact version.
    pub fn existence(&self, (name, version): &Key) -> Result<String, Code> {
        let versions = self.named_or_aliased(name);
        if versions.is_empty() {
            return Err(NO_SERVICE);
        }
        let found = versions.iter().find(|service| service.version == *version);
        found.map(|service| service.id.clone()).ok_or("400026")
    }
}

fn found(services: &[&Service]) -> FoundInstances {
    let mut instances = Vec::new();
    let mut last = 0;
    for service in services {
        for (id, instance) in &service.instances {
            instances.push(service.shown_instance(id, instance));
            last = last.max(instance.written);
        }
    }
    let identity = (last, instances.len());
    FoundInstances { instances, identity }
}
