//! The keys of the registry in the store. Only this file builds keys and takes them apart.
//!
//! The keys are those of the original server, byte for byte, so both servers can share one etcd. Empty segments are kept: an
//! empty environment leaves `//`. A prefix ends with a slash, a key does not.

use std::sync::Arc;

use super::port::Key;
use crate::domain::event::{InstanceRef, ServiceName};
use crate::domain::{InstanceId, ServiceId, Tenant};

/// The prefix of all keys that the registry owns and watches.
pub const ROOT: &str = "/cse-sr/";

/// The trees that make up the read model. The two largest come first. Listings leave out the other trees below [`ROOT`], above
/// all the contents of schemas, which can be larger than everything else together.
pub const READ_MODEL: [&str; 17] = [
    "/cse-sr/inst/files/",
    "/cse-sr/inst/leases/",
    "/cse-sr/inst/goodbyes/",
    "/cse-sr/inst/overrides/",
    "/cse-sr/ms/files/",
    INDEXES,
    ALIASES,
    "/cse-sr/ms/tags/",
    "/cse-sr/ms/schema-ref/",
    "/cse-sr/ms/schema-sum/",
    DEPENDENCY_RULES,
    DEPENDENCY_QUEUE,
    DOMAINS,
    PROJECTS,
    ACCOUNTS,
    ROLES,
    ACCOUNT_LOCKS,
];

/// The trees whose changes the record of events shows.
const RECORDED: [&str; 5] = [
    "/cse-sr/inst/files/",
    "/cse-sr/inst/goodbyes/",
    "/cse-sr/ms/files/",
    "/cse-sr/ms/tags/",
    "/cse-sr/ms/schema-ref/",
];

/// Whether the record of events shows changes of this key.
pub fn is_recorded(key: &str) -> bool {
    RECORDED.iter().any(|tree| key.starts_with(tree))
}

/// All trees of instances.
pub const OF_INSTANCES: &str = "/cse-sr/inst/";
/// The services that have the versions of names.
pub const INDEXES: &str = "/cse-sr/ms/indexes/";
/// The services that have the versions of aliases.
pub const ALIASES: &str = "/cse-sr/ms/alias/";
/// The dependency rules of all services.
pub const DEPENDENCY_RULES: &str = "/cse-sr/ms/dep-rules/";
/// All domains.
pub const DOMAINS: &str = "/cse-sr/domains/";
/// All projects.
pub const PROJECTS: &str = "/cse-sr/projects/";
/// The contents of schemas of all tenants.
pub const SCHEMA_CONTENTS: &str = "/cse-sr/ms/schema-content/";
/// The contents of schemas in the layout of 2.0 and before.
const OLD_SCHEMAS: &str = "/cse-sr/ms/schemas/";
/// All waiting dependency requests.
pub const DEPENDENCY_QUEUE: &str = "/cse-sr/ms/dep-queue/";
/// The highest server version that ran, and its environment.
pub const SERVER_RECORD: &str = "/cse-sr/sys";

/// Held by the node that applies dependency requests.
pub const DEPENDENCY_LOCK: &str = "/lock//dep-queue";
/// Held by the node that retires service versions.
pub const RETIRE_SERVICES_LOCK: &str = "/lock/retire-service-job";
/// Held by the node that retires schema contents.
pub const RETIRE_SCHEMAS_LOCK: &str = "/lock/retire-schema-job";

/// All accounts.
pub const ACCOUNTS: &str = "/cse-sr/accounts/";
/// All roles.
pub const ROLES: &str = "/cse-sr/roles/";
/// All locks of accounts.
pub const ACCOUNT_LOCKS: &str = "/cse-sr/account-locks/";
/// That every role has the permission for `config`.
pub const ROLES_MIGRATED: &str = "/cse-sr/role-migrated";
/// The counts of failed logins. Only nodes of this server read them.
pub const LOGINS: &str = "/service-center/logins/";
/// Up to which revision the watch of each node is. Each key has the lease of its node.
pub const WATCH_MARKS: &str = "/service-center/watches/";
/// What the nodes know together about the history of etcd.
pub const COMPACTION: &str = "/service-center/compaction";
/// The summaries of the nodes, and below an address which processes use it.
pub const NODES: &str = "/service-center/nodes/";
/// Held by the node that retires empty services.
pub const RETIRE_EMPTY_LOCK: &str = "/service-center/locks/retire-empty-services";
/// Since when services are empty.
pub const EMPTY_SERVICES: &str = "/service-center/empty-services/";
/// Since when a node looks whether empty services are used.
pub const EMPTY_SERVICES_WATCHED: &str = "/service-center/empty-services-watched";
/// What nodes tell each other about consumers: what these look for in vain, and which of them have learned that an instance
/// drains. Each key has the lease of its node.
pub const CONSUMERS: &str = "/service-center/consumers/";
/// Which accounts have a role: keys without values.
const ACCOUNTS_BY_ROLE: &str = "/cse-sr/idx-role-account/";

/// Keys that a user of etcd must be allowed to read and to write.
#[derive(Debug)]
pub(super) struct NeededKeys {
    /// The prefix of all of them.
    pub prefix: &'static str,
    /// Whether the server reads ranges below the prefix, not only the keys named below.
    pub is_ranged: bool,
    /// Keys that the server writes, and prefixes of such keys.
    pub keys: &'static [&'static [&'static str]],
}

/// All keys that the server reads and writes.
pub(super) const NEEDED: [NeededKeys; 3] = [
    NeededKeys {
        prefix: ROOT,
        is_ranged: true,
        keys: &[
            &READ_MODEL,
            &[
                SCHEMA_CONTENTS,
                OLD_SCHEMAS,
                ACCOUNTS_BY_ROLE,
                ROLES_MIGRATED,
                "/cse-sr/bookmarks/",
                SERVER_RECORD,
            ],
        ],
    },
    NeededKeys {
        prefix: "/lock/",
        is_ranged: false,
        keys: &[&[DEPENDENCY_LOCK, RETIRE_SERVICES_LOCK, RETIRE_SCHEMAS_LOCK]],
    },
    NeededKeys {
        prefix: "/service-center/",
        is_ranged: true,
        keys: &[&[
            NODES,
            LOGINS,
            WATCH_MARKS,
            COMPACTION,
            RETIRE_EMPTY_LOCK,
            EMPTY_SERVICES,
            EMPTY_SERVICES_WATCHED,
            CONSUMERS,
        ]],
    },
];

/// Faster than `format!`, for the keys of each registration.
fn joined<const PARTS: usize>(parts: [&str; PARTS]) -> Key {
    parts.concat().into()
}

pub fn service(tenant: &Tenant, id: &str) -> Key {
    joined(["/cse-sr/ms/files/", tenant.as_str(), "/", id])
}

/// Holds the id of the service that owns a version of a name.
pub fn index(name: &ServiceName, version: &str) -> Key {
    named("indexes", name, version)
}

/// Holds the id of the service that owns a version of an alias.
pub fn alias(name: &ServiceName, version: &str) -> Key {
    named("alias", name, version)
}

/// The prefix of all versions of a name.
pub fn index_prefix(name: &ServiceName) -> Key {
    named("indexes", name, "")
}

/// The prefix of all versions of an alias.
pub fn alias_prefix(name: &ServiceName) -> Key {
    named("alias", name, "")
}

fn named(tree: &str, name: &ServiceName, version: &str) -> Key {
    let ServiceName { tenant, environment, app_id, name } = name;
    format!("/cse-sr/ms/{tree}/{tenant}/{environment}/{app_id}/{name}/{version}").into()
}

/// The key of an index; the path is `<environment>/<app>/<name>/<version>`.
pub fn index_at(tenant: &Tenant, path: &str) -> Key {
    format!("/cse-sr/ms/indexes/{tenant}/{path}").into()
}

/// The key of an alias; the path is `<environment>/<app>/<alias>/<version>`.
pub fn alias_at(tenant: &Tenant, path: &str) -> Key {
    format!("/cse-sr/ms/alias/{tenant}/{path}").into()
}

/// The key of a consumer's rule; the path is that of [`index_at`].
pub fn consumer_rule_at(tenant: &Tenant, path: &str) -> Key {
    format!("/cse-sr/ms/dep-rules/{tenant}/c/{path}").into()
}

/// The key of a provider's rule; the path is that of [`index_at`].
pub fn provider_rule_at(tenant: &Tenant, path: &str) -> Key {
    format!("/cse-sr/ms/dep-rules/{tenant}/p/{path}").into()
}

pub fn tags(tenant: &Tenant, service: &str) -> Key {
    format!("/cse-sr/ms/tags/{tenant}/{service}").into()
}

/// Holds the hash of a schema's content. With an empty schema id: the prefix of all schemas of a service.
pub fn schema_ref(tenant: &Tenant, service: &str, schema: &str) -> Key {
    format!("/cse-sr/ms/schema-ref/{tenant}/{service}/{schema}").into()
}

/// Holds the summary of a schema. With an empty schema id: the prefix of all schemas of a service.
pub fn schema_summary(tenant: &Tenant, service: &str, schema: &str) -> Key {
    format!("/cse-sr/ms/schema-sum/{tenant}/{service}/{schema}").into()
}

/// Holds the content with a hash. With an empty hash: the prefix of all contents of a tenant.
pub fn schema_content(tenant: &Tenant, hash: &str) -> Key {
    format!("{SCHEMA_CONTENTS}{tenant}/{hash}").into()
}

/// Tenant and hash of a content's key; `None` for any other key.
pub fn parse_schema_content(key: &str) -> Option<(Tenant, Arc<str>)> {
    parse_whole(key.strip_prefix(SCHEMA_CONTENTS)?, |path| Some((tenant(path)?, path.next()?.into())))
}

/// The prefix of the schema references of all services of a tenant.
pub fn schema_refs_of(tenant: &Tenant) -> Key {
    format!("/cse-sr/ms/schema-ref/{tenant}/").into()
}

/// Holds the content of a schema in the layout of 2.0 and before. The server reads and deletes these keys but never writes
/// them. With an empty schema id: the prefix of all schemas of a service.
pub fn old_schema(tenant: &Tenant, service: &str, schema: &str) -> Key {
    format!("{OLD_SCHEMAS}{tenant}/{service}/{schema}").into()
}

/// Tenant, service and schema of a content in the layout of 2.0; `None` for any other key.
pub fn parse_old_schema(key: &str) -> Option<(Tenant, ServiceId, Arc<str>)> {
    parse_whole(key.strip_prefix(OLD_SCHEMAS)?, |path| Some((tenant(path)?, id(path)?, path.next()?.into())))
}

/// Holds the providers of a consumer version.
pub fn consumer_rule(name: &ServiceName, version: &str) -> Key {
    rule("c", name, version)
}

/// Holds the consumers of a provider; the version is `0.0.0+`.
pub fn provider_rule(name: &ServiceName, version: &str) -> Key {
    rule("p", name, version)
}

fn rule(side: &str, name: &ServiceName, version: &str) -> Key {
    let ServiceName { tenant, environment, app_id, name } = name;
    format!("/cse-sr/ms/dep-rules/{tenant}/{side}/{environment}/{app_id}/{name}/{version}").into()
}

pub fn dependency_request(tenant: &Tenant, consumer: &str, id: &str) -> Key {
    format!("{DEPENDENCY_QUEUE}{tenant}/{consumer}/{id}").into()
}

/// Tenant, consumer and id of a waiting dependency request; `None` for any other key.
pub fn parse_dependency_request(key: &str) -> Option<(Tenant, ServiceId, Arc<str>)> {
    parse_whole(key.strip_prefix(DEPENDENCY_QUEUE)?, |path| {
        Some((tenant(path)?, id(path)?, path.next()?.into()))
    })
}

/// The request that removes the dependencies of a deleted service.
pub fn dependency_ending(tenant: &Tenant, consumer: &str) -> Key {
    dependency_request(tenant, consumer, ENDING)
}

/// The deleted service of a [`dependency_ending`]; `None` for any other request.
pub fn parse_dependency_ending(key: &str) -> Option<(Tenant, ServiceId)> {
    let (tenant, consumer, id) = parse_dependency_request(key)?;
    (&*id == ENDING).then_some((tenant, consumer))
}

/// The id of each [`dependency_ending`], as in the original server.
const ENDING: &str = "0";

/// With an empty instance id: the prefix of all instances of a service.
pub fn instance(tenant: &Tenant, service: &str, instance: &str) -> Key {
    joined(["/cse-sr/inst/files/", tenant.as_str(), "/", service, "/", instance])
}

/// Holds the id of an instance's lease. With an empty instance id: the prefix of all instances of a service.
pub fn lease(tenant: &Tenant, service: &str, instance: &str) -> Key {
    joined(["/cse-sr/inst/leases/", tenant.as_str(), "/", service, "/", instance])
}

/// Records that an instance was unregistered after its lease had ended but while nodes still showed it. Until the key is
/// deleted, after a minute, no node writes the instance again for this lease. The original server does not read these keys.
pub fn late_goodbye(tenant: &Tenant, service: &str, instance: &str, lease: i64) -> Key {
    format!("/cse-sr/inst/goodbyes/{tenant}/{service}/{instance}/{lease}").into()
}

/// Records that the expiries of a service that wait or are held are released. Each node that sees the key put drops the expired
/// instances of the service that it still shows. The key is deleted after a minute. It is in the tree of [`late_goodbye`], so
/// that one watch delivers it in order with the documents. The original server does not read it.
pub fn release(tenant: &Tenant, service: &str) -> Key {
    format!("/cse-sr/inst/goodbyes/{tenant}/{service}").into()
}

/// Records that a request, not a registration, replaced the properties of an instance. The properties then stay when the
/// instance registers again. One transaction writes this key and the document, and both have the instance's lease. The original
/// server does not read these keys. They are below [`ROOT`] so that one watch delivers them in order with the documents. With
/// an empty instance id: the prefix of all instances of a service.
pub fn properties_override(tenant: &Tenant, service: &str, instance: &str) -> Key {
    joined(["/cse-sr/inst/overrides/", tenant.as_str(), "/", service, "/", instance])
}

/// Records that a node backs an instance of the registry's own service. The key has the node's address, the service's id and an
/// id of the process. With an empty process id: the prefix of all such nodes. The original server does not read these keys, and
/// the watch does not deliver them.
pub fn presence(address: &str, service: &str, process: &str) -> Key {
    format!("{NODES}{address}/{service}/{process}").into()
}

/// The prefix of all nodes with an address.
pub fn presences_at(address: &str) -> Key {
    format!("{NODES}{address}/").into()
}

/// Holds the summary of a node. The key has the lease of its node.
pub fn node_summary(process: &str) -> Key {
    format!("{NODES}{process}").into()
}

/// The process of a [`node_summary`]; `None` for any other key.
pub fn parse_node_summary(key: &str) -> Option<&str> {
    key.strip_prefix(NODES).filter(|process| !process.is_empty() && !process.contains('/'))
}

/// Holds up to which revision the watch of a node is.
pub fn watch_mark(process: &str) -> Key {
    format!("{WATCH_MARKS}{process}").into()
}

/// Holds since when a service is empty.
pub fn empty_service(tenant: &Tenant, service: &str) -> Key {
    format!("{EMPTY_SERVICES}{tenant}/{service}").into()
}

/// Tenant and service of an [`empty_service`]; `None` for any other key.
pub fn parse_empty_service(key: &str) -> Option<(Tenant, ServiceId)> {
    parse_whole(key.strip_prefix(EMPTY_SERVICES)?, |path| Some((tenant(path)?, id(path)?)))
}

pub fn domain(domain: &str) -> Key {
    format!("/cse-sr/domains/{domain}").into()
}

pub fn project(tenant: &Tenant) -> Key {
    format!("/cse-sr/projects/{tenant}").into()
}

/// An account.
pub fn account(name: &str) -> Key {
    format!("{ACCOUNTS}{name}").into()
}

/// A role.
pub fn role(name: &str) -> Key {
    format!("{ROLES}{name}").into()
}

/// That an account has a role. The key has no value.
pub fn account_by_role(role: &str, account: &str) -> Key {
    format!("{ACCOUNTS_BY_ROLE}{role}/{account}").into()
}

/// Role and account of such a key; `None` for any other key.
pub fn parse_account_by_role(key: &str) -> Option<(&str, &str)> {
    let (role, account) = key.strip_prefix(ACCOUNTS_BY_ROLE)?.split_once('/')?;
    (!role.is_empty() && !account.is_empty() && !account.contains('/')).then_some((role, account))
}

/// The lock with the key `<account>::<address>`.
pub fn account_lock(key: &str) -> Key {
    format!("{ACCOUNT_LOCKS}{key}").into()
}

/// The count of failed logins with the key `<account>::<address>`.
pub fn failed_logins(key: &str) -> Key {
    format!("{LOGINS}{key}").into()
}

/// The prefix of all service documents of a tenant.
pub fn services_of(tenant: &Tenant) -> Key {
    format!("/cse-sr/ms/files/{tenant}/").into()
}

/// The prefix of all projects of a domain.
pub fn projects_of(domain: &str) -> Key {
    format!("/cse-sr/projects/{domain}/").into()
}

/// What a key below [`ROOT`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Service(Tenant, ServiceId),
    /// A version of a name.
    Index(ServiceName, Arc<str>),
    /// A version of an alias.
    Alias(ServiceName, Arc<str>),
    Tags(Tenant, ServiceId),
    /// Schema id.
    SchemaRef(Tenant, ServiceId, Arc<str>),
    /// Schema id.
    SchemaSummary(Tenant, ServiceId, Arc<str>),
    /// Providers of a consumer version.
    ConsumerRule(ServiceName, Arc<str>),
    /// Consumers of a provider.
    ProviderRule(ServiceName, Arc<str>),
    /// A waiting dependency request.
    DependencyRequest,
    Instance(InstanceRef),
    Lease(InstanceRef),
    /// An instance that was unregistered after its lease, given here, had ended.
    LateGoodbye(InstanceRef, i64),
    /// A service whose expiries are released.
    Release(Tenant, ServiceId),
    /// An instance whose properties stay when it registers again.
    Override(InstanceRef),
    Domain(Arc<str>),
    Project(Tenant),
    /// The account of this name.
    Account(Arc<str>),
    /// The role of this name.
    Role(Arc<str>),
    /// The lock with this key, `<account>::<address>`.
    AccountLock(Arc<str>),
    /// Not part of the read model: schema contents, the server record, trees of other programs.
    Unread,
    /// In a tree of the read model, but without that tree's form.
    Malformed,
}

pub fn parse(key: &str) -> Subject {
    let Some(path) = key.strip_prefix(ROOT) else { return Subject::Unread };
    parse_path(path).unwrap_or(Subject::Malformed)
}

/// The segments of a path that are left. `None` after the last one. `str::split` looks for a slash in the slow way.
struct Segments<'a>(Option<&'a str>);

impl<'a> Iterator for Segments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let path = self.0?;
        let (segment, rest) = match memchr::memchr(b'/', path.as_bytes()) {
            Some(slash) => (path.get(..slash)?, path.get(slash + 1..)),
            None => (path, None),
        };
        self.0 = rest;
        Some(segment)
    }
}

/// Parses a path; `None` if segments are left.
fn parse_whole<'a, T>(path: &'a str, parse: impl FnOnce(&mut Segments<'a>) -> Option<T>) -> Option<T> {
    let mut path = Segments(Some(path));
    let parsed = parse(&mut path)?;
    path.next().is_none().then_some(parsed)
}

fn parse_path(path: &str) -> Option<Subject> {
    // A failed login may name an account with slashes, which no account can have.
    if let Some(lock) = path.strip_prefix("account-locks/") {
        return (!lock.is_empty()).then(|| Subject::AccountLock(lock.into()));
    }
    let path = &mut Segments(Some(path));
    let group = path.next()?;
    let tree = if matches!(group, "ms" | "inst") { path.next()? } else { "" };
    let subject = match (group, tree) {
        ("ms", "files") => Subject::Service(tenant(path)?, id(path)?),
        ("ms", "indexes") => named_version(tenant(path)?, path, Subject::Index)?,
        ("ms", "alias") => named_version(tenant(path)?, path, Subject::Alias)?,
        ("ms", "tags") => Subject::Tags(tenant(path)?, id(path)?),
        ("ms", "schema-ref") => Subject::SchemaRef(tenant(path)?, id(path)?, path.next()?.into()),
        ("ms", "schema-sum") => Subject::SchemaSummary(tenant(path)?, id(path)?, path.next()?.into()),
        ("ms", "dep-rules") => {
            let tenant = tenant(path)?;
            match path.next()? {
                "c" => named_version(tenant, path, Subject::ConsumerRule)?,
                "p" => named_version(tenant, path, Subject::ProviderRule)?,
                _ => return None,
            }
        }
        ("ms", "dep-queue") => return Some(Subject::DependencyRequest),
        ("inst", "files") => Subject::Instance(instance_ref(path)?),
        ("inst", "leases") => Subject::Lease(instance_ref(path)?),
        ("inst", "goodbyes") => {
            let (tenant, service) = (tenant(path)?, id(path)?);
            match path.next() {
                None => Subject::Release(tenant, service),
                Some("") => return None,
                Some(instance) => {
                    let at = InstanceRef { tenant, service, instance: instance.into() };
                    Subject::LateGoodbye(at, path.next()?.parse().ok()?)
                }
            }
        }
        ("inst", "overrides") => Subject::Override(instance_ref(path)?),
        ("domains", _) => Subject::Domain(path.next()?.into()),
        ("projects", _) => Subject::Project(tenant(path)?),
        ("accounts", _) => Subject::Account(path.next().filter(|name| !name.is_empty())?.into()),
        ("roles", _) => Subject::Role(path.next().filter(|name| !name.is_empty())?.into()),
        _ => return Some(Subject::Unread),
    };
    path.next().is_none().then_some(subject)
}

fn tenant(path: &mut Segments<'_>) -> Option<Tenant> {
    let left = path.0?;
    let (domain, project) = (path.next()?, path.next()?);
    // The key has both as a tenant is written.
    left.get(..domain.len() + 1 + project.len()).map(Tenant::from)
}

fn id(path: &mut Segments<'_>) -> Option<ServiceId> {
    path.next().filter(|id| !id.is_empty()).map(ServiceId::from)
}

fn instance_ref(path: &mut Segments<'_>) -> Option<InstanceRef> {
    let (tenant, service) = (tenant(path)?, id(path)?);
    let instance = path.next().filter(|id| !id.is_empty()).map(InstanceId::from)?;
    Some(InstanceRef { tenant, service, instance })
}

fn named_version(
    tenant: Tenant,
    path: &mut Segments<'_>,
    subject: fn(ServiceName, Arc<str>) -> Subject,
) -> Option<Subject> {
    let name = ServiceName::new(tenant, path.next()?, path.next()?, path.next()?);
    Some(subject(name, path.next()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &Key, expected: &Subject) {
        assert_eq!(&parse(key), expected, "{key}");
        let trees = READ_MODEL.iter().filter(|tree| key.starts_with(**tree));
        assert_eq!(trees.count(), 1, "{key} is listed once");
        assert!(is_needed(key), "{key}: a user of etcd must be allowed it");
    }

    fn is_needed(key: &str) -> bool {
        NEEDED.iter().any(|needed| {
            key.starts_with(needed.prefix) && needed.keys.concat().iter().any(|named| key.starts_with(named))
        })
    }

    #[test]
    fn permissions_cover_all_keys() {
        let named = [SERVER_RECORD, DEPENDENCY_LOCK, RETIRE_SERVICES_LOCK, RETIRE_SCHEMAS_LOCK];
        for key in READ_MODEL.iter().chain(&named).chain(&[SCHEMA_CONTENTS, DEPENDENCY_QUEUE]) {
            assert!(is_needed(key), "{key}");
        }
        assert!(is_needed(&presence("10.12.0.1:30100", "s1", "p1")));
        let all_are_below =
            |needed: &NeededKeys| needed.keys.concat().iter().all(|key| key.starts_with(needed.prefix));
        assert!(NEEDED.iter().all(all_are_below));
    }

    #[test]
    fn parsing_inverts_building() {
        let tenant = Tenant::new("default", "p");
        let name = ServiceName::new(tenant.clone(), "", "shop", "orders");
        let (sid, iid) = (ServiceId::from("s1"), InstanceId::from("i1"));
        let at = InstanceRef { tenant: tenant.clone(), service: sid.clone(), instance: iid };
        check(&service(&tenant, "s1"), &Subject::Service(tenant.clone(), sid.clone()));
        check(&index(&name, "1.0"), &Subject::Index(name.clone(), "1.0".into()));
        check(&alias(&name, "1.0"), &Subject::Alias(name.clone(), "1.0".into()));
        check(&tags(&tenant, "s1"), &Subject::Tags(tenant.clone(), sid.clone()));
        check(&schema_ref(&tenant, "s1", "a"), &Subject::SchemaRef(tenant.clone(), sid.clone(), "a".into()));
        check(&schema_summary(&tenant, "s1", "a"), &Subject::SchemaSummary(tenant.clone(), sid, "a".into()));
        let content = schema_content(&tenant, "63f4");
        assert_eq!(parse_schema_content(&content), Some((tenant.clone(), "63f4".into())));
        assert_eq!(parse_schema_content("/cse-sr/ms/schema-content/d/p"), None);
        assert!(schema_ref(&tenant, "s1", "a").starts_with(&*schema_refs_of(&tenant)));
        check(&consumer_rule(&name, "1.0"), &Subject::ConsumerRule(name.clone(), "1.0".into()));
        check(&provider_rule(&name, "0.0.0+"), &Subject::ProviderRule(name, "0.0.0+".into()));
        let request = dependency_request(&tenant, "s1", "0");
        check(&request, &Subject::DependencyRequest);
        assert_eq!(parse_dependency_request(&request), Some((tenant.clone(), "s1".into(), "0".into())));
        assert_eq!(parse_dependency_request("/cse-sr/ms/dep-queue/d/p/s"), None);
        let ending = dependency_ending(&tenant, "s1");
        assert_eq!(parse_dependency_ending(&ending), Some((tenant.clone(), "s1".into())));
        assert_eq!(parse_dependency_ending(&dependency_request(&tenant, "s1", "shop_orders")), None);
        let old = old_schema(&tenant, "s1", "a");
        assert_eq!(parse_old_schema(&old), Some((tenant.clone(), "s1".into(), "a".into())));
        assert_eq!(parse_old_schema("/cse-sr/ms/schemas/d/p/s/a/b"), None);
        check(&instance(&tenant, "s1", "i1"), &Subject::Instance(at.clone()));
        check(&lease(&tenant, "s1", "i1"), &Subject::Lease(at.clone()));
        check(&properties_override(&tenant, "s1", "i1"), &Subject::Override(at.clone()));
        check(&late_goodbye(&tenant, "s1", "i1", 7), &Subject::LateGoodbye(at, 7));
        check(&release(&tenant, "s1"), &Subject::Release(tenant.clone(), "s1".into()));
        check(&domain("default"), &Subject::Domain("default".into()));
        check(&project(&tenant), &Subject::Project(tenant));
        check(&account("root"), &Subject::Account("root".into()));
        check(&role("admin"), &Subject::Role("admin".into()));
        check(&account_lock("a/b::::1"), &Subject::AccountLock("a/b::::1".into()));
        assert!(is_needed(&account_by_role("admin", "root")) && is_needed(&failed_logins("a::1")));
        assert_eq!(parse(ROLES_MIGRATED), Subject::Unread);
        let empty = empty_service(&Tenant::new("default", "p"), "s1");
        assert_eq!(parse_empty_service(&empty), Some((Tenant::new("default", "p"), "s1".into())));
        assert_eq!(parse_empty_service("/service-center/empty-services/d/p"), None);
        for key in [&*empty, &*watch_mark("p1"), COMPACTION, EMPTY_SERVICES_WATCHED, RETIRE_EMPTY_LOCK] {
            assert!(is_needed(key), "{key}");
        }
    }

    #[test]
    fn an_empty_environment_keeps_its_segment() {
        let name = ServiceName::new(Tenant::default_tenant(), "", "default", "svc");
        assert_eq!(&*index(&name, "1.0.0"), "/cse-sr/ms/indexes/default/default//default/svc/1.0.0");
    }

    #[test]
    fn foreign_keys_are_told_apart() {
        for unread in [
            "/lock//dep-queue",
            "/cse-sr/sys",
            "/cse-sr/idx-role-account/admin/root",
            "/cse-sr/ms/schema-content/d/p/h",
            "/cse-sr/files/d/p/s/i",
            "/cse-sr/inst/indexes/d/p/e/a/n/1",
        ] {
            assert_eq!(parse(unread), Subject::Unread, "{unread}");
            assert!(!READ_MODEL.iter().any(|tree| unread.starts_with(tree)), "{unread} is not listed");
        }
        for malformed in [
            "/cse-sr/inst/files/a/b/c",
            "/cse-sr/ms/files/a",
            "/cse-sr/inst/files/a/b/c/d/e",
            "/cse-sr/inst/goodbyes/a/b/c/d/e",
            "/cse-sr/inst/goodbyes/a/b/c/d",
            "/cse-sr/inst/goodbyes/a/b",
            "/cse-sr/inst/goodbyes/a/b/c//7",
            "/cse-sr/inst/goodbyes/a/b/c/",
            "/cse-sr/ms/dep-rules/a/b/x/e/a/n/v",
        ] {
            assert_eq!(parse(malformed), Subject::Malformed, "{malformed}");
        }
    }
}
