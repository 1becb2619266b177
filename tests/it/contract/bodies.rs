//! What the description says of bodies, and what the validators do: valid bodies are changed at random places, and both must agree
//! on each result.

use std::collections::{HashMap, HashSet};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use service_center::config::RbacScope;
use service_center::domain::Tenant;
use service_center::domain::account::Account;
use service_center::domain::dependency::CrossDomain;
use service_center::domain::quota::Quotas;
use service_center::domain::validate::dependency::{Asker, DependencyWrite};
use service_center::domain::validate::size::SizeLimits;
use service_center::domain::validate::{self, account};
use service_center::error::Error;
use service_center::http::dto::account::{CreateAccounts, LoginBody};
use service_center::http::dto::dependency::Dependencies;
use service_center::http::dto::find::BatchFind;
use service_center::http::dto::instance::{BulkStatus, Heartbeats, RegisterInstanceBody, check_registration};
use service_center::http::dto::schema::{SchemaBody, SchemasBody};
use service_center::http::dto::service::{CreateService, DeleteServices, Properties};
use service_center::http::dto::tag;
use service_center::http::dto::{body, object_body};
use service_center::http::openapi::{ApiTerms, describe};
use service_center::http::routes::{Accounts, table};

use crate::support::json_schema::problems;

/// Changes of each body. Takes some seconds in a debug build.
const ROUNDS: usize = 1_500;
const SCHEMA_QUOTA: usize = 3;
const TAG_QUOTA: usize = 3;
const BATCH: usize = 3;
/// No limit of a body's size, which is not part of a schema.
const SIZES: SizeLimits = SizeLimits { instance: usize::MAX, properties: usize::MAX };

/// The body of an operation: what reads it, and a valid one.
struct Kind {
    operation: &'static str,
    read: fn(&[u8]) -> Result<(), Error>,
    valid: Value,
}

fn kinds() -> Vec<Kind> {
    let key = json!({"tenant": "default/other", "environment": "testing", "appId": "a", "serviceName": "n", "alias": "a:b", "version": "1.2"});
    let instance = json!({"instanceId": "i", "hostName": "h", "endpoints": ["rest://a"], "status": "UP", "properties": {"k": "v"},
        "healthCheck": {"mode": "push", "port": 1, "interval": 30, "times": 3, "url": "/u"},
        "dataCenterInfo": {"name": "n", "region": "r", "availableZone": "z"}});
    let account = json!({"id": "i", "name": "n", "password": "Tester#Pwd1", "roles": ["r"], "tokenExpirationTime": "30m", "status": "active"});
    let role = json!({"name": "r", "perms": [{"resources": [{"type": "service", "labels": {"appId": "a"}}], "verbs": ["get"]}]});
    vec![
        Kind {
            operation: "registerService",
            read: |bytes| {
                let registration = body::<CreateService>(bytes)?.into_registration(SCHEMA_QUOTA, &SIZES)?;
                validate::tag::replace("s", &registration.tags, TAG_QUOTA)?;
                registration
                    .instances
                    .iter()
                    .try_for_each(|instance| check_registration("s", instance, &SIZES))
            },
            valid: json!({"service": {"serviceId": "i", "appId": "a", "serviceName": "n", "version": "1.2.3", "description": "d",
                "level": "FRONT", "schemas": ["a"], "paths": [{"path": "/p", "property": {"k": "v"}}], "status": "UP",
                "properties": {"k": "v"}, "providers": [key], "alias": "a:b", "LBStrategy": {"k": "v"}, "environment": "testing",
                "registerBy": "SDK", "framework": {"name": "f", "version": "1"}}, "tags": {"a": "b"}, "instances": [instance]}),
        },
        Kind {
            operation: "unregisterServices",
            read: |bytes| body::<DeleteServices>(bytes)?.into_deletion().map(drop),
            valid: json!({"serviceIds": ["a", "b"], "force": true}),
        },
        Kind {
            operation: "replaceServiceProperties",
            read: |bytes| body::<Properties>(bytes)?.into_properties(&SIZES).map(drop),
            valid: json!({"properties": {"k": "v"}}),
        },
        Kind {
            operation: "replaceTags",
            read: |bytes| tag::replacement(bytes, "s", TAG_QUOTA).map(drop),
            valid: json!({"tags": {"k": "v"}, "more": {"k": "v"}}),
        },
        Kind {
            operation: "putSchema",
            read: |bytes| body::<SchemaBody>(bytes)?.into_schema("s", "a").map(drop),
            valid: json!({"schema": "t", "summary": "s"}),
        },
        Kind {
            operation: "replaceSchemas",
            read: |bytes| body::<SchemasBody>(bytes)?.into_schemas("s", SCHEMA_QUOTA).map(drop),
            valid: json!({"schemas": [{"schemaId": "a", "summary": "s", "schema": "t"}]}),
        },
        Kind {
            operation: "addDependencies",
            read: |bytes| dependencies(bytes, DependencyWrite::Add),
            valid: json!({"dependencies": [{"consumer": key, "providers": [key]}]}),
        },
        Kind {
            operation: "replaceDependencies",
            read: |bytes| dependencies(bytes, DependencyWrite::Replace),
            valid: json!({"dependencies": [{"consumer": key, "providers": [key]}]}),
        },
        Kind {
            operation: "findMany",
            read: |bytes| body::<BatchFind>(bytes)?.into_query("", BATCH).map(drop),
            valid: json!({"services": [{"service": key, "rev": "r"}], "instances": [{"instance": {"serviceId": "s", "instanceId": "i"}, "rev": ""}],
                "consumerServiceId": "c"}),
        },
        Kind {
            operation: "setStatusWhere",
            read: |bytes| body::<BulkStatus>(bytes)?.into_change().map(drop),
            valid: json!({"matches": {"properties": {"k": "v"}}, "status": "UP"}),
        },
        Kind {
            operation: "beatMany",
            read: |bytes| body::<Heartbeats>(bytes)?.into_instances().map(drop),
            valid: json!({"instances": [{"serviceId": "s", "instanceId": "i"}]}),
        },
        Kind {
            operation: "registerInstance",
            read: |bytes| body::<RegisterInstanceBody>(bytes)?.into_instance("s", &SIZES).map(drop),
            valid: json!({"instance": instance}),
        },
        Kind {
            operation: "logIn",
            read: |bytes| object_body::<LoginBody>(bytes).map(drop),
            valid: json!({"name": "n", "password": "p", "tokenExpirationTime": "30m"}),
        },
        Kind {
            operation: "createAccount",
            read: |bytes| account::creation(&object_body(bytes)?),
            valid: account.clone(),
        },
        Kind {
            operation: "createAccounts",
            read: |bytes| account::batch(&object_body::<CreateAccounts>(bytes)?.accounts),
            valid: json!({"accounts": [account]}),
        },
        Kind {
            operation: "changeAccount",
            read: |bytes| account::update(&object_body(bytes)?),
            valid: json!({"roles": ["r"], "status": "active"}),
        },
        Kind {
            operation: "changePassword",
            read: |bytes| account::password(&object_body::<Account>(bytes)?.password),
            valid: json!({"password": "Tester#Pwd1", "currentPassword": "x"}),
        },
        Kind {
            operation: "createRole",
            read: |bytes| account::role_creation(&object_body(bytes)?),
            valid: role.clone(),
        },
        Kind {
            operation: "replaceRolePermissions",
            read: |bytes| account::role_update(&object_body(bytes)?),
            valid: role,
        },
    ]
}

fn dependencies(bytes: &[u8], write: DependencyWrite) -> Result<(), Error> {
    let tenant = Tenant::default_tenant();
    let asker = Asker { tenant: &tenant, cross_domain: CrossDomain::Allowed };
    body::<Dependencies>(bytes)?.into_dependencies(asker, write).map(drop)
}

/// The places in a value, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| places(value, &format!("{at}/{name}"), found))
        }
        Value::Array(elements) => {
            elements
                .iter()
                .enumerate()
                .for_each(|(index, value)| places(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

fn any_value(random: &mut StdRng) -> Value {
    let texts = [
        "",
        " ",
        "a",
        "a b",
        "a\n",
        ".",
        "..",
        "-",
        "a/b",
        "é",
        "中文",
        "\u{202e}",
        "UP",
        "DOWN",
        "up",
        "testing",
        "SDK",
        "FRONT",
        "latest",
        "1.0",
        "1.0.0.0",
        "1.0+",
        "1-2",
        "32768",
        "default/default",
        "a/..",
        "active",
        "push",
        "batch-create",
        "Other#Pwd2",
        "short",
    ];
    let lengths = [2, 63, 64, 65, 128, 129, 160, 161, 256, 257, 289, 290];
    match random.random_range(0..10) {
        0..5 => json!(texts[random.random_range(0..texts.len())]),
        5 | 6 => {
            let one = if random.random() { "x" } else { "é" };
            json!(one.repeat(lengths[random.random_range(0..lengths.len())]))
        }
        7 => [0, 1, -1, 65_535, 65_536, 2_147_483_647, 2_147_483_648_i64][random.random_range(0..7)].into(),
        8 if random.random() => [json!(1.5), json!(1e10 + 0.5)][random.random_range(0..2)].clone(),
        8 => [json!(null), json!(true), json!([]), json!({})][random.random_range(0..4)].clone(),
        _ => [
            json!([null]),
            json!(["a"]),
            json!({"a": null}),
            json!({"a": "b"}),
            json!({"0 a": "b"}),
            json!([{}]),
        ][random.random_range(0..6)]
        .clone(),
    }
}

fn change(random: &mut StdRng, value: &mut Value) {
    let mut all = Vec::new();
    places(value, "", &mut all);
    let place = &all[random.random_range(0..all.len())];
    match (random.random_range(0..4), place.rsplit_once('/')) {
        (0, Some((parent, name))) => match value.pointer_mut(parent) {
            Some(Value::Object(members)) => drop(members.remove(name)),
            Some(Value::Array(elements)) => elements.truncate(name.parse().unwrap()),
            _ => {}
        },
        (1, _) => match value.pointer_mut(place) {
            Some(Value::Array(elements)) => {
                // One more than each limit of this test, with an element that is not there yet.
                let more = elements.first().cloned().unwrap_or(json!("b"));
                let copies = random.random_range(1..5);
                elements.extend(std::iter::repeat_n(more, copies));
            }
            Some(Value::Object(members)) if members.contains_key("k") => {
                (0..random.random_range(1..5))
                    .for_each(|number| drop(members.insert(format!("k{number}"), json!("v"))));
            }
            _ => {}
        },
        _ => *value.pointer_mut(place).unwrap() = any_value(random),
    }
}

fn document() -> Value {
    let quotas = Quotas { schemas: SCHEMA_QUOTA, tags: TAG_QUOTA, ..Quotas::default() };
    let sizes = SizeLimits::default();
    let terms = ApiTerms { quotas, sizes, max_body: 1, max_batch: BATCH, access: Some(RbacScope::All) };
    describe(table(Accounts::On), &terms)
}

/// The schemas of bodies by operation.
fn schemas(document: &Value) -> HashMap<&str, &Value> {
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let with_body = operations.filter(|operation| operation["requestBody"].is_object());
    with_body
        .map(|operation| {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            (operation["operationId"].as_str().unwrap(), schema)
        })
        .collect()
}

#[test]
fn the_description_and_the_validators_agree_on_every_body() {
    let document = document();
    let mut schemas = schemas(&document);
    let mut random = StdRng::seed_from_u64(14);
    for Kind { operation, read, valid } in kinds() {
        let schema = schemas.remove(operation).unwrap();
        let (mut accepted, mut rejected) = (0, 0);
        for round in 0..ROUNDS {
            let mut changed = valid.clone();
            (0..round % 3).for_each(|_| change(&mut random, &mut changed));
            let result = read(changed.to_string().as_bytes());
            let said = result.as_ref().err().map(|error| error.detail.clone()).unwrap_or_default();
            // Relations between members, which no schema states.
            let is_relation =
                said.contains("names the same consumer") || said.contains("server.request.maxBatch");
            if is_relation || (operation == "replaceSchemas" && has_double_ids(&changed)) {
                continue;
            }
            let problems = problems(&document, schema, &changed, "body");
            assert_eq!(
                problems.is_empty(),
                result.is_ok(),
                "{operation}: {changed}\ndocument: {problems:?}\nvalidator: {said}"
            );
            if result.is_ok() { accepted += 1 } else { rejected += 1 }
        }
        assert!(accepted > 100 && rejected > 20, "{operation}: {accepted} accepted, {rejected} rejected");
    }
    // Instances' properties are read as those of services.
    schemas.remove("replaceInstanceProperties");
    assert!(schemas.is_empty(), "not tested: {:?}", schemas.keys());
}

fn has_double_ids(body: &Value) -> bool {
    let ids = body["schemas"].as_array().into_iter().flatten().map(|schema| schema["schemaId"].to_string());
    let mut seen = HashSet::new();
    !ids.into_iter().all(|id| seen.insert(id))
}
