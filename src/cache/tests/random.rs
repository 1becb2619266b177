//! Random registries with few names, so that they collide.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::domain::Instance;
use crate::domain::service::ALLOW_CROSS_APP;

pub const ENVIRONMENTS: [&str; 3] = ["", "testing", "production"];
pub const APPS: [&str; 3] = ["shop", "bank", "default"];
pub const NAMES: [&str; 4] = ["alpha", "Beta", "gamma-alpha", "global"];
pub const ALIASES: [&str; 4] = ["", "", "nick", "alpha"];
pub const VERSIONS: [&str; 4] = ["1.0.0", "2.0.0", "10.0.0", "1.5"];
pub const TAGS: [&str; 2] = ["blue", "green"];
pub const STATUSES: [&str; 7] = ["UP", "UP", "DOWN", "STARTING", "TESTING", "OUTOFSERVICE", ""];
pub const HOSTS: [&str; 5] = ["host-1", "HOST-2", "h\"3<é", "", "alpha"];
pub const ENDPOINTS: [&str; 5] = [
    "rest://10.0.0.7:8080",
    "rest://10.0.0.7:80/x:8080",
    "grpc://[fd00::4]:8080",
    "Alpha.local",
    "rest://h:8080?a=b",
];

pub fn one_of(random: &mut StdRng, values: &[&'static str]) -> &'static str {
    values.choose(random).copied().unwrap()
}

impl SnapshotWorld {
    pub fn put_document_of(&mut self, instance: &Instance) {
        let (service, id) = (instance.service_id.as_str(), instance.instance_id.as_str());
        let known = self.builder.current().instance(&tenant(), service, id).is_some();
        let record = InstanceRecord {
            json: json::encode(instance).into(),
            mod_revision: self.revision + 1,
            compact: None,
        };
        let kind = if known { PutKind::Updated } else { PutKind::Created };
        self.apply(RegistryEvent::InstancePut(at(service, id), kind, record));
    }
}

/// A registry after some hundred changes.
pub fn world(seed: u64) -> SnapshotWorld {
    let random = &mut StdRng::seed_from_u64(seed);
    let mut world = SnapshotWorld::default();
    let ids: Vec<String> = (0..random.random_range(1..12)).map(|id| format!("s{id}")).collect();
    for id in &ids {
        put_service(&mut world, random, id);
    }
    for _ in 0..random.random_range(0..150) {
        let id = ids.choose(random).unwrap().as_str();
        let instance = format!("i{}", random.random_range(0..12));
        match random.random_range(0..20) {
            0 => put_service(&mut world, random, id),
            1 => world.delete_instance(id, &instance),
            2 => {
                let tags: Vec<&str> = TAGS.into_iter().filter(|_| random.random()).collect();
                world.put_tags(id, &tags);
            }
            3 => put_rule(&mut world, random),
            4 if random.random_range(0..4) == 0 => {
                world.apply(RegistryEvent::ServiceDeleted(tenant(), id.into()));
            }
            _ => world.put_document_of(&any_instance(random, id, instance)),
        }
    }
    world
}

/// The service with this id, with a name that no other service has.
fn put_service(world: &mut SnapshotWorld, random: &mut StdRng, id: &str) {
    let name = name(one_of(random, &ENVIRONMENTS), one_of(random, &APPS), one_of(random, &NAMES));
    let version = one_of(random, &VERSIONS);
    let snapshot = world.builder.current();
    let view = snapshot.tenant(&tenant());
    let path = super::super::snapshot::name_path(&name.environment, &name.app_id, &name.name);
    let is_taken = view.and_then(|view| view.name(&path)?.version(version)).is_some();
    if is_taken || snapshot.service(&tenant(), id).is_some() {
        return;
    }
    let mut document = document(id, &name, version);
    document.alias = one_of(random, &ALIASES).to_owned();
    if random.random() {
        let value = one_of(random, &["true", "TRUE", "false"]);
        document.properties.insert(ALLOW_CROSS_APP.to_owned(), value.to_owned());
    }
    let revision = world.revision + 1;
    if !document.alias.is_empty() {
        let alias = ServiceName::new(tenant(), &name.environment, &name.app_id, &document.alias);
        world.apply(RegistryEvent::AliasPut(alias, version.into(), id.into(), revision));
    }
    world.put_document(document);
    world.apply(RegistryEvent::IndexPut(name, version.into(), id.into(), revision));
}

fn put_rule(world: &mut SnapshotWorld, random: &mut StdRng) {
    let mut drawn = || {
        let environment = one_of(random, &ENVIRONMENTS);
        name(environment, one_of(random, &APPS), one_of(random, &NAMES))
    };
    let (consumer, provider) = (drawn(), drawn());
    let provider = partner(&tenant(), &provider, "0.0.0+");
    world.put_consumer_rule(&consumer, one_of(random, &VERSIONS), &[provider]);
}

fn any_instance(random: &mut StdRng, service: &str, instance_id: String) -> Instance {
    let endpoints = (0..random.random_range(0..3)).map(|_| one_of(random, &ENDPOINTS).to_owned()).collect();
    let mut properties = TextMap::new();
    for name in ["zone", "alpha", "status"] {
        if random.random() {
            properties.insert(name.to_owned(), one_of(random, &["a", "b", "UP", "\"<"]).to_owned());
        }
    }
    Instance {
        instance_id,
        service_id: service.to_owned(),
        endpoints,
        host_name: one_of(random, &HOSTS).to_owned(),
        status: one_of(random, &STATUSES).to_owned(),
        properties,
        timestamp: "1".to_owned(),
        ..Instance::default()
    }
}
