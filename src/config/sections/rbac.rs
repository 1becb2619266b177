//! Keys of access control: accounts, roles, tokens. Opens no file.

use std::path::PathBuf;
use std::time::Duration;

use super::super::keys::table;
use super::super::reader::ConfigReader;
use super::registry::Secret;

/// The variable of the environment with the password of the account `root`. It has no key, so that the password can stand neither in a
/// file of the configuration nor in a flag.
const ROOT_PASSWORD: &str = "SC_INIT_ROOT_PASSWORD";

/// The types of resources that `rbac.scope` may name.
const RESOURCE_TYPES: [&str; 7] =
    ["account", "config", "governance", "ops", "role", "service", "service/schema"];
/// The types that are in every scope. Otherwise anybody could make an account.
const ALWAYS: [&str; 2] = ["account", "role"];

/// The requests that need a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RbacScope {
    All,
    /// Those about resources of these types. `account` and `role` are always among them.
    Types(Vec<&'static str>),
}

impl RbacScope {
    /// Whether requests about resources of this type need a token.
    pub fn covers(&self, resource_type: &str) -> bool {
        match self {
            Self::All => true,
            Self::Types(types) => types.contains(&resource_type),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RbacConfig {
    /// Whether requests need a token.
    pub enable: bool,
    /// PEM. Signs tokens.
    pub private_key_file: PathBuf,
    /// PEM. Verifies tokens.
    pub public_key_file: PathBuf,
    /// How long an account is locked for an address after too many failed logins.
    pub release_lock_after: Duration,
    /// How long the record of a failed login is kept.
    pub retain_lock_history_for: Duration,
    pub scope: RbacScope,
    /// The password that the account `root` gets if it does not exist.
    pub root_password: Option<Secret>,
}

impl RbacConfig {
    pub(in super::super) fn read(reader: &mut ConfigReader) -> Self {
        let enable = reader.switch(&table::RBAC_ENABLE);
        let mut file = |key| {
            let path = reader.text(key);
            if enable && path.is_empty() {
                reader.refuse(key, "write the path of a PEM file");
            }
            PathBuf::from(path)
        };
        let private_key_file = file(&table::RBAC_PRIVATE_KEY_FILE);
        let public_key_file = file(&table::RBAC_PUBLIC_KEY_FILE);
        let root_password = reader.variables.find(ROOT_PASSWORD).filter(|password| !password.is_empty());
        Self {
            enable,
            private_key_file,
            public_key_file,
            release_lock_after: reader.duration(&table::RBAC_RELEASE_LOCK_AFTER),
            retain_lock_history_for: reader.duration(&table::RBAC_RETAIN_LOCK_HISTORY_FOR),
            scope: read_scope(reader),
            root_password: root_password.map(Secret::new),
        }
    }
}

fn read_scope(reader: &mut ConfigReader) -> RbacScope {
    let names = reader.list(&table::RBAC_SCOPE);
    let known = |name: &String| RESOURCE_TYPES.into_iter().find(|known| known == name);
    let unknown: Vec<&str> =
        names.iter().filter(|name| *name != "*" && known(name).is_none()).map(String::as_str).collect();
    if !unknown.is_empty() {
        let expected = format!(
            "there is no type of resources {}; write * or some of {}",
            unknown.join(","),
            RESOURCE_TYPES.join(",")
        );
        reader.refuse(&table::RBAC_SCOPE, expected);
    }
    if names.iter().any(|name| name == "*") {
        return RbacScope::All;
    }
    let mut types: Vec<&'static str> = ALWAYS.into_iter().chain(names.iter().filter_map(known)).collect();
    types.sort_unstable();
    types.dedup();
    RbacScope::Types(types)
}
