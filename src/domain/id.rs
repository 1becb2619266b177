//! Identities: tenant, service id, instance id. Cheap to clone; every index of the read model carries the tenant, since
//! clients choose ids.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }
    };
}

text_id! {
    /// Id of a service: given by the client, or derived from its key ([`crate::domain::service::derived_id`]).
    ServiceId
}

text_id! {
    /// Id of an instance, unique within its service: given by the client, or 32 hex digits.
    InstanceId
}

text_id! {
    /// Domain and project as in keys: `default/default`.
    Tenant
}

/// Longest domain or project name.
pub const MAX_TENANT_PART: usize = 64;

impl Tenant {
    /// The tenant of a domain and a project.
    pub fn new(domain: &str, project: &str) -> Self {
        Self::from(format!("{domain}/{project}"))
    }

    /// `default/default`.
    pub fn default_tenant() -> Self {
        Self::from("default/default")
    }

    /// Whether this is `default/default`, where shared services live.
    pub fn is_default(&self) -> bool {
        self.as_str() == "default/default"
    }

    /// The domain.
    pub fn domain(&self) -> &str {
        self.as_str().split_once('/').map_or(self.as_str(), |(domain, _)| domain)
    }

    /// The project.
    pub fn project(&self) -> &str {
        self.as_str().split_once('/').map_or("", |(_, project)| project)
    }

    /// The tenant that a text names: `domain/project`, both valid names.
    pub fn parse(text: &str) -> Option<Self> {
        let (domain, project) = text.split_once('/')?;
        let is_name = |part| Self::refusal("", part).is_none();
        (is_name(domain) && is_name(project)).then(|| Self::from(text))
    }

    /// What is wrong with a domain or project name, if anything: empty, `.` or `..`, longer than 64 characters, or with `/`,
    /// blanks or control characters, which would break the keys it becomes part of.
    pub fn refusal(part: &str, value: &str) -> Option<String> {
        let bad = matches!(value, "" | "." | "..")
            || value.chars().count() > MAX_TENANT_PART
            || value.chars().any(|c| c == '/' || c.is_whitespace() || c.is_control());
        bad.then(|| {
            let shown: String = value.chars().take(80).collect();
            format!("{part} '{shown}' must have 1 to {MAX_TENANT_PART} characters, without '/' or blanks")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_two_names() {
        let long = "x".repeat(MAX_TENANT_PART);
        for good in ["default/default", "d9/p9", "ä/-", &format!("{long}/{long}")] {
            assert_eq!(Tenant::parse(good).as_ref().map(Tenant::as_str), Some(good));
        }
        let bad =
            ["", "/", "d", "d/", "/p", "d/p/q", "../p", "d/..", "./p", "d/.", "d /p", "d/p\n", "d/\u{1}"];
        for bad in bad.into_iter().chain([format!("{long}x/p").as_str(), &format!("d/{long}x")]) {
            assert_eq!(Tenant::parse(bad), None, "{bad:?}");
        }
    }
}
