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

/// Whether a text can be an id or a name of anything: it is not `.` or `..`, which a path drops or climbs by, and each of
/// its characters can be seen. Characters that cannot: control characters, blanks of every kind, and format characters,
/// among them those that turn the direction of a line. With them two ids would look like one.
///
/// Emptiness and length are the caller's to judge.
pub fn can_name(text: &str) -> bool {
    // Nearly all are plain ASCII, and this is asked for each request.
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return !matches!(text, "." | "..");
    }
    !text.chars().any(is_unseen)
}

fn is_unseen(c: char) -> bool {
    c.is_control() || c.is_whitespace() || FORMAT.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// Unicode's format characters (general category Cf), first and last of each range.
const FORMAT: [(char, char); 21] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{2064}'),
    ('\u{2066}', '\u{206f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0001}', '\u{e0001}'),
    ('\u{e0020}', '\u{e007f}'),
];

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

    /// What is wrong with a domain or project name, if anything: empty, longer than 64 characters, with `/`, which would
    /// break the keys it becomes part of, or no name at all ([`can_name`]).
    pub fn refusal(part: &str, value: &str) -> Option<String> {
        let bad = value.is_empty()
            || value.chars().count() > MAX_TENANT_PART
            || value.contains('/')
            || !can_name(value);
        bad.then(|| {
            let shown: String = value.chars().take(80).flat_map(char::escape_debug).collect();
            format!(
                "{part} '{shown}' must have 1 to {MAX_TENANT_PART} printable characters, without '/' or blanks, and be \
                 neither '.' nor '..'"
            )
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

    #[test]
    fn what_cannot_name_anything() {
        for good in ["", "a", "...", ".a", "a.", "äöü", "中文", "a/b", "%2e", "\u{1f600}", "a\u{308}"] {
            assert!(can_name(good), "{good:?}");
        }
        let unseen = ["a b", "\t", "a\n", "\0", "\u{7f}", "\u{85}", "\u{a0}", "\u{3000}", "\u{2028}"];
        let format = ["\u{ad}", "a\u{200b}", "\u{200f}x", "\u{202e}", "a\u{2066}b", "\u{feff}a", "\u{e0041}"];
        for bad in [".", ".."].into_iter().chain(unseen).chain(format) {
            assert!(!can_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn domains_and_projects() {
        for good in ["default", "a.b", "ä", "A_B~", &"ä".repeat(64)] {
            assert_eq!(Tenant::refusal("project", good), None, "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "a\u{202e}b", &"x".repeat(65)] {
            assert!(Tenant::refusal("project", bad).is_some(), "{bad:?}");
        }
        let refusal = Tenant::refusal("header X-Domain-Name", "a\u{202e}\nb").unwrap_or_default();
        assert!(refusal.starts_with("header X-Domain-Name 'a\\u{202e}\\nb' must have"), "{refusal}");
    }
}
