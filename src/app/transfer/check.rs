//! Checks the file of an import: each line must be what the API would write, and all lines together must be one valid registry. Pure,
//! except that it reads the file.
//!
//! A line is checked by the rules of the request that writes such an entry. That request also compares with other entries of the
//! store. Here these rules are checked over the whole file: an index names a service of that name, an instance has its service, and a
//! lease belongs to one instance, and the roles of an account are in the file. A document is written again as the API writes it, without members that the API does not know.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{self, BufRead};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::line::{self, ExportLine, FORMAT, LineRead};
use crate::domain::account::{Account, Role};
use crate::domain::dependency::{ALL_VERSIONS, CrossDomain, Dependency, Partners};
use crate::domain::event::{InstanceRef, ServiceName};
use crate::domain::instance::MAX_TTL_SECONDS;
use crate::domain::json::{self, DecodeJson, TextMap};
use crate::domain::schema::{Schema, content_hash};
use crate::domain::validate::dependency::{Asker, DependencyWrite};
use crate::domain::validate::rule::Shown;
use crate::domain::{Instance, Service, ServiceId, ServiceKey, Tenant, validate, version};
use crate::error::Error;
use crate::rbac::password;
use crate::store::Key;
use crate::store::keys::{self, Subject};

/// Most bytes of a key and its value together. A little less than a store takes in one request.
const MAX_ENTRY_BYTES: usize = 1_572_864 - 1_024;
/// How many wrong lines are named. The others are only counted.
const NAMED: usize = 20;

/// An entry to write.
#[derive(Debug)]
pub struct ImportItem {
    /// Counted from 1.
    pub line: usize,
    pub key: Key,
    pub value: ImportValue,
}

#[derive(Debug)]
pub enum ImportValue {
    Plain(Bytes),
    /// Attached to the new lease that takes the place of the old one.
    Leased(Bytes, OldLease),
    /// The number of that new lease, and attached to it.
    NumberOf(OldLease),
}

/// A lease of the exported store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldLease {
    pub number: i64,
    pub ttl_seconds: i64,
}

/// The mistakes in a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// The first wrong lines, and what is wrong with each. Lines are counted from 1; 0 is the file as a whole.
    pub named: Vec<(usize, String)>,
    /// The number of all mistakes.
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

/// Reads and checks a file. Returns its entries, or its mistakes.
pub fn read(file: &mut impl BufRead) -> io::Result<Result<Vec<ImportItem>, Problems>> {
    let mut problems = Problems::default();
    let mut items = Vec::new();
    let mut registry = FileRegistry::default();
    let (mut entries, mut closing, mut number) = (0_usize, None, 0);
    loop {
        number += 1;
        let line = match line::read(file)? {
            LineRead::EndOfFile => break,
            LineRead::TooLong(why) => {
                problems.add(number, why);
                return Ok(Err(problems));
            }
            LineRead::Bad(why) => {
                problems.add(number, why);
                continue;
            }
            LineRead::Line(line) => line,
        };
        if closing.is_some() {
            problems.add(number, "there is text after the closing line");
            break;
        }
        match (number, line.entries) {
            (1, _) if line.format != FORMAT => {
                problems
                    .add(number, format!("'format' is {}; this version reads format {FORMAT}", line.format));
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
        Some(announced) => {
            problems.add(0, format!("the closing line says {announced} entries, but there are {entries}"))
        }
        None => problems.add(0, "the closing line is missing, so the file is not complete"),
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

/// Whether an export holds an entry. It does not hold entries that each node writes again (the record of versions, bookmarks), that
/// are obsolete soon (goodbyes, locks of accounts), or that are not entries of the registry.
pub fn is_exported(key: &str) -> Exported {
    const PASSING: [&str; 2] = [keys::SERVER_RECORD, "/cse-sr/bookmarks/"];
    match keys::parse(key) {
        Subject::LateGoodbye(..) | Subject::Release(..) | Subject::AccountLock(..) => Exported::Passing,
        Subject::Unread if PASSING.iter().any(|passing| key.starts_with(passing)) => Exported::Passing,
        Subject::Unread => {
            let is_known = keys::parse_schema_content(key).is_some()
                || keys::parse_old_schema(key).is_some()
                || keys::parse_account_by_role(key).is_some()
                || key == keys::ROLES_MIGRATED;
            if is_known { Exported::Yes } else { Exported::Unknown }
        }
        Subject::Malformed => Exported::Unknown,
        _ => Exported::Yes,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exported {
    Yes,
    /// No use in another store.
    Passing,
    /// This server does not know such entries.
    Unknown,
}

/// Why a line is rejected.
struct LineMistake(String);

impl From<Error> for LineMistake {
    fn from(error: Error) -> Self {
        Self(error.detail.into_owned())
    }
}

impl From<String> for LineMistake {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for LineMistake {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for LineMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The facts in the lines read so far that other lines depend on.
#[derive(Default)]
struct FileRegistry {
    keys: HashSet<Key>,
    services: HashMap<(Tenant, ServiceId), ServiceKey>,
    instances: HashMap<InstanceRef, i64>,
    leases: HashMap<i64, (InstanceRef, i64)>,
    contents: HashMap<(Tenant, Arc<str>), Bytes>,
    roles: HashSet<Arc<str>>,
    /// By name, each with its roles.
    accounts: HashMap<Arc<str>, Vec<String>>,
}

impl FileRegistry {
    /// Checks a line alone. `None` if no entry is to be written for it.
    fn take(&mut self, number: usize, line: &ExportLine) -> Result<Option<ImportItem>, LineMistake> {
        let bytes = value_of(line)?;
        if line.key.len() + bytes.len() > MAX_ENTRY_BYTES {
            return Err(format!(
                "key and value have {} bytes; a store takes {MAX_ENTRY_BYTES}",
                line.key.len() + bytes.len()
            )
            .into());
        }
        let value = bytes.clone();
        let text = text_of(&value)?;
        let key = Key::from(line.key.as_str());
        if !self.keys.insert(Key::clone(&key)) {
            return Err("the key occurs twice".into());
        }
        let value = match (keys::parse(&key), lease_of(line)?) {
            (Subject::Malformed, _) => return Err(not_ours()),
            (Subject::LateGoodbye(..) | Subject::Release(..) | Subject::AccountLock(..), _) => {
                return Ok(None);
            }
            (Subject::Unread, _) if is_exported(&key) == Exported::Passing => return Ok(None),
            (Subject::Instance(at), Some(lease)) => {
                ImportValue::Leased(self.take_instance(&at, text, lease)?, lease)
            }
            (Subject::Lease(at), Some(lease)) => {
                check_tenant(&at.tenant)?;
                self.note_lease(&at, lease)?;
                ImportValue::NumberOf(lease)
            }
            (Subject::Override(at), Some(lease)) => {
                check_tenant(&at.tenant)?;
                same("value", text, "")?;
                self.note_lease(&at, lease)?;
                ImportValue::Leased(bytes, lease)
            }
            (Subject::Instance(_) | Subject::Lease(_) | Subject::Override(_), None) => {
                return Err("'lease' is missing; without a lease the instance would never expire".into());
            }
            (_, Some(_)) => return Err("'lease' is given, but such an entry has no lease".into()),
            (subject, None) => ImportValue::Plain(self.take_plain(subject, &key, text, bytes)?),
        };
        Ok(Some(ImportItem { line: number, key, value }))
    }

    /// Checks an entry without a lease. Returns the value to write.
    fn take_plain(
        &mut self,
        subject: Subject,
        key: &Key,
        text: &str,
        bytes: Bytes,
    ) -> Result<Bytes, LineMistake> {
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
                // The rules for a consumer apply to its name. A consumer has one exact version.
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
            Subject::Account(name) => self.take_account(&name, text)?,
            Subject::Role(name) => self.take_role(&name, text)?,
            _ => self.take_unread(key, text, bytes)?,
        })
    }

    fn take_instance(&mut self, at: &InstanceRef, text: &str, lease: OldLease) -> Result<Bytes, LineMistake> {
        let instance: Instance = document(text)?;
        check_tenant(&at.tenant)?;
        same("serviceId", &instance.service_id, at.service.as_str())?;
        same("instanceId", &instance.instance_id, at.instance.as_str())?;
        validate::instance::registration(at.service.as_str(), &instance)?;
        check_times(&instance.timestamp, &instance.mod_timestamp)?;
        if !instance.version.is_empty() && version::parse(&instance.version).is_none() {
            return Err(
                format!("'version' is '{}', which is not a version", Shown::new(&instance.version)).into()
            );
        }
        self.note_lease(at, lease)?;
        Ok(canonical(&instance))
    }

    fn take_account(&mut self, name: &Arc<str>, text: &str) -> Result<Bytes, LineMistake> {
        let account = document::<Account>(text)?.in_current_form();
        same("name", &account.name, name)?;
        validate::account::without_password(&account)?;
        if !password::is_hash(&account.password) {
            // The text may be a password, so it is not shown.
            return Err("'password' is not the hash of a password".into());
        }
        check_seconds("createTime", &account.create_time)?;
        check_seconds("updateTime", &account.update_time)?;
        self.accounts.insert(Arc::clone(name), account.roles.clone());
        Ok(canonical(&Account { current_password: String::new(), ..account }))
    }

    fn take_role(&mut self, name: &Arc<str>, text: &str) -> Result<Bytes, LineMistake> {
        let role: Role = document(text)?;
        same("name", &role.name, name)?;
        validate::account::role_creation(&role)?;
        check_seconds("createTime", &role.create_time)?;
        check_seconds("updateTime", &role.update_time)?;
        self.roles.insert(Arc::clone(name));
        Ok(canonical(&role))
    }

    /// Checks an entry that is not part of a snapshot.
    fn take_unread(&mut self, key: &Key, text: &str, bytes: Bytes) -> Result<Bytes, LineMistake> {
        if keys::parse_account_by_role(key).is_some() {
            same("value", text, "")?;
            return Ok(bytes);
        }
        if **key == *keys::ROLES_MIGRATED {
            same("value", text, "true")?;
            return Ok(bytes);
        }
        self.take_schema_text(key, text, bytes)
    }

    fn take_schema_text(&mut self, key: &Key, text: &str, bytes: Bytes) -> Result<Bytes, LineMistake> {
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

    /// Checks that a lease belongs to one instance, and that both keys of the instance are attached to it.
    fn note_lease(&mut self, at: &InstanceRef, lease: OldLease) -> Result<(), LineMistake> {
        let OldLease { number, ttl_seconds } = lease;
        let known = self.leases.entry(number).or_insert_with(|| (at.clone(), ttl_seconds));
        if *known != (at.clone(), ttl_seconds) {
            return Err(format!(
                "lease {number} belongs to another instance, or has another TTL in another line"
            )
            .into());
        }
        match self.instances.insert(at.clone(), number) {
            Some(other) if other != number => {
                Err(format!("the instance is also attached to lease {other}").into())
            }
            _ => Ok(()),
        }
    }

    /// Checks an entry against all others.
    fn check(&self, item: &ImportItem) -> Result<(), LineMistake> {
        let text = match &item.value {
            ImportValue::Plain(value) | ImportValue::Leased(value, _) => text_of(value)?,
            ImportValue::NumberOf(_) => "",
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
                    content.ok_or_else(|| LineMistake::from("the text of this schema is not in the file"))?;
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
            Subject::Account(name) => {
                let roles = self.accounts.get(&name).into_iter().flatten();
                let mut missing = roles.filter(|role| !self.roles.contains(role.as_str()));
                missing.next().map_or(Ok(()), |role| {
                    Err(format!("role '{}' is not in the file", Shown::new(role)).into())
                })
            }
            Subject::Unread => {
                if let Some((tenant, id, _)) = keys::parse_old_schema(&item.key) {
                    self.service(&tenant, &id)?;
                }
                if let Some((role, account)) = keys::parse_account_by_role(&item.key) {
                    let roles = self.accounts.get(account);
                    if !roles.is_some_and(|roles| roles.iter().any(|other| other == role)) {
                        return Err("no account of this name with this role is in the file".into());
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn service(&self, tenant: &Tenant, id: &ServiceId) -> Result<&ServiceKey, LineMistake> {
        let found = self.services.get(&(tenant.clone(), id.clone()));
        found.ok_or_else(|| format!("service '{}' is not in the file", Shown::new(id)).into())
    }
}

fn not_ours() -> LineMistake {
    "the registry has no key of this form".into()
}

fn text_of(value: &[u8]) -> Result<&str, LineMistake> {
    std::str::from_utf8(value).map_err(|_| "the value is not text".into())
}

fn another_name(service: &str) -> LineMistake {
    format!("service '{}' has another name or version", Shown::new(service)).into()
}

fn document<T: DecodeJson>(text: &str) -> Result<T, LineMistake> {
    json::decode(text.as_bytes()).map_err(|error| error.to_string().into())
}

fn canonical(document: &impl Serialize) -> Bytes {
    Bytes::from(json::encode(document))
}

fn value_of(line: &ExportLine) -> Result<Bytes, LineMistake> {
    if line.hex.is_empty() {
        return Ok(Bytes::from(line.value.clone()));
    }
    if !line.value.is_empty() {
        return Err("both 'value' and 'hex' are given".into());
    }
    hex::decode(&line.hex).map(Bytes::from).map_err(|why| format!("'hex' is not hex: {why}").into())
}

fn lease_of(line: &ExportLine) -> Result<Option<OldLease>, LineMistake> {
    if line.lease.is_empty() {
        return if line.ttl.is_empty() { Ok(None) } else { Err("'ttl' is given without 'lease'".into()) };
    }
    let number = |name: &str, text: &str, most: i64| {
        let number = text.parse::<i64>().ok().filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| LineMistake(format!("'{name}' is '{}'; write 1 to {most}", Shown::new(text))))
    };
    let (number, ttl_seconds) =
        (number("lease", &line.lease, i64::MAX)?, number("ttl", &line.ttl, MAX_TTL_SECONDS)?);
    Ok(Some(OldLease { number, ttl_seconds }))
}

fn check_tenant(tenant: &Tenant) -> Result<(), LineMistake> {
    let domain = Tenant::refusal("domain", tenant.domain());
    domain.or_else(|| Tenant::refusal("project", tenant.project())).map_or(Ok(()), |why| Err(why.into()))
}

fn same(member: &str, found: &str, expected: &str) -> Result<(), LineMistake> {
    if found == expected {
        return Ok(());
    }
    Err(format!("'{member}' is '{}', but the key has '{}'", Shown::new(found), Shown::new(expected)).into())
}

fn check_times(created: &str, changed: &str) -> Result<(), LineMistake> {
    check_seconds("timestamp", created)?;
    check_seconds("modTimestamp", changed)
}

fn check_seconds(member: &str, text: &str) -> Result<(), LineMistake> {
    if text.len() > 20 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("'{member}' is '{}'; write Unix seconds", Shown::new(text)).into());
    }
    Ok(())
}

fn check_schema(service: &ServiceId, schema_id: &str, text: &str, summary: &str) -> Result<(), LineMistake> {
    let schema =
        Schema { schema_id: schema_id.to_owned(), schema: text.to_owned(), summary: summary.to_owned() };
    Ok(validate::schema::put(service.as_str(), &schema)?)
}

/// Checks that a text has the form of a hash of [`content_hash`].
fn check_hash(text: &str) -> Result<(), LineMistake> {
    let is_hash = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hash { Ok(()) } else { Err(format!("'{}' is not the hash of a schema", Shown::new(text)).into()) }
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

/// Checks the tenant of a consumer or provider in a rule.
fn check_partner(key: &ServiceKey) -> Result<(), LineMistake> {
    let parts = key.tenant.split_once('/').ok_or_else(|| {
        LineMistake(format!("'tenant' is '{}'; write domain/project", Shown::new(&key.tenant)))
    })?;
    check_tenant(&Tenant::new(parts.0, parts.1))
}

/// Allows rules between domains: the backup may be of a registry that allows them. If `registry.dependency.crossDomain` is off, the
/// snapshot ignores such rules.
fn asker(tenant: &Tenant) -> Asker<'_> {
    Asker { tenant, cross_domain: CrossDomain::Allowed }
}

fn check_rule(consumer: &ServiceKey, providers: Vec<ServiceKey>) -> Result<(), LineMistake> {
    let tenant = Tenant::from(consumer.tenant.as_str());
    let rule = Dependency { consumer: Some(consumer.clone()), providers, replace: true };
    Ok(validate::dependency::request(asker(&tenant), DependencyWrite::Replace, &[rule])?)
}

/// Checks a dependency request that is waiting. The node that applies it will write rules in the name of its consumer.
fn check_request(key: &str, text: &str) -> Result<Bytes, LineMistake> {
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
