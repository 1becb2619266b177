//! Which consumers see which instances.

use super::*;
use crate::domain::service::ALLOW_CROSS_APP;
use crate::error::Code;

/// A find with default values.
#[derive(Clone)]
struct Ask {
    tenant: &'static str,
    target: &'static str,
    environment: &'static str,
    app: &'static str,
    name: &'static str,
    tags: &'static [&'static str],
    consumer: &'static str,
}

const ASK: Ask = Ask {
    tenant: "default/default",
    target: "default/default",
    environment: "",
    app: "app",
    name: "svc",
    tags: &[],
    consumer: "",
};

impl Ask {
    fn of(&self, world: &mut SnapshotWorld) -> Result<(Vec<String>, Option<String>), (Code, String)> {
        let (tenant, target) = (Tenant::from(self.tenant), Tenant::from(self.target));
        let query = FindQuery {
            tenant: &tenant,
            target: &target,
            environment: self.environment,
            app_id: self.app,
            name: self.name,
            tags: self.tags,
            consumer: self.consumer,
        };
        let shared = SharedServices::new(["global".to_owned()], "production");
        let snapshot = world.snapshot();
        let found = snapshot.find(&query, &shared).map_err(|error| (error.code, error.to_string()))?;
        let dependency = found.dependency.map(|dependency| {
            let provider = dependency.provider;
            format!("{} -> {}/{}", dependency.consumer_id, provider.service_name, provider.version)
        });
        Ok((ids(&found.answer), dependency))
    }

    #[track_caller]
    fn finds(&self, world: &mut SnapshotWorld, expected: &[&str]) {
        let (found, _) = self.of(world).unwrap();
        assert_eq!(found, expected);
    }

    #[track_caller]
    fn fails(&self, world: &mut SnapshotWorld) {
        assert_eq!(self.of(world).unwrap_err().0, Code::ServiceNotExists);
    }
}

fn world() -> SnapshotWorld {
    let mut world = SnapshotWorld::default();
    let svc = name("", "app", "svc");
    world.put_service("s1", &svc, "1");
    world.put_service("s2", &svc, "2");
    world.put_instance("s1", "i1");
    world.put_instance("s2", "i2");
    world
}

fn open(id: &str, name: &ServiceName, version: &str, value: &str) -> Service {
    let mut open = document(id, name, version);
    open.properties.insert(ALLOW_CROSS_APP.to_owned(), value.to_owned());
    open
}

#[test]
fn all_versions_are_found() {
    let mut world = world();
    ASK.finds(&mut world, &["i1", "i2"]);
    Ask { name: "none", ..ASK }.fails(&mut world);
    Ask { app: "other", ..ASK }.fails(&mut world);
    Ask { tenant: "default/other", ..ASK }.fails(&mut world);
}

#[test]
fn a_version_needs_all_tags() {
    let mut world = world();
    world.put_tags("s1", &["a", "b"]);
    world.put_tags("s2", &["a"]);
    Ask { tags: &["a"], ..ASK }.finds(&mut world, &["i1", "i2"]);
    Ask { tags: &["a", "b"], ..ASK }.finds(&mut world, &["i1"]);
    Ask { tags: &["c"], ..ASK }.finds(&mut world, &[]);
}

#[test]
fn a_consumers_environment_replaces_the_askers() {
    let mut world = world();
    world.put_service("p", &name("production", "app", "svc"), "1");
    world.put_instance("p", "ip");
    world.put_service("c", &name("production", "app", "me"), "1");
    Ask { environment: "production", ..ASK }.finds(&mut world, &["ip"]);
    Ask { environment: "", consumer: "c", ..ASK }.finds(&mut world, &["ip"]);
    Ask { environment: "testing", consumer: "c", ..ASK }.finds(&mut world, &["ip"]);
    Ask { environment: "testing", ..ASK }.fails(&mut world);
    Ask { consumer: "nobody", ..ASK }.fails(&mut world);
}

#[test]
fn another_application_sees_only_open_versions() {
    let mut world = world();
    world.put_service("c", &name("", "theirs", "me"), "1");
    let consumer = Ask { consumer: "c", ..ASK };
    consumer.finds(&mut world, &[]);
    assert_eq!(consumer.of(&mut world).unwrap().1, None, "who sees nothing depends on nothing");
    world.put_document(open("s2", &name("", "app", "svc"), "2", "TRUE"));
    consumer.finds(&mut world, &["i2"]);
    assert_eq!(consumer.of(&mut world).unwrap().1.unwrap(), "c -> svc/0.0.0+");
    world.put_document(open("s2", &name("", "app", "svc"), "2", "1"));
    consumer.finds(&mut world, &[]);
    ASK.finds(&mut world, &["i1", "i2"]);
}

#[test]
fn a_name_comes_before_an_alias() {
    let mut world = world();
    world.put_service("other", &name("", "app", "other"), "1");
    world.put_instance("other", "io");
    for (alias, owner) in [("nick", "other"), ("svc", "other")] {
        world.apply(RegistryEvent::AliasPut(name("", "app", alias), "1".into(), owner.into(), 1));
    }
    Ask { name: "nick", ..ASK }.finds(&mut world, &["io"]);
    ASK.finds(&mut world, &["i1", "i2"]);
    for version in ["1", "2"] {
        world.apply(RegistryEvent::IndexDeleted(name("", "app", "svc"), version.into()));
    }
    ASK.finds(&mut world, &["io"]);
}

#[test]
fn a_dependency_is_shown_until_it_is_recorded() {
    let (svc, me) = (name("", "app", "svc"), name("", "app", "me"));
    let mut world = world();
    world.put_service("c", &me, "7");
    let ask = Ask { consumer: "c", ..ASK };
    assert_eq!(ask.of(&mut world).unwrap().1.unwrap(), "c -> svc/0.0.0+");
    world.put_consumer_rule(&me, "6", &[partner(&tenant(), &svc, "0.0.0+")]);
    assert!(ask.of(&mut world).unwrap().1.is_some(), "that of another version is another's");
    world.put_consumer_rule(&me, "7", &[partner(&Tenant::from("a/b"), &svc, "0.0.0+")]);
    assert!(ask.of(&mut world).unwrap().1.is_some(), "the provider of another tenant is another one");
    world.put_consumer_rule(&me, "7", &[partner(&tenant(), &svc, "0.0.0+")]);
    assert_eq!(ask.of(&mut world).unwrap().1, None);
    assert_eq!(ASK.of(&mut world).unwrap().1, None, "nobody depends");
    // The consumer was deleted and registered again. The rule is the former one's until the queue is worked off.
    let ended = Some((tenant(), ServiceId::from("c")));
    world.apply(RegistryEvent::DependencyQueued("k".into(), ended.clone()));
    assert!(ask.of(&mut world).unwrap().1.is_some(), "it has to be recorded again");
    world.apply(RegistryEvent::DependencyTaken("k".into(), ended));
    assert_eq!(ask.of(&mut world).unwrap().1, None);
}

#[test]
fn shared_services_are_found_from_anywhere_in_their_own_environment() {
    let mut world = world();
    let global = name("production", "default", "global");
    world.put_service("g", &global, "1");
    world.put_instance("g", "ig");
    world.put_service("c", &name("testing", "app", "me"), "1");
    let ask = Ask { tenant: "their/own", app: "default", name: "global", ..ASK };
    ask.finds(&mut world, &["ig"]);
    Ask { consumer: "nobody", ..ask.clone() }.finds(&mut world, &["ig"]);
    let of_consumer = Ask { tenant: ASK.tenant, consumer: "c", ..ask.clone() };
    assert_eq!(of_consumer.of(&mut world).unwrap(), (vec!["ig".to_owned()], None));
    Ask { tags: &["a"], ..ask.clone() }.finds(&mut world, &[]);
    // The name alone does not make a service shared.
    Ask { app: "app", ..ask.clone() }.fails(&mut world);
    Ask { target: "their/own", ..ask }.fails(&mut world);
}

#[test]
fn lists_and_single_instances_keep_the_same_rules() {
    let mut world = world();
    world.put_service("c", &name("", "theirs", "me"), "1");
    world.put_service("e", &name("testing", "app", "me"), "1");
    world.put_service("ok", &name("", "app", "me"), "1");
    world.put_tags("s1", &["a"]);
    let snapshot = world.snapshot();
    let tenant = tenant();
    let list = |provider, consumer, tags| {
        let query = ListQuery { tenant: &tenant, provider, tags, consumer };
        let one = snapshot.find_instance(&query, "i1").map(drop).map_err(|error| error.code);
        (snapshot.list_instances(&query).map(|answer| ids(&answer)).map_err(|error| error.code), one)
    };
    let seen = (Ok(vec!["i1".to_owned()]), Ok(()));
    let unseen = (Err(Code::ServiceNotExists), Err(Code::InstanceNotExists));
    let nobody = (Err(Code::ServiceNotExists), Err(Code::ServiceNotExists));
    assert_eq!(list("s1", "", &[]), seen);
    assert_eq!(list("s1", "ok", &["a"]), seen);
    assert_eq!(list("s1", "ok", &["b"]), unseen);
    assert_eq!(list("s1", "c", &[]), unseen);
    assert_eq!(list("s1", "e", &[]), unseen);
    assert_eq!(list("s1", "none", &[]), nobody);
    assert_eq!(list("none", "", &[]), nobody);
    assert_eq!(list("s2", "", &[]).1, Err(Code::InstanceNotExists));
}

#[test]
fn what_is_shared_does_not_count() {
    let mut world = world();
    world.put_service("g", &name("testing", "default", "global"), "1");
    world.put_instance("g", "ig");
    world.put_service("sc", &name("", "default", "SERVICECENTER"), "1");
    let snapshot = world.snapshot();
    let usage = snapshot.usage(&tenant(), &SharedServices::new(["global".to_owned()], "production"));
    assert_eq!((usage.services, usage.instances), (2, 2));
    let usage = snapshot.usage(&tenant(), &shared());
    assert_eq!((usage.services, usage.instances), (3, 3));
    assert_eq!(
        snapshot.usage(&Tenant::from("a/b"), &shared()),
        super::super::snapshot::QuotaUsage::default()
    );
}
