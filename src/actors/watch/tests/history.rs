//! A random history of the keys of a store: keys of all trees, put and deleted, alone and together, with some unreadable
//! values.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::domain::event::ServiceName;
use crate::domain::{Tenant, json};
use crate::store::{Entry, Event, Revision, WatchBatch, keys};

const TENANTS: [&str; 2] = ["default/default", "default/other"];
const SERVICES: [&str; 3] = ["s1", "s2", "s3"];
const INSTANCES: [&str; 3] = ["i1", "i2", "i3"];
const NAMES: [&str; 2] = ["shop", "bank"];
const APPS: [&str; 2] = ["app", "theirs"];
const ENVIRONMENTS: [&str; 2] = ["", "testing"];
const VERSIONS: [&str; 2] = ["1", "2"];

/// Whether instances may expire. Expired instances are shown for a while longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceEnds {
    Some,
    None,
}

/// The keys of a store, and the events of its revisions.
pub struct KeyHistory {
    pub random: StdRng,
    expiries: InstanceEnds,
    pub entries: BTreeMap<String, Entry>,
    pub revision: Revision,
    pub events: Vec<Vec<Event>>,
}

fn keys_of(tenant: &Tenant, service: &str, instance: &str) -> [String; 3] {
    let keys = [keys::instance, keys::lease, keys::properties_override];
    keys.map(|key| key(tenant, service, instance).to_string())
}

impl KeyHistory {
    pub fn new(seed: u64, expiries: InstanceEnds) -> Self {
        let (entries, events) = (BTreeMap::new(), Vec::new());
        Self { random: StdRng::seed_from_u64(seed), expiries, entries, revision: 0, events }
    }

    /// Adds a revision with a few keys, each once.
    pub fn go_on(&mut self) {
        self.revision += 1;
        let mut events = Vec::new();
        let mut touched = BTreeSet::new();
        for _ in 0..self.random.random_range(1..4) {
            match self.random.random_range(0..14) {
                0 => self.say_goodbye(&mut events, &mut touched),
                1 => self.expire(&mut events, &mut touched),
                2 => self.say_goodbye_late(&mut events, &mut touched),
                3 => self.delete_service(&mut events, &mut touched),
                4 => self.put_unreadable(&mut events, &mut touched),
                5 => self.release(&mut events, &mut touched),
                6..9 => self.delete(&mut events, &mut touched),
                _ => self.put(&mut events, &mut touched),
            }
        }
        if events.is_empty() {
            self.revision -= 1;
        } else {
            self.events.push(events);
        }
    }

    fn one_of<'a>(&mut self, values: &[&'a str]) -> &'a str {
        values.choose(&mut self.random).copied().unwrap()
    }

    fn tenant(&mut self) -> Tenant {
        Tenant::from(self.one_of(&TENANTS))
    }

    fn name(&mut self) -> ServiceName {
        let (tenant, environment) = (self.tenant(), self.one_of(&ENVIRONMENTS));
        ServiceName::new(tenant, environment, self.one_of(&APPS), self.one_of(&NAMES))
    }

    /// A random alias or none.
    fn alias(&mut self) -> &'static str {
        NAMES.choose(&mut self.random).copied().filter(|_| self.random.random()).unwrap_or_default()
    }

    /// A key of any tree, with a fitting value.
    fn random_entry(&mut self) -> (String, String) {
        let (tenant, name) = (self.tenant(), self.name());
        let (service, instance) = (self.one_of(&SERVICES), self.one_of(&INSTANCES));
        let version = self.one_of(&VERSIONS);
        let partner = |random: &mut Self| {
            let name = random.name();
            format!(
                "{{\"Dependency\":[{{\"tenant\":\"{}\",\"environment\":\"{}\",\"appId\":\"{}\",\"serviceName\":\"{}\",\"alias\":\"{}\",\"version\":\"0.0.0+\"}}]}}",
                name.tenant,
                name.environment,
                name.app_id,
                name.name,
                random.alias()
            )
        };
        let (key, value) = match self.random.random_range(0..16) {
            0 | 1 => {
                let document = crate::domain::Service {
                    service_id: service.to_owned(),
                    environment: name.environment.to_string(),
                    app_id: name.app_id.to_string(),
                    service_name: name.name.to_string(),
                    version: version.to_owned(),
                    alias: self.alias().to_owned(),
                    properties: [("allowCrossApp".to_owned(), self.random.random::<bool>().to_string())]
                        .into(),
                    ..Default::default()
                };
                let value = String::from_utf8(json::encode(&document)).unwrap();
                (keys::service(&tenant, service), value)
            }
            2 | 3 => (keys::index(&name, version), service.to_owned()),
            4 => (keys::alias(&name, version), service.to_owned()),
            5 => (keys::tags(&tenant, service), format!("{{\"{}\":\"x\"}}", self.one_of(&["a", "b"]))),
            6 => (keys::schema_ref(&tenant, service, "x"), self.one_of(&["h1", "h2"]).to_owned()),
            7 => (keys::schema_summary(&tenant, service, "x"), self.one_of(&["u1", "u2"]).to_owned()),
            8 => (keys::consumer_rule(&name, version), partner(self)),
            9 => (keys::provider_rule(&name, "0.0.0+"), partner(self)),
            10 => (keys::dependency_request(&tenant, service, version), "{}".to_owned()),
            11..14 => {
                let status = self.one_of(&["UP", "DOWN"]);
                let value = format!("{{\"instanceId\":\"{instance}\",\"status\":\"{status}\"}}");
                (keys::instance(&tenant, service, instance), value)
            }
            14 => (keys::properties_override(&tenant, service, instance), String::new()),
            _ => (keys::lease(&tenant, service, instance), self.random.random_range(1..9_i64).to_string()),
        };
        (key.to_string(), value)
    }

    fn put(&mut self, events: &mut Vec<Event>, touched: &mut BTreeSet<String>) {
        let (key, value) = match self.random.random_range(0..12) {
            0 => ("/cse-sr/domains/default".to_owned(), String::new()),
            1 => ("/cse-sr/projects/default/default".to_owned(), String::new()),
            2 => ("/cse-sr/inst/files/foreign".to_owned(), "{}".to_owned()),
            _ => self.random_entry(),
        };
        if touched.insert(key.clone()) {
            self.write(key, value, events);
        }
    }

    /// Puts an unreadable value under a known or a new key.
    fn put_unreadable(&mut self, events: &mut Vec<Event>, touched: &mut BTreeSet<String>) {
        let known: Vec<String> = self.entries.keys().cloned().collect();
        let key = match known.choose(&mut self.random).filter(|_| self.random.random_range(0..4) > 0) {
            Some(key) => key.clone(),
            None => self.random_entry().0,
        };
        if touched.insert(key.clone()) {
            self.write(key, vec![0xff], events);
        }
    }

    fn write(&mut self, key: String, value: impl Into<Bytes>, events: &mut Vec<Event>) {
        let former = self.entries.get(&key);
        let entry = Entry {
            key: key.as_str().into(),
            value: value.into(),
            compact: None,
            create_revision: former.map_or(self.revision, |former| former.create_revision),
            mod_revision: self.revision,
            version: former.map_or(1, |former| former.version + 1),
            lease: None,
        };
        events.push(Event::Put(entry.clone()));
        self.entries.insert(key, entry);
    }

    fn delete(&mut self, events: &mut Vec<Event>, touched: &mut BTreeSet<String>) {
        let known: Vec<String> = self.entries.keys().cloned().collect();
        let Some(key) = known.choose(&mut self.random).cloned() else { return };
        // Domains and projects are not deleted. The deletion of a document alone looks like an expiry.
        let stays = self.expiries == InstanceEnds::None && key.contains("/inst/files/");
        if !stays && !key.contains("/domains/") && !key.contains("/projects/") {
            self.remove(&key, events, touched);
        }
    }

    fn remove(&mut self, key: &str, events: &mut Vec<Event>, touched: &mut BTreeSet<String>) {
        if touched.insert(key.to_owned()) && self.entries.remove(key).is_some() {
            events.push(Event::Delete { key: key.into(), revision: self.revision });
        }
    }

    /// The keys of a random instance: document, lease, override.
    fn instance_keys(&mut self) -> [String; 3] {
        let (tenant, service, instance) = (self.tenant(), self.one_of(&SERVICES), self.one_of(&INSTANCES));
        keys_of(&tenant, service, instance)
    }

    fn say_goodbye(&mut self, events: &mut Vec<Event>, touched: &mut BTreeSet<String>) {
        let keys = self.instance_keys();
        self.goodbye(&keys, events, touched);
    }

    fn goodbye(
        &mut self,
        [document, lease, properties]: &[String; 3],
        events: &mut Vec<Event>,
        touched: &mut BTreeSet<String>,
    ) {
        let is_whole =
            [document, lease].iter().all(|key| self.entries.contains_key(*key) && !touched.contains(*key));
        if is_whole || self.expiries == InstanceEnds::Some {
            [lease, document, properties].iter().for_each(|key| self.remove(key, events, touched));
        }
    }

    /// Puts the goodbye of an owner whose lease has ended.
    fn say_goodbye_late(&mut self, events: &mut Vec<Event>, touched: &mut BTreeSet<String>) {
        let (tenant, service, instance) = (self.tenant(), self.one_of(&SERVICES), self.one_of(&INSTANCES));
        let key = keys::late_goodbye(&tenant, service, instance, self.random.random_range(1..9)).to_string();
        let is_gone = !self.entries.contains_key(&*keys::instance(&tenant, service, instance));
        if is_gone && touched.insert(key.clone()) {
            self.write(key, "", events);
        }
    }

    /// Releases the expiries of a service.
    fn release(&mut self, events: &mut Vec<Event>, touched: &mut BTreeSet<String>) {
        let (tenant, service) = (self.tenant(), self.one_of(&SERVICES));
        let key = keys::release(&tenant, service).to_string();
        if touched.insert(key.clone()) {
            self.write(key, "", events);
        }
    }

    /// Deletes a service with all its keys: leases, then documents, then the rest.
    fn delete_service(&mut self, events: &mut Vec<Event>, touched: &mut BTreeSet<String>) {
        let (tenant, service) = (self.tenant(), self.one_of(&SERVICES));
        for instance in INSTANCES {
            self.goodbye(&keys_of(&tenant, service, instance), events, touched);
        }
        let refers = |entry: &&Entry| entry.value == service.as_bytes();
        let mut keys: Vec<String> =
            self.entries.values().filter(refers).map(|entry| entry.key.to_string()).collect();
        keys.extend([
            keys::service(&tenant, service).to_string(),
            keys::schema_ref(&tenant, service, "x").to_string(),
            keys::schema_summary(&tenant, service, "x").to_string(),
            keys::tags(&tenant, service).to_string(),
        ]);
        keys.iter().for_each(|key| self.remove(key, events, touched));
    }

    fn expire(&mut self, events: &mut Vec<Event>, touched: &mut BTreeSet<String>) {
        if self.expiries == InstanceEnds::None {
            return;
        }
        self.instance_keys().iter().for_each(|key| self.remove(key, events, touched));
    }

    /// The events so far in batches of a watch: whole revisions, some together.
    pub fn batches(&mut self) -> Vec<WatchBatch> {
        let mut batches: Vec<WatchBatch> = Vec::new();
        for events in std::mem::take(&mut self.events) {
            let revision = match events.first().unwrap() {
                Event::Put(entry) => entry.mod_revision,
                Event::Delete { revision, .. } => *revision,
            };
            match batches.last_mut().filter(|_| self.random.random_range(0..3) == 0) {
                Some(last) => {
                    last.revision = revision;
                    last.events.extend(events);
                }
                None => batches.push(WatchBatch { revision, events }),
            }
        }
        batches
    }
}
