//! What an import takes: each line as the API would write it, and all lines together as one registry. Pure, but for the file.
//!
//! A line is checked by the rules of the request that writes such an entry. What such a request ensures by its compares is
//! checked over the whole file: an index names a service of that name, an instance has its service, and a lease is one
//! instance's. A document is written as the API writes it, without members that nobody has checked.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{self, BufRead};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::line::{self, FORMAT, Line, Next};
use crate::domain::dependency::{ALL_VERSIONS, CrossDomain, Dependency, Partners};
use crate::domain::event::{InstanceRef, ServiceName};
use crate::domain::instance::MAX_TTL_SECONDS;
use crate::domain::json::{self, DecodeJson, TextMap};
use crate::domain::schema::{Schema, content_hash};
use crate::domain::validate::dependency::{Asker, DependencyWrite};
use crate::domain::validate::rule::Shown;
use crate::domain::{Instance, Service, ServiceId, ServiceKey, Tenant, validate, version};
use crate::error::Error;
use crate::store::Key;
use crate::store::keys::{self, Subject};

/// Bytes of key and value together, a little less than a store takes in one request.
const MAX_ENTRY_BYTES: usize = 1_572_864 - 1_024;
/// Wrong lines that are named; the others are counted.
const NAMED: usize = 20;

/// An entry to write.
#[derive(Debug)]
pub struct Item {
    /// Its line, counted from 1.
    pub line: usize,
    /// Its key.
    pub key: Key,
    /// Its value.
    pub value: Value,
}

/// A value to write.
#[derive(Debug)]
pub enum Value {
    /// This.
    Plain(Bytes),
    /// This, as long as a lease that is granted for it.
    Leased(Bytes, OldLease),
    /// The number of that lease, as long as it.
    NumberOf(OldLease),
}

/// A lease of the store that was exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldLease {
    /// Its number there.
    pub number: i64,
    /// Its TTL.
    pub ttl_seconds: i64,
}

/// Why a file is not imported.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// The first wrong lines, counted from 1, and what is wrong. Line 0 is the file as a whole.
    pub named: Vec<(usize, String)>,
    /// How many there are.
    pub count: usize,
}

impl Problems {
    fn add(&mut self, line: usize, why: impl Into<String>) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push((line, why.into()));
        }
    }
}

/// Reads and checks a whole file: its entries, or all that is wrong with it.
pub fn read(file: &mut impl BufRead) -> io::Result<Result<Vec<Item>, Problems>> {
    let mut problems = Problems::default();
    let mut items = Vec::new();
    let mut registry = Registry::default();
    let (mut entries, mut closing, mut number) = (0_usize, None, 0);
    loop {
        number += 1;
        let line = match line::read(file)? {
            Next::End => break,
            Next::TooLong(why) => {
                problems.add(number, why);
                return Ok(Err(problems));
            }
            Next::Bad(why) => {
                problems.add(number, why);
                continue;
            }
            Next::Line(line) => line,
        };
        if closing.is_some() {
            problems.add(number, "something follows the closing line");
            break;
        }
        match (number, line.entries) {
            (1, _) if line.format != FORMAT => {
                problems.add(number, format!("'format' is {}, this version reads {FORMAT}", line.format));
                return Ok(Err(problems));
            }
            (1, _) => {}
            (_, Some(announced)) => closing = Some(announced),
            _ => {
                entries += 1;
                match registry.take(number, &line) {
                    Ok(item) => items.extend(item),
                    Err(why) => problems.add(number, format!("'{}': {why}", Shown::new(&line.key))),
                }
            }
        }
    }
    match closing {
        Some(announced) if usize::try_from(announced) == Ok(entries) => {}
        Some(announced) => problems.add(0, format!("{announced} entries are announced, {entries} are there")),
        None => problems.add(0, "the closing line is missing, the file was cut"),
    }
    if problems.count == 0 {
        for item in &items {
            if let Err(why) = registry.check(item) {
                problems.add(item.line, format!("'{}': {why}", Shown::new(&item.key)));
            }
        }
    }
    Ok(if problems.count == 0 { Ok(items) } else { Err(problems) })
}

/// Whether an entry belongs to an export. The rest is written anew by each node (the record of versions, bookmarks), over
/// after a minute (late goodbyes), or not the registry's.
pub fn is_exported(key: &str) -> Exported {
    const PASSING: [&str; 2] = [keys::SERVER_RECORD, "/cse-sr/bookmarks/"];
    match keys::parse(key) {
        Subject::LateGoodbye(..) => Exported::Passing,
        Subject::Unread if PASSING.iter().any(|passing| key.starts_with(passing)) => Exported::Passing,
        Subject::Unread => {
            let is_known = keys::parse_schema_content(key).is_some() || keys::parse_old_schema(key).is_some();
            if is_known { Exported::Yes } else { Exported::Unknown }
        }
        Subject::Malformed => Exported::Unknown,
        _ => Exported::Yes,
    }
}

/// The answer of [`is_exported`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exported {
    /// It belongs to it.
    Yes,
    /// It is of no use in another store.
    Passing,
    /// Nobody here knows what it is.
    Unknown,
}

/// A refusal, as text.
struct Refusal(String);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error.detail.into_owned())
    }
}

impl From<String> for Refusal {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Refusal {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the lines so far say, as far as other lines depend on it.
#[derive(Default)]
struct Registry {
    keys: HashSet<Key>,
    services: HashMap<(Tenant, ServiceId), ServiceKey>,
    instances: HashMap<InstanceRef, i64>,
    leases: HashMap<i64, (InstanceRef, i64)>,
    contents: HashMap<(Tenant, Arc<str>), Bytes>,
}

impl Registry {
    /// Checks a line by itself; `None` if nothing is to be written for it.
    fn take(&mut self, number: usize, line: &Line) -> Result<Option<Item>, Refusal> {
        let bytes = value_of(line)?;
        if line.key.len() + bytes.len() > MAX_ENTRY_BYTES {
            return Err(format!(
                "key and value have {} bytes, a store takes {MAX_ENTRY_BYTES}",
                line.key.len() + bytes.len()
            )
            .into());
        }
        let value = bytes.clone();
        let text = text_of(&value)?;
        let key = Key::from(line.key.as_str());
        if !self.keys.insert(Key::clone(&key)) {
            return Err("the key comes a second time".into());
        }
        let value = match (keys::parse(&key), lease_of(line)?) {
            (Subject::Malformed, _) => return Err(not_ours()),
            (Subject::LateGoodbye(..), _) => return Ok(None),
            (Subject::Unread, _) if is_exported(&key) == Exported::Passing => return Ok(None),
            (Subject::Instance(at), Some(lease)) => {
                Value::Leased(self.take_instance(&at, text, lease)?, lease)
            }
            (Subject::Lease(at), Some(lease)) => {
                check_tenant(&at.tenant)?;
                self.note_lease(&at, lease)?;
                Value::NumberOf(lease)
            }
            (Subject::Override(at), Some(lease)) => {
                check_tenant(&at.tenant)?;
                same("value", text, "")?;
                self.note_lease(&at, lease)?;
                Value::Leased(bytes, lease)
            }
            (Subject::Instance(_) | Subject::Lease(_) | Subject::Override(_), None) => {
                return Err("'lease' is missing: an instance that nothing ends would stay for ever".into());
            }
            (_, Some(_)) => return Err("'lease' is given, and the entry may not end with one".into()),
            (subject, None) => Value::Plain(self.take_plain(subject, &key, text, bytes)?),
        };
        Ok(Some(Item { line: number, key, value }))
    }

    /// Checks an entry that stays until somebody deletes it; what is to be written.
    fn take_plain(
        &mut self,
        subject: Subject,
        key: &Key,
        text: &str,
        bytes: Bytes,
    ) -> Result<Bytes, Refusal> {
        Ok(match subject {
            Subject::Service(tenant, id) => {
                let mut service: Service = document(text)?;
                service.apply_defaults();
                check_tenant(&tenant)?;
                same("serviceId", &service.service_id, id.as_str())?;
                validate::service::registration(&service, usize::MAX)?;
                check_times(&service.timestamp, &service.mod_timestamp)?;
                self.services.insert((tenant.clone(), id), service.key(&tenant));
                canonical(&service)
            }
            Subject::Index(..) | Subject::Alias(..) => bytes,
            Subject::Tags(tenant, id) => {
                let tags: TextMap = document(text)?;
                check_tenant(&tenant)?;
                validate::tag::replace(id.as_str(), &tags, usize::MAX)?;
                canonical(&tags)
            }
            Subject::SchemaRef(tenant, id, schema_id) => {
                check_tenant(&tenant)?;
                check_schema(&id, &schema_id, "-", "")?;
                check_hash(text)?;
                bytes
            }
            Subject::SchemaSummary(tenant, id, schema_id) => {
                check_tenant(&tenant)?;
                check_schema(&id, &schema_id, "-", text)?;
                bytes
            }
            Subject::ConsumerRule(name, version) => {
                let rule: Partners = document(text)?;
                check_tenant(&name.tenant)?;
                rule.keys.iter().try_for_each(check_partner)?;
                check_rule(&service_key(&name, &version), rule.keys.clone())?;
                canonical(&rule)
            }
            Subject::ProviderRule(name, version) => {
                let rule: Partners = document(text)?;
                check_tenant(&name.tenant)?;
                same("version", &version, ALL_VERSIONS)?;
                // Its name is measured as a consumer's, whose version is exact.
                check_rule(&service_key(&name, "0"), Vec::new())?;
                for consumer in &rule.keys {
                    check_partner(consumer)?;
                    check_rule(consumer, Vec::new())?;
                }
                canonical(&rule)
            }
            Subject::DependencyRequest => check_request(key, text)?,
            Subject::Domain(domain) => {
                Tenant::refusal("domain", &domain).map_or(Ok(()), Err)?;
                Bytes::new()
            }
            Subject::Project(tenant) => {
                check_tenant(&tenant)?;
                Bytes::new()
            }
            _ => self.take_schema_text(key, text, bytes)?,
        })
    }

    fn take_instance(&mut self, at: &InstanceRef, text: &str, lease: OldLease) -> Result<Bytes, Refusal> {
        let instance: Instance = document(text)?;
        check_tenant(&at.tenant)?;
        same("serviceId", &instance.service_id, at.service.as_str())?;
        same("instanceId", &instance.instance_id, at.instance.as_str())?;
        validate::instance::registration(at.service.as_str(), &instance)?;
        check_times(&instance.timestamp, &instance.mod_timestamp)?;
        if !instance.version.is_empty() && version::parse(&instance.version).is_none() {
            return Err(
                format!("'version' is '{}', which is no version", Shown::new(&instance.version)).into()
            );
        }
        self.note_lease(at, lease)?;
        Ok(canonical(&instance))
    }

    fn take_schema_text(&mut self, key: &Key, text: &str, bytes: Bytes) -> Result<Bytes, Refusal> {
        if let Some((tenant, hash)) = keys::parse_schema_content(key) {
            check_tenant(&tenant)?;
            check_hash(&hash)?;
            if text.is_empty() {
                return Err("the text of a schema is empty".into());
            }
            self.contents.insert((tenant, hash), bytes.clone());
            return Ok(bytes);
        }
        let Some((tenant, id, schema_id)) = keys::parse_old_schema(key) else {
            return Err(not_ours());
        };
        check_tenant(&tenant)?;
        check_schema(&id, &schema_id, text, "")?;
        Ok(bytes)
    }

    /// A lease is one instance's, and both its keys hang on it.
    fn note_lease(&mut self, at: &InstanceRef, lease: OldLease) -> Result<(), Refusal> {
        let OldLease { number, ttl_seconds } = lease;
        let known = self.leases.entry(number).or_insert_with(|| (at.clone(), ttl_seconds));
        if *known != (at.clone(), ttl_seconds) {
            return Err(
                format!("lease {number} belongs to another instance, or has another TTL there").into()
            );
        }
        match self.instances.insert(at.clone(), number) {
            Some(other) if other != number => Err(format!("the instance hangs on lease {other}, too").into()),
            _ => Ok(()),
        }
    }

    /// Checks an entry beside all others.
    fn check(&self, item: &Item) -> Result<(), Refusal> {
        let text = match &item.value {
            Value::Plain(value) | Value::Leased(value, _) => text_of(value)?,
            Value::NumberOf(_) => "",
        };
        match keys::parse(&item.key) {
            Subject::Index(name, version) => {
                let owner = self.service(&name.tenant, &ServiceId::from(text))?;
                let own = ServiceKey { alias: owner.alias.clone(), ..service_key(&name, &version) };
                if own == *owner { Ok(()) } else { Err(another_name(text)) }
            }
            Subject::Alias(name, version) => {
                let owner = self.service(&name.tenant, &ServiceId::from(text))?;
                let own = service_key(&name, &version);
                let own =
                    ServiceKey { service_name: owner.service_name.clone(), alias: own.service_name, ..own };
                if own == *owner && !own.alias.is_empty() { Ok(()) } else { Err(another_name(text)) }
            }
            Subject::Tags(tenant, id) | Subject::SchemaSummary(tenant, id, _) => {
                self.service(&tenant, &id).map(drop)
            }
            Subject::SchemaRef(tenant, id, schema_id) => {
                self.service(&tenant, &id)?;
                let content = self.contents.get(&(tenant, text.into()));
                let content =
                    content.ok_or_else(|| Refusal::from("the text of this schema is not in the file"))?;
                let is_own = content_hash(&schema_id, text_of(content)?) == text;
                if is_own {
                    Ok(())
                } else {
                    Err(format!("the text stored under '{text}' has another hash").into())
                }
            }
            Subject::Instance(at) => self.service(&at.tenant, &at.service).map(drop),
            Subject::Lease(at) | Subject::Override(at) => {
                let document = keys::instance(&at.tenant, at.service.as_str(), at.instance.as_str());
                let is_there = self.keys.contains(&document);
                if is_there { Ok(()) } else { Err("the instance of this lease is not in the file".into()) }
            }
            Subject::Unread => match keys::parse_old_schema(&item.key) {
                Some((tenant, id, _)) => self.service(&tenant, &id).map(drop),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn service(&self, tenant: &Tenant, id: &ServiceId) -> Result<&ServiceKey, Refusal> {
        let found = self.services.get(&(tenant.clone(), id.clone()));
        found.ok_or_else(|| format!("service '{}' is not in the file", Shown::new(id)).into())
    }
}

fn not_ours() -> Refusal {
    "no key of the registry has this form".into()
}

fn text_of(value: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(value).map_err(|_| "the value is no text".into())
}

fn another_name(service: &str) -> Refusal {
    format!("service '{}' has another name or version", Shown::new(service)).into()
}

fn document<T: DecodeJson>(text: &str) -> Result<T, Refusal> {
    json::decode(text.as_bytes()).map_err(|error| error.to_string().into())
}

fn canonical(document: &impl Serialize) -> Bytes {
    Bytes::from(json::encode(document))
}

fn value_of(line: &Line) -> Result<Bytes, Refusal> {
    if line.hex.is_empty() {
        return Ok(Bytes::from(line.value.clone()));
    }
    if !line.value.is_empty() {
        return Err("both 'value' and 'hex' are given".into());
    }
    hex::decode(&line.hex).map(Bytes::from).map_err(|_| "'hex' is no hex".into())
}

fn lease_of(line: &Line) -> Result<Option<OldLease>, Refusal> {
    if line.lease.is_empty() {
        return if line.ttl.is_empty() { Ok(None) } else { Err("'ttl' is given without 'lease'".into()) };
    }
    let number = |name: &str, text: &str, most: i64| {
        let number = text.parse::<i64>().ok().filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| Refusal(format!("'{name}' is '{}'; write 1 to {most}", Shown::new(text))))
    };
    let (number, ttl_seconds) =
        (number("lease", &line.lease, i64::MAX)?, number("ttl", &line.ttl, MAX_TTL_SECONDS)?);
    Ok(Some(OldLease { number, ttl_seconds }))
}

fn check_tenant(tenant: &Tenant) -> Result<(), Refusal> {
    let domain = Tenant::refusal("domain", tenant.domain());
    domain.or_else(|| Tenant::refusal("project", tenant.project())).map_or(Ok(()), |why| Err(why.into()))
}

fn same(member: &str, found: &str, expected: &str) -> Result<(), Refusal> {
    if found == expected {
        return Ok(());
    }
    Err(format!("'{member}' is '{}', the key says '{}'", Shown::new(found), Shown::new(expected)).into())
}

fn check_times(created: &str, changed: &str) -> Result<(), Refusal> {
    for (member, text) in [("timestamp", created), ("modTimestamp", changed)] {
        if text.len() > 20 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("'{member}' is '{}'; write Unix seconds", Shown::new(text)).into());
        }
    }
    Ok(())
}

fn check_schema(service: &ServiceId, schema_id: &str, text: &str, summary: &str) -> Result<(), Refusal> {
    let schema =
        Schema { schema_id: schema_id.to_owned(), schema: text.to_owned(), summary: summary.to_owned() };
    Ok(validate::schema::put(service.as_str(), &schema)?)
}

/// A hash as [`content_hash`] makes it.
fn check_hash(text: &str) -> Result<(), Refusal> {
    let is_hash = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hash { Ok(()) } else { Err(format!("'{}' is no hash of a schema", Shown::new(text)).into()) }
}

fn service_key(name: &ServiceName, version: &str) -> ServiceKey {
    ServiceKey {
        tenant: name.tenant.as_str().to_owned(),
        environment: name.environment.to_string(),
        app_id: name.app_id.to_string(),
        service_name: name.name.to_string(),
        alias: String::new(),
        version: version.to_owned(),
    }
}

/// The tenant of a partner: both its names.
fn check_partner(key: &ServiceKey) -> Result<(), Refusal> {
    let parts = key
        .tenant
        .split_once('/')
        .ok_or_else(|| Refusal(format!("'tenant' is '{}'; write domain/project", Shown::new(&key.tenant))))?;
    check_tenant(&Tenant::new(parts.0, parts.1))
}

/// Rules to other domains are kept, since a backup of a registry that allows them holds some. Where
/// `registry.dependency.crossDomain` is off, the snapshot passes them over.
fn asker(tenant: &Tenant) -> Asker<'_> {
    Asker { tenant, cross_domain: CrossDomain::Allowed }
}

fn check_rule(consumer: &ServiceKey, providers: Vec<ServiceKey>) -> Result<(), Refusal> {
    let tenant = Tenant::from(consumer.tenant.as_str());
    let rule = Dependency { consumer: Some(consumer.clone()), providers, replace: true };
    Ok(validate::dependency::request(asker(&tenant), DependencyWrite::Replace, &[rule])?)
}

/// A dependency request that waits. Whoever applies it writes rules in its consumer's name.
fn check_request(key: &str, text: &str) -> Result<Bytes, Refusal> {
    let Some((tenant, ..)) = keys::parse_dependency_request(key) else {
        return Err(not_ours());
    };
    check_tenant(&tenant)?;
    let request: Dependency = document(text)?;
    let keys = request.consumer.iter().chain(&request.providers);
    keys.clone().try_for_each(check_partner)?;
    if let Some(consumer) = &request.consumer {
        same("tenant", &consumer.tenant, tenant.as_str())?;
    }
    let write = if request.replace { DependencyWrite::Replace } else { DependencyWrite::Add };
    validate::dependency::request(asker(&tenant), write, std::slice::from_ref(&request))?;
    Ok(canonical(&request))
}
