//! Random operations with few names, so that they collide, and the reads that show everything.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::model::{Asker, Key, Model, Name, Service, TextMap};
use super::operation::Operation;

const ENVIRONMENTS: [&str; 2] = ["", "testing"];
const APPS: [&str; 2] = ["shop", "bank"];
const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];
/// Aliases. One of them is a name as well.
const ALIASES: [&str; 4] = ["", "", "nick", "beta"];
const VERSIONS: [&str; 2] = ["1.0.0", "2.0.0"];
const IDS: [&str; 2] = ["id-1", "id-2"];
const INSTANCES: [&str; 3] = ["i1", "i2", "i3"];
const STATUSES: [&str; 3] = ["UP", "DOWN", "TESTING"];
const TAGS: [&str; 2] = ["blue", "green"];

/// Draws operations.
pub struct Draw<'a> {
    pub random: &'a mut StdRng,
    pub model: &'a Model,
}

impl Draw<'_> {
    fn one_of(&mut self, values: &[&'static str]) -> &'static str {
        values.choose(self.random).copied().unwrap()
    }

    fn name(&mut self) -> Name {
        let (environment, app) = (self.one_of(&ENVIRONMENTS), self.one_of(&APPS));
        Name { environment, app, name: self.one_of(&NAMES) }
    }

    fn key(&mut self) -> Key {
        let known = self.model.services.choose(self.random).map(Service::key);
        match known {
            Some(key) if self.random.random_range(0..3) > 0 => key,
            _ => (self.name(), self.one_of(&VERSIONS)),
        }
    }

    /// A name that may be an alias.
    fn sought(&mut self) -> Name {
        let mut name = self.name();
        if self.random.random_range(0..5) == 0 {
            name.name = "nick";
        }
        name
    }

    /// The id of a service that usually exists.
    fn service(&mut self) -> String {
        match self.model.services.choose(self.random) {
            Some(known) if self.random.random_range(0..10) > 0 => known.id.clone(),
            _ => self.one_of(&["id-1", "id-2", "nobody"]).to_owned(),
        }
    }

    fn properties(&mut self) -> TextMap {
        let mut properties = TextMap::new();
        if self.random.random() {
            properties.insert("allowCrossApp".to_owned(), self.one_of(&["true", "false"]).to_owned());
        }
        if self.random.random() {
            properties.insert("zone".to_owned(), self.one_of(&["a", "b"]).to_owned());
        }
        properties
    }

    fn tags(&mut self) -> TextMap {
        let drawn: Vec<&str> = TAGS.into_iter().filter(|_| self.random.random()).collect();
        drawn.into_iter().map(|tag| (tag.to_owned(), "v0".to_owned())).collect()
    }

    fn asker(&mut self) -> Asker {
        let consumer = (self.random.random_range(0..3) > 0).then(|| self.service());
        let tags = if self.random.random_range(0..4) == 0 { vec![self.one_of(&TAGS)] } else { Vec::new() };
        Asker { consumer, tags }
    }

    pub fn operation(&mut self) -> Operation {
        let id = self.one_of(&INSTANCES);
        let status = self.one_of(&STATUSES);
        match self.random.random_range(0..100) {
            0..12 => Operation::RegisterService {
                given: (self.random.random_range(0..6) == 0).then(|| self.one_of(&IDS)),
                key: (self.name(), self.one_of(&VERSIONS)),
                alias: self.one_of(&ALIASES),
                properties: self.properties(),
            },
            12..16 => Operation::UnregisterService { id: self.service(), force: self.random.random() },
            16..20 => Operation::PutServiceProperties { id: self.service(), properties: self.properties() },
            20..23 => Operation::ReplaceTags { id: self.service(), tags: self.tags() },
            23..25 => {
                let value = format!("v{}", self.random.random_range(0..9));
                Operation::PutTag { id: self.service(), tag: self.one_of(&TAGS), value }
            }
            25..27 => Operation::DeleteTag { id: self.service(), tag: self.one_of(&TAGS) },
            27..40 => Operation::RegisterInstance {
                service: self.service(),
                id,
                status,
                properties: self.properties(),
            },
            40..44 => Operation::UnregisterInstance { service: self.service(), id },
            44..47 => Operation::PutStatus { service: self.service(), id, status },
            47..49 => {
                let properties = self.properties();
                Operation::PutInstanceProperties { service: self.service(), id, properties }
            }
            49..51 => self.status_where(status),
            51..53 => Operation::Heartbeat { service: self.service(), id },
            53..57 => self.dependencies(),
            57..77 => Operation::Find { asker: self.asker(), name: self.sought() },
            77..82 => Operation::List { asker: self.asker(), service: self.service() },
            82..86 => Operation::GetInstance { asker: self.asker(), service: self.service(), id },
            86..92 => Operation::BatchFind {
                consumer: self.random.random::<bool>().then(|| self.service()),
                services: (0..self.random.random_range(1..3)).map(|_| self.sought()).collect(),
                instances: (0..self.random.random_range(0..3))
                    .map(|_| (self.service(), self.one_of(&INSTANCES)))
                    .collect(),
            },
            92..94 => Operation::Providers { id: self.service() },
            94..96 => Operation::Consumers { id: self.service() },
            96 => Operation::GetService { id: self.service() },
            97 => Operation::GetTags { id: self.service() },
            98 => Operation::Existence { key: self.key() },
            _ => Operation::ListServices,
        }
    }

    /// Changes one instance at most. A store may report two changes of one request as one revision or as two, and both are right.
    fn status_where(&mut self, status: &'static str) -> Operation {
        let properties = self.properties();
        match self.model.to_be_changed(&properties, status).len() {
            0 | 1 => Operation::PutStatusWhere { properties, status },
            _ => Operation::ListServices,
        }
    }

    fn dependencies(&mut self) -> Operation {
        let replace: bool = self.random.random();
        let least = usize::from(!replace);
        let mut providers: Vec<(Name, &str)> =
            (least..3).map(|_| (self.name(), self.one_of(&ALIASES))).collect();
        providers.sort();
        providers.dedup_by(|a, b| a.0 == b.0);
        Operation::ChangeDependencies { consumer: self.key(), providers, replace }
    }
}

/// The reads that show everything.
pub fn reads(model: &Model) -> Vec<Operation> {
    let nobody = || Asker { consumer: None, tags: Vec::new() };
    let mut reads = vec![Operation::ListServices];
    for service in &model.services {
        let id = || service.id.clone();
        reads.push(Operation::GetService { id: id() });
        reads.push(Operation::GetTags { id: id() });
        reads.push(Operation::Providers { id: id() });
        reads.push(Operation::Consumers { id: id() });
        reads.push(Operation::List { asker: nobody(), service: id() });
        reads.push(Operation::Existence { key: service.key() });
    }
    for environment in ENVIRONMENTS {
        for app in APPS {
            for name in NAMES.into_iter().chain(["nick"]) {
                for tags in [Vec::new(), vec!["blue"]] {
                    let asker = Asker { consumer: None, tags };
                    reads.push(Operation::Find { asker, name: Name { environment, app, name } });
                }
            }
        }
    }
    reads
}
