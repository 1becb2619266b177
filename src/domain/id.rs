//! Identifiers of tenants, services and instances. They are cheap to clone. Clients choose service and instance ids, so two
//! tenants may use the same one: every index of the read model includes the tenant.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
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
    /// Id of a service. The client gives it, or it is derived from the service's key ([`crate::domain::service::derived_id`]).
    ServiceId
}

text_id! {
    /// Id of an instance, unique within its service. The client gives it, or it is 32 random hex digits.
    InstanceId
}

text_id! {
    /// Domain and project as they are in keys: `default/default`.
    Tenant
}

/// Whether a text can be an id or a name.
///
/// It must not be `.` or `..`, because these are steps in a path. All of its characters must be visible: no control
/// characters, no white space, and no format characters such as those that change the writing direction. Two ids that differ
/// in an invisible character would look the same.
///
/// The caller checks whether the text is empty or too long.
pub fn can_name(text: &str) -> bool {
    // This runs on each request, and nearly all texts are plain ASCII. The loop has no early end, so that many bytes are looked at
    // in one step.
    if text.bytes().fold(true, |all, byte| all & byte.is_ascii_graphic()) {
        return !matches!(text, "." | "..");
    }
    !text.chars().any(is_invisible)
}

fn is_invisible(c: char) -> bool {
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

/// Longest domain or project name, in characters.
pub const MAX_TENANT_PART: usize = 64;

impl Tenant {
    pub fn new(domain: &str, project: &str) -> Self {
        Self::from([domain, "/", project].concat())
    }

    pub fn default_tenant() -> Self {
        Self::from("default/default")
    }

    /// Whether this is `default/default`, the tenant of shared services.
    pub fn is_default(&self) -> bool {
        self.as_str() == "default/default"
    }

    pub fn domain(&self) -> &str {
        self.as_str().split_once('/').map_or(self.as_str(), |(domain, _)| domain)
    }

    pub fn project(&self) -> &str {
        self.as_str().split_once('/').map_or("", |(_, project)| project)
    }

    /// Reads `domain/project`. `None` if one of them is not a valid name.
    pub fn parse(text: &str) -> Option<Self> {
        let (domain, project) = text.split_once('/')?;
        let is_name = |part| Self::refusal("", part).is_none();
        (is_name(domain) && is_name(project)).then(|| Self::from(text))
    }

    /// Why a text is not a valid domain or project name. `None` if it is one: it has 1 to 64 characters, [`can_name`] accepts
    /// it, and it has no `/`, which would break the keys in the store.
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
