//! The verbs and the types of resources that permissions are made of.

use std::fmt;

/// What a request does with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Get,
    Create,
    Update,
    Delete,
}

/// The types of resources that roles give access to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Accounts and account locks.
    Account,
    Role,
    Config,
    /// Services, instances, tags, reads of dependencies, heartbeats, watches, statistics.
    Service,
    ServiceSchema,
    Governance,
    /// The admin API.
    Ops,
}

impl Verb {
    pub const ALL: [Self; 4] = [Self::Get, Self::Create, Self::Update, Self::Delete];

    /// The verb in a role.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl Resource {
    pub const ALL: [Self; 7] = [
        Self::Account,
        Self::Role,
        Self::Config,
        Self::Service,
        Self::ServiceSchema,
        Self::Governance,
        Self::Ops,
    ];

    /// The type in a role, and in `rbac.scope`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Role => "role",
            Self::Config => "config",
            Self::Service => "service",
            Self::ServiceSchema => "service/schema",
            Self::Governance => "governance",
            Self::Ops => "ops",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.name() == name)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
