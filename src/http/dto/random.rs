//! Random input for all decoders and validators. The result is always a value, or a 400001 of bounded length.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::body;
use super::dependency::Dependencies;
use super::find::BatchFind;
use super::instance::{BulkStatus, Heartbeats, RegisterInstanceBody};
use super::schema::{SchemaBody, SchemasBody};
use super::service::{CreateService, DeleteServices, Properties};
use super::tag;
use crate::domain::dependency::CrossDomain;
use crate::domain::json;
use crate::domain::validate;
use crate::domain::validate::dependency::{Asker, DependencyWrite};
use crate::domain::validate::find::{self, FindParameters, ListParameters};
use crate::domain::validate::flag::{ExistenceKind, Force, WithSchema, batch_action};
use crate::domain::validate::instance::{self, InstanceRequest};
use crate::domain::validate::schema::{self, SchemaRequest};
use crate::domain::validate::service::{self, ServiceRequest};
use crate::domain::validate::size::SizeLimits;
use crate::domain::{Service, ServiceKey, Tenant};
use crate::error::{Code, Error};

/// Enough to damage each body in each place. Takes about a second.
const ROUNDS: usize = 5_000;

/// Valid bodies, which the test damages.
const BODIES: [&str; 8] = [
    r#"{"service":{"serviceId":"i","appId":"a","serviceName":"n","version":"1.2.3","description":"ä","level":"FRONT","schemas":["a","b"],"paths":[{"path":"/p","property":{"k":"v"}}],"status":"UP","properties":{"k":"v"},"providers":[{"serviceName":"p"}],"alias":"a:b","LBStrategy":{"k":"v"},"environment":"testing","registerBy":"SDK","framework":{"name":"f","version":"1"}},"rules":[],"tags":{"a":"b"},"instances":[{"hostName":"h"}]}"#,
    r#"{"serviceIds":["a","b","a"],"force":true}"#,
    r#"{"properties":{"k":"v"},"tags":{"a":"b","c":"d"}}"#,
    r#"{"schemas":[{"schemaId":"a","summary":"s","schema":"t"}],"schema":"t","summary":"s"}"#,
    r#"{"dependencies":[{"consumer":{"appId":"a","serviceName":"c","version":"1"},"providers":[{"serviceName":"p","version":"1.0+"}]}]}"#,
    r#"{"services":[{"service":{"appId":"a","serviceName":"n","environment":"testing"},"rev":"r"}],"instances":[{"instance":{"serviceId":"s","instanceId":"i"},"rev":""}]}"#,
    r#"{"instances":[{"serviceId":"s","instanceId":"i"}],"matches":{"properties":{"a":"b"}},"status":"UP"}"#,
    r#"{"instance":{"instanceId":"i","endpoints":["rest://a"],"hostName":"h","status":"UP","properties":{"k":"v"},"healthCheck":{"mode":"push","port":1,"interval":30,"times":3,"url":"/u"},"dataCenterInfo":{"name":"n","region":"r","availableZone":"z"}}}"#,
];

/// Texts that are special for parsers and patterns.
const PIECES: [&str; 44] = [
    "",
    "null",
    "{}",
    "[]",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "\\u",
    "\\ud83d",
    "\\ud83d\\ude00",
    ":",
    ",",
    "/",
    "-",
    "+",
    ".",
    "_",
    "*",
    " ",
    "\n",
    "\t",
    "\0",
    "\u{b}",
    "\u{7f}",
    "ä",
    "中",
    "😀",
    "\u{2028}",
    "\u{fffd}",
    "0",
    "-1",
    "1.5",
    "1e9",
    "2147483648",
    "99999999999999999999",
    "true",
    "\"\"",
    "[null]",
    "latest",
    "0.0.0+",
    "1-2",
];

fn damaged(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = BODIES[random.random_range(0..BODIES.len())].as_bytes().to_vec();
    for _ in 0..random.random_range(0..5) {
        let from = random.random_range(0..=bytes.len());
        let to = (from + random.random_range(0..12)).min(bytes.len());
        match random.random_range(0..4) {
            0 => drop(bytes.drain(from..to)),
            1 => drop(bytes.splice(from..to, piece(random).bytes())),
            2 => bytes.insert(from, random.random()),
            _ => drop(bytes.splice(from..from, std::iter::repeat_n(b'x', random.random_range(0..400)))),
        }
    }
    bytes
}

fn piece(random: &mut StdRng) -> &'static str {
    PIECES[random.random_range(0..PIECES.len())]
}

fn text(random: &mut StdRng) -> String {
    let words = ["a", "Z9", "UP", "testing", "query", "true", "1", "1.0", "x"];
    let mut text = String::new();
    for _ in 0..random.random_range(0..4) {
        match random.random_range(0..8) {
            0 => text.push_str(&"x".repeat(random.random_range(0..300))),
            1 => text.push(random.random()),
            2..5 => text.push_str(piece(random)),
            _ => text.push_str(words[random.random_range(0..words.len())]),
        }
    }
    text
}

/// Runs all decoders, and the validation that follows them.
fn decode_all(bytes: &[u8]) -> Vec<Error> {
    let tenant = Tenant::default_tenant();
    let asker = Asker { tenant: &tenant, cross_domain: CrossDomain::Allowed };
    let dependencies =
        |write| body::<Dependencies>(bytes).and_then(|body| body.into_dependencies(asker, write)).map(drop);
    let results = [
        body::<CreateService>(bytes).and_then(|body| body.into_registration(3, &SizeLimits::default())).map(
            |registration| {
                let stored = json::encode(&registration.service);
                let again = body::<Service>(&stored);
                let again = again.and_then(|service| validate::service::registration(&service, 3));
                assert_eq!(again, Ok(()), "what was accepted is accepted as it is stored");
            },
        ),
        body::<DeleteServices>(bytes).and_then(DeleteServices::into_deletion).map(drop),
        body::<Properties>(bytes).map(drop),
        tag::replacement(bytes, "s", 3).map(drop),
        body::<SchemaBody>(bytes).and_then(|body| body.into_schema("s", "a")).map(drop),
        body::<SchemasBody>(bytes).and_then(|body| body.into_schemas("s", 3)).map(drop),
        dependencies(DependencyWrite::Add),
        dependencies(DependencyWrite::Replace),
        body::<BatchFind>(bytes).and_then(|body| body.into_query("c", 3)).map(drop),
        body::<BulkStatus>(bytes).and_then(BulkStatus::into_change).map(drop),
        body::<Heartbeats>(bytes).and_then(Heartbeats::into_instances).map(drop),
        body::<RegisterInstanceBody>(bytes)
            .and_then(|body| body.into_instance("s", &SizeLimits::default()))
            .map(drop),
    ];
    results.into_iter().filter_map(Result::err).collect()
}

/// Runs all validators of texts.
fn validate_all(random: &mut StdRng) -> Vec<Error> {
    let texts: [String; 5] = std::array::from_fn(|_| text(random));
    let [a, b, c, d, e] = texts.each_ref().map(String::as_str);
    let key = ServiceKey {
        environment: a.to_owned(),
        app_id: b.to_owned(),
        service_name: c.to_owned(),
        version: d.to_owned(),
        ..ServiceKey::default()
    };
    let listed = ListParameters { consumer_id: a, service_id: b, tags: c };
    let parameters = FindParameters { consumer_id: a, environment: b, app_id: c, service_name: d, tags: e };
    let results = [
        find::find(&parameters),
        find::find(&FindParameters { app_id: "a", service_name: "n", tags: a, ..FindParameters::default() }),
        find::list(&listed),
        find::instance(&listed, d),
        find::instance(&ListParameters { service_id: "s", ..ListParameters::default() }, d),
        find::batch(a, b.len(), c.len(), 100),
        find::batch_service(usize::MAX, &key),
        find::batch_instance(0, a, b),
        find::existence(&key),
        find::existence(&ServiceKey { version: a.to_owned(), ..ServiceKey::default() }),
        instance::ids(InstanceRequest::Heartbeat, a, b),
        instance::ids(InstanceRequest::Unregister, "s", b),
        instance::status(a, b, c),
        instance::bulk_status(a, 1),
        schema::ids(SchemaRequest::Get, a, b),
        schema::ids(SchemaRequest::Delete, "s", b),
        service::id(ServiceRequest::Get, a),
        service::batch_deletion(&texts),
        validate::tag::change(a, b, c),
        validate::tag::change("s", "k", c),
        validate::tag::delete("s", &texts, usize::from(a.len() > 2)),
        validate::tag::replace("s", &texts.iter().cloned().zip(texts.iter().cloned()).collect(), 5),
        Force::parse(a).map(drop),
        WithSchema::parse(a).map(drop),
        ExistenceKind::parse(a).map(drop),
        batch_action(a),
    ];
    results.into_iter().filter_map(Result::err).collect()
}

/// An error is one line of bounded length and has the code 400001.
fn check_refusal(error: &Error) {
    assert_eq!(error.code, Code::InvalidParameters);
    assert!(!error.detail.is_empty());
    assert!(error.detail.chars().count() < 1_000, "{}", error.detail);
    assert!(!error.detail.chars().any(char::is_control), "{:?}", error.detail);
}

#[test]
fn no_input_panics() {
    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let (mut refused, mut all) = (0, 0);
    for round in 0..ROUNDS {
        let bytes = damaged(&mut random);
        let errors = catch_unwind(AssertUnwindSafe(|| {
            let mut errors = decode_all(&bytes);
            errors.extend(validate_all(&mut random));
            errors.iter().for_each(check_refusal);
            errors.len()
        }));
        let input = String::from_utf8_lossy(&bytes);
        refused += errors.unwrap_or_else(|_| panic!("seed {seed}, round {round}, body {input:?}"));
        all += 38;
    }
    // If all input were invalid, or all valid, the test would test little.
    assert!(refused > all / 10 && refused < all, "{refused} of {all} refused with seed {seed}");
}
