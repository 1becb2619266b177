//! The walks over made-up snapshots: what they write, and that they stop after each slice.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::cache::SnapshotBuilder;
use crate::domain::dependency::Partners;
use crate::domain::event::{InstanceRecord, InstanceRef, PutKind, RegistryEvent, ServiceName, ServiceRecord};
use crate::domain::json::{self as domain_json, TextMap};
use crate::domain::{Instance, Service, ServiceId, ServiceKey};
use crate::http::slices::tests::{slices, walked};
use crate::http::slices::{SLICE, STEP};

/// A registry in the making.
#[derive(Default)]
pub(in crate::http::v4) struct MadeUp {
    builder: SnapshotBuilder,
    revision: i64,
}

impl MadeUp {
    fn apply(&mut self, event: RegistryEvent) {
        self.revision += 1;
        self.builder.apply(event);
    }

    pub(in crate::http::v4) fn service(&mut self, id: &str, environment: &str, app_id: &str, name: &str) {
        let document = Service {
            service_id: id.to_owned(),
            environment: environment.to_owned(),
            app_id: app_id.to_owned(),
            service_name: name.to_owned(),
            version: "1.0.0".to_owned(),
            schemas: vec!["x".to_owned()],
            ..Service::default()
        };
        self.put(document);
    }

    /// A version of a service in the empty environment.
    pub(super) fn version(&mut self, id: &str, app_id: &str, name: &str, version: &str) {
        self.put(Service {
            service_id: id.to_owned(),
            app_id: app_id.to_owned(),
            service_name: name.to_owned(),
            version: version.to_owned(),
            ..Service::default()
        });
    }

    fn put(&mut self, document: Service) {
        let json = domain_json::encode(&document).into();
        let tenant = Tenant::default_tenant();
        let name =
            ServiceName::new(tenant.clone(), &document.environment, &document.app_id, &document.service_name);
        let (id, version) = (document.service_id.as_str().into(), document.version.as_str().into());
        let record = Arc::new(ServiceRecord { document, json, mod_revision: self.revision });
        self.apply(RegistryEvent::ServicePut(tenant, ServiceId::clone(&id), record));
        self.apply(RegistryEvent::IndexPut(name, version, id, self.revision));
    }

    pub(in crate::http::v4) fn instance(&mut self, service: &str, id: &str) {
        let document = Instance {
            instance_id: id.to_owned(),
            service_id: service.to_owned(),
            properties: TextMap::from([
                ("own".to_owned(), "1".to_owned()),
                ("zone".to_owned(), "z".to_owned()),
            ]),
            ..Instance::default()
        };
        let at =
            InstanceRef { tenant: Tenant::default_tenant(), service: service.into(), instance: id.into() };
        let record = InstanceRecord {
            json: Bytes::from(domain_json::encode(&document)),
            mod_revision: self.revision,
            compact: None,
        };
        self.apply(RegistryEvent::InstancePut(at, PutKind::Created, record));
    }

    /// The consumers depend on the provider. All are services of the application `app` and the empty environment.
    pub(super) fn depends(&mut self, consumers: &[&str], provider: &str) {
        let tenant = Tenant::default_tenant();
        let key = |name: &str, version: &str| ServiceKey {
            tenant: tenant.to_string(),
            app_id: "app".to_owned(),
            service_name: name.to_owned(),
            version: version.to_owned(),
            ..ServiceKey::default()
        };
        let name = |name: &str| ServiceName::new(tenant.clone(), "", "app", name);
        let providers = Arc::new(Partners { keys: vec![key(provider, "0.0.0+")] });
        for consumer in consumers {
            let rule =
                RegistryEvent::ConsumerRulePut(name(consumer), "1.0.0".into(), Arc::clone(&providers), 1);
            self.apply(rule);
        }
        let keys = consumers.iter().map(|consumer| key(consumer, "1.0.0")).collect();
        let rule = Arc::new(Partners { keys });
        self.apply(RegistryEvent::ProviderRulePut(name(provider), "0.0.0+".into(), rule, 1));
    }

    pub(in crate::http::v4) fn snapshot(mut self) -> Arc<Snapshot> {
        self.builder.publish(self.revision).0
    }
}

/// As many services, each with one instance.
pub(in crate::http::v4) fn many(services: usize) -> Arc<Snapshot> {
    let mut made_up = MadeUp::default();
    for number in 0..services {
        let id = format!("s{number}");
        made_up.service(&id, "", &format!("app{}", number % 7), &id);
        made_up.instance(&id, "i");
    }
    made_up.snapshot()
}

/// Sees nothing.
fn nothing() -> Grant {
    Grant::Labelled(Arc::from([TextMap::from([("appId".to_owned(), "none".to_owned())])]))
}

fn only_app(app_id: &str) -> Grant {
    Grant::Labelled(Arc::from([TextMap::from([("appId".to_owned(), app_id.to_owned())])]))
}

const PARTS: Parts = Parts { schemas: false, ..Parts::ALL };

fn query(parts: Parts) -> ListQuery<'static> {
    ListQuery {
        wants_list: true,
        wants_statistics: false,
        parts,
        count_only: CountOnly::No,
        environment: "".into(),
        app_id: "".into(),
        service_name: "".into(),
        properties: Vec::new(),
    }
}

fn list<'a>(scene: Scene<'a>, query: ListQuery<'a>, kept: &'a TextMap) -> List<'a> {
    let Scene { snapshot, tenant, grant, .. } = scene;
    let form = Form::InList { kept, count_only: query.count_only };
    let filter = PartnerFilter { same_tenant: true, not_self: true };
    let details = Details { snapshot, tenant, grant, filter, form, texts: SchemaTexts::default() };
    List { scene, query, statistics: None, details }
}

fn parsed((text, _): (String, usize)) -> Value {
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The number of slices of a walk, at least: a slice has a limited number of steps and of bytes.
pub(in crate::http::v4) fn fewest(steps: usize, bytes: usize) -> usize {
    // The last step may be over.
    const LARGEST: usize = 2 * STEP;
    (steps * STEP / (SLICE + LARGEST)).max(bytes / (2 * SLICE))
}

#[track_caller]
fn check_slices((text, slices): &(String, usize), steps: usize) {
    let fewest = fewest(steps, text.len());
    assert!(*slices >= fewest && fewest > 1, "{slices} slices, {fewest} at least");
}

#[test]
fn a_walk_stops_after_each_slice_whatever_it_meets() {
    let (tenant, kept) = (Tenant::default_tenant(), TextMap::new());
    // Many services, all shown; and none of them.
    let services = many(10_000);
    for (grant, shown) in [(Grant::All, 10_000), (nothing(), 0)] {
        let scene = || Scene { snapshot: &services, tenant: &tenant, grant: &grant, left_out: None };
        let listed = walked(&list(scene(), query(PARTS), &kept));
        check_slices(&listed, 10_000);
        let details = parsed(listed)["allServicesDetail"].as_array().map_or(0, Vec::len);
        assert_eq!(details, shown);
        let related = walked(&Relations(scene()));
        check_slices(&related, 20_000);
        assert_eq!(parsed(related)["nodes"].as_array().map_or(0, Vec::len), shown);
        let mut pace = Pace::default();
        let counting = slices(async {
            let statistics = statistics::count(&scene(), &mut pace).await;
            let count = statistics.services.map(|services| services.count);
            assert_eq!(count, i64::try_from(shown).ok());
        });
        assert!(counting >= fewest(10_000, 0), "{counting} slices");
    }
    // One service with many instances.
    let mut made_up = MadeUp::default();
    made_up.service("s", "", "app", "s");
    (0..20_000).for_each(|number| made_up.instance("s", &format!("i{number}")));
    let (snapshot, grant) = (made_up.snapshot(), Grant::All);
    let scene = Scene { snapshot: &snapshot, tenant: &tenant, grant: &grant, left_out: None };
    let listed = walked(&list(scene, query(PARTS), &kept));
    check_slices(&listed, 20_000);
    // One provider with many consumers.
    let mut made_up = MadeUp::default();
    let consumers: Vec<String> = (0..10_000).map(|number| format!("c{number}")).collect();
    let names: Vec<&str> = consumers.iter().map(String::as_str).collect();
    names.iter().chain(&["p"]).for_each(|name| made_up.service(name, "", "app", name));
    made_up.depends(&names, "p");
    let snapshot = made_up.snapshot();
    let scene = || Scene { snapshot: &snapshot, tenant: &tenant, grant: &grant, left_out: None };
    let one = ListQuery { service_name: "p".into(), ..query(PARTS) };
    let listed = walked(&list(scene(), one, &kept));
    check_slices(&listed, 20_000);
    assert_eq!(parsed(listed)["allServicesDetail"][0]["consumers"].as_array().map(Vec::len), Some(10_000));
    let related = walked(&Relations(scene()));
    check_slices(&related, 40_000);
    assert_eq!(parsed(related)["lines"].as_array().map(Vec::len), Some(10_000));
}

#[test]
fn a_list_cuts_what_the_reference_cuts() {
    let tenant = Tenant::default_tenant();
    let mut made_up = MadeUp::default();
    made_up.service("s", "", "app", "s");
    made_up.instance("s", "i");
    let (snapshot, grant) = (made_up.snapshot(), Grant::All);
    let kept = TextMap::from([("zone".to_owned(), "other".to_owned())]);
    let scene = || Scene { snapshot: &snapshot, tenant: &tenant, grant: &grant, left_out: None };
    let service = json!({"serviceId": "s", "appId": "app", "serviceName": "s", "version": "1.0.0"});
    let instance = json!({"instanceId": "i", "serviceId": "s", "properties": {"zone": "z"}});
    let listed = parsed(walked(&list(scene(), query(PARTS), &kept)));
    assert_eq!(listed, json!({"allServicesDetail": [{"microService": service, "instances": [instance]}]}));
    let counted = ListQuery { count_only: CountOnly::Yes, ..query(PARTS) };
    let listed = parsed(walked(&list(scene(), counted, &kept)));
    let statics = json!({"instances": {"count": 1}});
    assert_eq!(listed, json!({"allServicesDetail": [{"microService": service, "statics": statics}]}));
}

/// What a role with labels must not see is nowhere in the answers: not among services, nodes, lines, providers or numbers.
#[test]
fn what_a_caller_may_not_see_is_in_no_part_of_an_answer() {
    let (tenant, kept) = (Tenant::default_tenant(), TextMap::new());
    let mut made_up = MadeUp::default();
    for (id, app_id) in [("own", "app"), ("secret", "other")] {
        made_up.service(id, "", app_id, id);
        made_up.instance(id, "i");
    }
    // `own` and `secret` depend on each other, by rules whose keys name them.
    let key = |app_id: &str, name: &str, version: &str| ServiceKey {
        tenant: tenant.to_string(),
        app_id: app_id.to_owned(),
        service_name: name.to_owned(),
        version: version.to_owned(),
        ..ServiceKey::default()
    };
    for (consumer, provider) in [(("app", "own"), ("other", "secret")), (("other", "secret"), ("app", "own"))]
    {
        let name = |(app_id, name): (&str, &str)| ServiceName::new(tenant.clone(), "", app_id, name);
        let providers = Arc::new(Partners { keys: vec![key(provider.0, provider.1, "0.0.0+")] });
        made_up.apply(RegistryEvent::ConsumerRulePut(name(consumer), "1.0.0".into(), providers, 1));
        let consumers = Arc::new(Partners { keys: vec![key(consumer.0, consumer.1, "1.0.0")] });
        made_up.apply(RegistryEvent::ProviderRulePut(name(provider), "0.0.0+".into(), consumers, 1));
    }
    let snapshot = made_up.snapshot();
    for (grant, sees_all) in [(Grant::All, true), (only_app("app"), false)] {
        let scene = || Scene { snapshot: &snapshot, tenant: &tenant, grant: &grant, left_out: None };
        let service = snapshot.service(&tenant, "own").map(Arc::as_ref);
        let details = |form| Details {
            snapshot: &snapshot,
            tenant: &tenant,
            grant: &grant,
            filter: PartnerFilter::default(),
            form,
            texts: SchemaTexts::default(),
        };
        let answers = [
            walked(&list(scene(), query(PARTS), &kept)).0,
            walked(&Relations(scene())).0,
            walked(&Detail {
                service: service.unwrap_or_else(|| panic!("own")),
                details: details(Form::Alone),
            })
            .0,
        ];
        for answer in answers {
            assert!(answer.contains("own"), "{answer}");
            assert_eq!(answer.contains("secret"), sees_all, "{answer}");
        }
        let mut pace = Pace::default();
        slices(async {
            let statistics = statistics::count(&scene(), &mut pace).await;
            let expected = if sees_all { 2 } else { 1 };
            let numbers = |numbers: Option<i64>| assert_eq!(numbers, Some(expected));
            numbers(statistics.services.as_ref().map(|services| services.count));
            numbers(statistics.services.as_ref().map(|services| services.online));
            numbers(statistics.instances.as_ref().map(|instances| instances.count));
            numbers(statistics.apps.as_ref().map(|apps| apps.count));
        });
    }
}

#[test]
fn properties_are_split_at_the_first_colon() {
    for (text, name, value) in [
        ("b", "b", ""),
        ("b:", "b", ""),
        (":", "", ""),
        (":a", "", "a"),
        ("b:a", "b", "a"),
        ("b:a:c", "b", "a:c"),
    ] {
        assert_eq!(property(text.into()), (name.into(), value.into()));
        assert_eq!(property(text.to_owned().into()), (name.into(), value.into()));
    }
}
