//! The key forms of the registry in the store: built here, taken apart here, nowhere else.
//!
//! They are those of the original server, byte for byte: both may share one etcd. Empty segments are kept (an empty
//! environment leaves `//`), no key ends with a slash, prefixes do.

use std::sync::Arc;

use super::port::Key;
use crate::domain::event::{InstanceRef, ServiceName};
use crate::domain::{InstanceId, ServiceId, Tenant};

/// Everything the registry owns and watches.
pub const ROOT: &str = "/cse-sr/";

/// The trees that make the read model, the two large ones first. The others below [`ROOT`] are left out of listings, above all
/// the contents of schemas: they may be larger than all else together.
pub const READ_MODEL: [&str; 17] = [
    "/cse-sr/inst/files/",
    "/cse-sr/inst/leases/",
    "/cse-sr/inst/goodbyes/",
    "/cse-sr/inst/overrides/",
    "/cse-sr/ms/files/",
    "/cse-sr/ms/indexes/",
    "/cse-sr/ms/alias/",
    "/cse-sr/ms/tags/",
    "/cse-sr/ms/schema-ref/",
    "/cse-sr/ms/schema-sum/",
    "/cse-sr/ms/dep-rules/",
    "/cse-sr/ms/dep-queue/",
    "/cse-sr/domains/",
    "/cse-sr/projects/",
    ACCOUNTS,
    ROLES,
    ACCOUNT_LOCKS,
];

/// The highest server version that ran, and its environment.
pub const SERVER_RECORD: &str = "/cse-sr/sys";

/// Held by the node that applies dependency requests.
pub const DEPENDENCY_LOCK: &str = "/lock//dep-queue";
/// Held by the node that compares versions at its start.
pub const VERSION_LOCK: &str = "/lock//version-upgrade";
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
/// Which accounts have a role: keys without values.
const ACCOUNTS_BY_ROLE: &str = "/cse-sr/idx-role-account/";

/// Keys that a user of etcd must be allowed to read and to write.
#[derive(Debug)]
pub struct Needed {
    /// All of them begin so.
    pub prefix: &'static str,
    /// Whether ranges of them are read, not only the keys named below.
    pub is_ranged: bool,
    /// Keys that are written, or with which such keys begin.
    pub keys: &'static [&'static str],
}

/// All that this server reads and writes.
pub const NEEDED: [Needed; 3] = [
    Needed {
        prefix: ROOT,
        is_ranged: true,
        keys: &[
            "/cse-sr/inst/files/",
            "/cse-sr/inst/leases/",
            "/cse-sr/inst/goodbyes/",
            "/cse-sr/inst/overrides/",
            "/cse-sr/ms/files/",
            "/cse-sr/ms/indexes/",
            "/cse-sr/ms/alias/",
            "/cse-sr/ms/tags/",
            "/cse-sr/ms/schema-ref/",
            "/cse-sr/ms/schema-sum/",
            SCHEMA_CONTENTS,
            "/cse-sr/ms/schemas/",
            "/cse-sr/ms/dep-rules/",
            DEPENDENCY_QUEUE,
            "/cse-sr/domains/",
            "/cse-sr/projects/",
            ACCOUNTS,
            ROLES,
            ACCOUNT_LOCKS,
            ACCOUNTS_BY_ROLE,
            "/cse-sr/bookmarks/",
            SERVER_RECORD,
        ],
    },
    Needed {
        prefix: "/lock/",
        is_ranged: false,
        keys: &[DEPENDENCY_LOCK, RETIRE_SERVICES_LOCK, RETIRE_SCHEMAS_LOCK],
    },
    Needed { prefix: "/service-center/", is_ranged: true, keys: &["/service-center/nodes/"] },
];

/// The service document.
pub fn service(tenant: &Tenant, id: &str) -> Key {
    format!("/cse-sr/ms/files/{tenant}/{id}").into()
}

/// Owner of a version of a name.
pub fn index(name: &ServiceName, version: &str) -> Key {
    named("indexes", name, version)
}

/// Owner of a version of an alias.
pub fn alias(name: &ServiceName, version: &str) -> Key {
    named("alias", name, version)
}

/// All versions of a name.
pub fn index_prefix(name: &ServiceName) -> Key {
    named("indexes", name, "")
}

/// All versions of an alias.
pub fn alias_prefix(name: &ServiceName) -> Key {
    named("alias", name, "")
}

fn named(tree: &str, name: &ServiceName, version: &str) -> Key {
    let ServiceName { tenant, environment, app_id, name } = name;
    format!("/cse-sr/ms/{tree}/{tenant}/{environment}/{app_id}/{name}/{version}").into()
}

/// Tags of a service.
pub fn tags(tenant: &Tenant, service: &str) -> Key {
    format!("/cse-sr/ms/tags/{tenant}/{service}").into()
}

/// Content hash of a schema; with an empty schema id the prefix of all of a service.
pub fn schema_ref(tenant: &Tenant, service: &str, schema: &str) -> Key {
    format!("/cse-sr/ms/schema-ref/{tenant}/{service}/{schema}").into()
}

/// Summary of a schema; with an empty schema id the prefix of all of a service.
pub fn schema_summary(tenant: &Tenant, service: &str, schema: &str) -> Key {
    format!("/cse-sr/ms/schema-sum/{tenant}/{service}/{schema}").into()
}

/// Content by hash; with an empty hash the prefix of all of a tenant.
pub fn schema_content(tenant: &Tenant, hash: &str) -> Key {
    format!("/cse-sr/ms/schema-content/{tenant}/{hash}").into()
}

/// All contents of all tenants.
pub const SCHEMA_CONTENTS: &str = "/cse-sr/ms/schema-content/";

/// Tenant and hash of a content's key; `None` for any other key.
pub fn parse_schema_content(key: &str) -> Option<(Tenant, Arc<str>)> {
    let mut segments = key.strip_prefix(SCHEMA_CONTENTS)?.split('/');
    let content = (tenant(&mut segments)?, segments.next()?.into());
    segments.next().is_none().then_some(content)
}

/// The prefix of all references of a tenant's services.
pub fn schema_refs_of(tenant: &Tenant) -> Key {
    format!("/cse-sr/ms/schema-ref/{tenant}/").into()
}

/// Content of a schema in the layout of 2.0 and before: read and deleted, never written. With an empty schema id the
/// prefix of all of a service.
pub fn old_schema(tenant: &Tenant, service: &str, schema: &str) -> Key {
    format!("/cse-sr/ms/schemas/{tenant}/{service}/{schema}").into()
}

/// Tenant, service and schema of a content in the layout of 2.0; `None` for any other key.
pub fn parse_old_schema(key: &str) -> Option<(Tenant, ServiceId, Arc<str>)> {
    let mut segments = key.strip_prefix("/cse-sr/ms/schemas/")?.split('/');
    let schema = (tenant(&mut segments)?, id(&mut segments)?, segments.next()?.into());
    segments.next().is_none().then_some(schema)
}

/// Providers of a consumer version.
pub fn consumer_rule(name: &ServiceName, version: &str) -> Key {
    rule("c", name, version)
}

/// Consumers of a provider; the version is `0.0.0+`.
pub fn provider_rule(name: &ServiceName, version: &str) -> Key {
    rule("p", name, version)
}

fn rule(side: &str, name: &ServiceName, version: &str) -> Key {
    let ServiceName { tenant, environment, app_id, name } = name;
    format!("/cse-sr/ms/dep-rules/{tenant}/{side}/{environment}/{app_id}/{name}/{version}").into()
}

/// A waiting dependency request.
pub fn dependency_request(tenant: &Tenant, consumer: &str, id: &str) -> Key {
    format!("/cse-sr/ms/dep-queue/{tenant}/{consumer}/{id}").into()
}

/// Tenant, consumer and id of a waiting dependency request; `None` for any other key.
pub fn parse_dependency_request(key: &str) -> Option<(Tenant, ServiceId, Arc<str>)> {
    let mut segments = key.strip_prefix(DEPENDENCY_QUEUE)?.split('/');
    let request = (tenant(&mut segments)?, id(&mut segments)?, segments.next()?.into());
    segments.next().is_none().then_some(request)
}

/// The request that ends the dependencies of a deleted service.
pub fn dependency_ending(tenant: &Tenant, consumer: &str) -> Key {
    dependency_request(tenant, consumer, ENDING)
}

/// The deleted service of such a request; `None` for any other request.
pub fn parse_dependency_ending(key: &str) -> Option<(Tenant, ServiceId)> {
    let (tenant, consumer, id) = parse_dependency_request(key)?;
    (&*id == ENDING).then_some((tenant, consumer))
}

/// What such a request is called, as with the original server.
const ENDING: &str = "0";

/// All waiting dependency requests.
pub const DEPENDENCY_QUEUE: &str = "/cse-sr/ms/dep-queue/";

/// Instance document; with an empty instance id the prefix of all of a service.
pub fn instance(tenant: &Tenant, service: &str, instance: &str) -> Key {
    format!("/cse-sr/inst/files/{tenant}/{service}/{instance}").into()
}

/// Lease of an instance; with an empty instance id the prefix of all of a service.
pub fn lease(tenant: &Tenant, service: &str, instance: &str) -> Key {
    format!("/cse-sr/inst/leases/{tenant}/{service}/{instance}").into()
}

/// That an owner said goodbye to an instance whose lease had ended, this one, while it was still shown. The original server
/// does not read these keys. They go after a minute: until then nobody writes the instance again for that lease.
pub fn late_goodbye(tenant: &Tenant, service: &str, instance: &str, lease: i64) -> Key {
    format!("/cse-sr/inst/goodbyes/{tenant}/{service}/{instance}/{lease}").into()
}

/// That the properties of an instance were replaced by a request to do so, and not by its owner's registration: then they
/// stay when it registers again. On the instance's lease, put in one transaction with the document. The original server does
/// not read these keys; they lie below [`ROOT`] so that the one watch brings them in the order of the documents. With an
/// empty instance id the prefix of all of a service.
pub fn properties_override(tenant: &Tenant, service: &str, instance: &str) -> Key {
    format!("/cse-sr/inst/overrides/{tenant}/{service}/{instance}").into()
}

/// That a node stands behind an entry of the registry's own service: by the address it is reached under, its service, and an
/// id of the process. With an empty id the prefix of all of them. No part of the registry: the original server never looks
/// here, and the watch does not bring it.
pub fn presence(address: &str, service: &str, process: &str) -> Key {
    format!("/service-center/nodes/{address}/{service}/{process}").into()
}

/// The prefix of all nodes that are reached under an address.
pub fn presences_at(address: &str) -> Key {
    format!("/service-center/nodes/{address}/").into()
}

/// A domain.
pub fn domain(domain: &str) -> Key {
    format!("/cse-sr/domains/{domain}").into()
}

/// A project.
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

/// The lock with the key `<account>::<address>`.
pub fn account_lock(key: &str) -> Key {
    format!("{ACCOUNT_LOCKS}{key}").into()
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
    /// A service document.
    Service(Tenant, ServiceId),
    /// A version of a name.
    Index(ServiceName, Arc<str>),
    /// A version of an alias.
    Alias(ServiceName, Arc<str>),
    /// Tags of a service.
    Tags(Tenant, ServiceId),
    /// A schema's reference to its content.
    SchemaRef(Tenant, ServiceId, Arc<str>),
    /// A schema's summary.
    SchemaSummary(Tenant, ServiceId, Arc<str>),
    /// Providers of a consumer version.
    ConsumerRule(ServiceName, Arc<str>),
    /// Consumers of a provider.
    ProviderRule(ServiceName, Arc<str>),
    /// A waiting dependency request.
    DependencyRequest,
    /// An instance document.
    Instance(InstanceRef),
    /// The lease of an instance.
    Lease(InstanceRef),
    /// That the owner of an expired instance said goodbye, and the lease it had.
    LateGoodbye(InstanceRef, i64),
    /// That an instance's properties stay when it registers again.
    Override(InstanceRef),
    /// A domain.
    Domain(Arc<str>),
    /// A project.
    Project(Tenant),
    /// The account of this name.
    Account(Arc<str>),
    /// The role of this name.
    Role(Arc<str>),
    /// The lock with this key, `<account>::<address>`.
    AccountLock(Arc<str>),
    /// Known, and not part of the read model: schema contents, the server record, other parts' trees.
    Unread,
    /// In one of the trees above, but not of its form.
    Malformed,
}

/// Takes a key apart.
pub fn parse(key: &str) -> Subject {
    let Some(path) = key.strip_prefix(ROOT) else { return Subject::Unread };
    parse_path(path).unwrap_or(Subject::Malformed)
}

fn parse_path(path: &str) -> Option<Subject> {
    // A failed login may name an account with slashes, which no account can have.
    if let Some(lock) = path.strip_prefix("account-locks/") {
        return (!lock.is_empty()).then(|| Subject::AccountLock(lock.into()));
    }
    let mut segments = path.split('/');
    let group = segments.next()?;
    let tree = if matches!(group, "ms" | "inst") { segments.next()? } else { "" };
    let subject = match (group, tree) {
        ("ms", "files") => Subject::Service(tenant(&mut segments)?, id(&mut segments)?),
        ("ms", "indexes") => {
            let (name, version) = name_and_version(tenant(&mut segments)?, &mut segments)?;
            Subject::Index(name, version)
        }
        ("ms", "alias") => {
            let (name, version) = name_and_version(tenant(&mut segments)?, &mut segments)?;
            Subject::Alias(name, version)
        }
        ("ms", "tags") => Subject::Tags(tenant(&mut segments)?, id(&mut segments)?),
        ("ms", "schema-ref") => {
            Subject::SchemaRef(tenant(&mut segments)?, id(&mut segments)?, segments.next()?.into())
        }
        ("ms", "schema-sum") => {
            Subject::SchemaSummary(tenant(&mut segments)?, id(&mut segments)?, segments.next()?.into())
        }
        ("ms", "dep-rules") => {
            let tenant = tenant(&mut segments)?;
            let side = segments.next()?;
            let (name, version) = name_and_version(tenant, &mut segments)?;
            match side {
                "c" => Subject::ConsumerRule(name, version),
                "p" => Subject::ProviderRule(name, version),
                _ => return None,
            }
        }
        ("ms", "dep-queue") => return Some(Subject::DependencyRequest),
        ("inst", "files") => Subject::Instance(instance_ref(&mut segments)?),
        ("inst", "leases") => Subject::Lease(instance_ref(&mut segments)?),
        ("inst", "goodbyes") => {
            let at = instance_ref(&mut segments)?;
            Subject::LateGoodbye(at, segments.next()?.parse().ok()?)
        }
        ("inst", "overrides") => Subject::Override(instance_ref(&mut segments)?),
        ("domains", _) => Subject::Domain(segments.next()?.into()),
        ("projects", _) => Subject::Project(tenant(&mut segments)?),
        ("accounts", _) => Subject::Account(segments.next().filter(|name| !name.is_empty())?.into()),
        ("roles", _) => Subject::Role(segments.next().filter(|name| !name.is_empty())?.into()),
        _ => return Some(Subject::Unread),
    };
    segments.next().is_none().then_some(subject)
}

fn tenant<'a>(segments: &mut impl Iterator<Item = &'a str>) -> Option<Tenant> {
    Some(Tenant::new(segments.next()?, segments.next()?))
}

fn id<'a>(segments: &mut impl Iterator<Item = &'a str>) -> Option<ServiceId> {
    segments.next().filter(|id| !id.is_empty()).map(ServiceId::from)
}

fn instance_ref<'a>(segments: &mut impl Iterator<Item = &'a str>) -> Option<InstanceRef> {
    let (tenant, service) = (tenant(segments)?, id(segments)?);
    let instance = segments.next().filter(|id| !id.is_empty()).map(InstanceId::from)?;
    Some(InstanceRef { tenant, service, instance })
}

fn name_and_version<'a>(
    tenant: Tenant,
    segments: &mut impl Iterator<Item = &'a str>,
) -> Option<(ServiceName, Arc<str>)> {
    let name = ServiceName::new(tenant, segments.next()?, segments.next()?, segments.next()?);
    Some((name, segments.next()?.into()))
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
            key.starts_with(needed.prefix) && needed.keys.iter().any(|named| key.starts_with(named))
        })
    }

    #[test]
    fn permissions_cover_all_keys() {
        let named = [SERVER_RECORD, DEPENDENCY_LOCK, RETIRE_SERVICES_LOCK, RETIRE_SCHEMAS_LOCK];
        for key in READ_MODEL.iter().chain(&named).chain(&[SCHEMA_CONTENTS, DEPENDENCY_QUEUE]) {
            assert!(is_needed(key), "{key}");
        }
        assert!(is_needed(&presence("10.12.0.1:30100", "s1", "p1")));
        let all_are_below = |needed: &Needed| needed.keys.iter().all(|key| key.starts_with(needed.prefix));
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
        check(&domain("default"), &Subject::Domain("default".into()));
        check(&project(&tenant), &Subject::Project(tenant));
        check(&account("root"), &Subject::Account("root".into()));
        check(&role("admin"), &Subject::Role("admin".into()));
        check(&account_lock("a/b::::1"), &Subject::AccountLock("a/b::::1".into()));
        assert!(is_needed(&account_by_role("admin", "root")));
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
            "/cse-sr/ms/dep-rules/a/b/x/e/a/n/v",
        ] {
            assert_eq!(parse(malformed), Subject::Malformed, "{malformed}");
        }
    }
}
