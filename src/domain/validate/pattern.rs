//! Patterns of texts. Each has a hand-written matcher, and the text that an error shows for it. Nothing here knows which member
//! has which pattern.
//!
//! The texts are the original server's regular expressions, because operators know them. Some patterns are stricter than the
//! original's: they reject repeated words, a `/` in a service id, and invisible characters in an id. Their texts say so. A
//! "blank" is ASCII white space.
//!
//! The description of the API states each pattern by [`Stated`], which a test compares with the matcher.

use std::fmt;

use crate::domain::id::can_name;
use crate::domain::{Tenant, account, version};

/// A matcher, the text that errors show for it, and what the description of the API states.
#[derive(Clone, Copy)]
pub struct Pattern {
    text: &'static str,
    stated: Stated,
    matches: fn(&str) -> bool,
}

/// A pattern as JSON Schema has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stated {
    /// All texts that match.
    OneOf(&'static [&'static str]),
    /// A regular expression without look-around, as ECMA-262 and Rust's `regex` read it.
    Regex(&'static str),
    /// As [`Self::Regex`], without the texts that the second expression finds.
    RegexBut(&'static str, &'static str),
}

/// Finds `.` and `..`.
const STEP: &str = r"^\.\.?$";

/// The characters that [`can_name`] rejects, for a class of a regular expression.
macro_rules! invisible {
    () => {
        concat!(
            r"\u0000-\u0020\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e",
            r"\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ufeff\ufff9-\ufffb",
            "\u{110bd}\u{110cd}\u{13430}-\u{1343f}\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0001}\u{e0020}-\u{e007f}",
        )
    };
}

/// A number of a version: 0 to 32767, with any zeros before it.
macro_rules! version_number {
    () => {
        r"0*(?:[0-9]{1,4}|[12][0-9]{4}|3[01][0-9]{3}|32[0-6][0-9]{2}|327[0-5][0-9]|3276[0-7])"
    };
}

/// A version of at most three numbers.
macro_rules! short_version {
    () => {
        concat!(version_number!(), r"(?:\.", version_number!(), "){0,2}")
    };
}

macro_rules! tag {
    () => {
        r"[a-zA-Z][a-zA-Z0-9_\-.]{0,63}"
    };
}

impl Pattern {
    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        (self.matches)(text)
    }

    pub fn stated(&self) -> Stated {
        self.stated
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// Names of applications, services, frameworks.
pub const NAME: Pattern = Pattern {
    text: r"^[a-zA-Z0-9]*$|^[a-zA-Z0-9][a-zA-Z0-9_\-.]*[a-zA-Z0-9]$",
    stated: Stated::Regex(r"^[a-zA-Z0-9]*$|^[a-zA-Z0-9][a-zA-Z0-9_\-.]*[a-zA-Z0-9]$"),
    matches: |text| framed(text, is_name_byte),
};

/// A name or an alias in a find. Aliases may have colons.
pub const FIND_NAME: Pattern = Pattern {
    text: r"^[a-zA-Z0-9]*$|^[a-zA-Z0-9][a-zA-Z0-9_\-.:]*[a-zA-Z0-9]$",
    stated: Stated::Regex(r"^[a-zA-Z0-9]*$|^[a-zA-Z0-9][a-zA-Z0-9_\-.:]*[a-zA-Z0-9]$"),
    matches: |text| framed(text, |byte| is_name_byte(byte) || byte == b':'),
};

/// Any id, see [`can_name`].
pub const ID: Pattern = Pattern {
    text: r"^\S*$ and printable, neither '.' nor '..'",
    stated: Stated::RegexBut(concat!("^[^", invisible!(), "]*$"), STEP),
    matches: can_name,
};

/// The id that a new service gives, or nothing. It has no `/`: no URL would reach such a service, and its keys would look like
/// keys of another project.
pub const NEW_SERVICE_ID: Pattern = Pattern {
    text: r"^[^\s/]*$ and printable, neither '.' nor '..'",
    stated: Stated::RegexBut(concat!("^[^/", invisible!(), "]*$"), STEP),
    matches: |text| can_name(text) && !text.contains('/'),
};

/// An id in a list of ids. The pattern includes the length.
pub const LISTED_ID: Pattern = Pattern {
    text: r"^\S{1,64}$ and printable, neither '.' nor '..'",
    stated: Stated::RegexBut(concat!("^[^", invisible!(), "]{1,64}$"), STEP),
    matches: |text| (1..=64).contains(&text.chars().count()) && can_name(text),
};

/// No blanks.
pub const NO_BLANKS: Pattern = Pattern {
    text: r"^\S*$",
    stated: Stated::Regex(r"^[^ \t\n\f\r]*$"),
    matches: |text| !text.bytes().any(is_blank),
};

/// One version, or nothing.
pub const VERSION: Pattern = Pattern {
    text: "the form x[.y[.z]] where x y and z are 0-32767 range",
    stated: Stated::Regex(concat!("^(?:", version_number!(), r"(?:\.", version_number!(), "){0,3})?$")),
    matches: |text| text.is_empty() || version::parse(text).is_some(),
};

/// One version, a range of versions, `latest`, or nothing. Each version has at most three numbers.
pub const VERSION_RANGE: Pattern = Pattern {
    text: "the form x[.y[.z]] or x[.y[.z]]+ or x[.y[.z]]-x[.y[.z]] or 'latest' where x y and z are 0-32767 range",
    stated: Stated::Regex(concat!(
        "^(?:latest|",
        short_version!(),
        r"\+?|",
        short_version!(),
        "-",
        short_version!(),
        ")?$"
    )),
    matches: is_version_range,
};

/// Level of a service.
pub const LEVEL: Pattern = Pattern {
    text: "^(FRONT|MIDDLE|BACK)$",
    stated: Stated::OneOf(&["FRONT", "MIDDLE", "BACK"]),
    matches: |text| matches!(text, "FRONT" | "MIDDLE" | "BACK"),
};

/// Status of a service, or nothing.
pub const SERVICE_STATUS: Pattern = Pattern {
    text: "^(UP|DOWN)?$",
    stated: Stated::OneOf(&["", "UP", "DOWN"]),
    matches: |text| matches!(text, "" | "UP" | "DOWN"),
};

/// Environment, or nothing.
pub const ENVIRONMENT: Pattern = Pattern {
    text: "^(development|testing|acceptance|production)?$",
    stated: Stated::OneOf(&["", "development", "testing", "acceptance", "production"]),
    matches: |text| matches!(text, "" | "development" | "testing" | "acceptance" | "production"),
};

/// Status of an account, or nothing.
pub const ACCOUNT_STATUS: Pattern = Pattern {
    text: "^(active|inactive)?$",
    stated: Stated::OneOf(&["", account::ACTIVE, account::INACTIVE]),
    matches: |text| matches!(text, "" | account::ACTIVE | account::INACTIVE),
};

/// What registered a service, or nothing.
pub const REGISTER_BY: Pattern = Pattern {
    text: "^(SDK|SIDECAR|PLATFORM)?$",
    stated: Stated::OneOf(&["", "SDK", "SIDECAR", "PLATFORM"]),
    matches: |text| matches!(text, "" | "SDK" | "SIDECAR" | "PLATFORM"),
};

/// Second name of a service.
pub const ALIAS: Pattern = Pattern {
    text: r"^[a-zA-Z0-9_\-.:]*$, neither '.' nor '..'",
    stated: Stated::RegexBut(r"^[a-zA-Z0-9_\-.:]*$", STEP),
    matches: |text| text.bytes().all(|byte| is_name_byte(byte) || byte == b':') && can_name(text),
};

/// Tenant of a service in a request, or nothing.
pub const TENANT: Pattern = Pattern {
    text: "the form domain/project where both have 1 to 64 characters without '/' or blanks, and are neither '.' nor '..'",
    stated: Stated::RegexBut(
        concat!("^(?:[^/", invisible!(), "]{1,64}/[^/", invisible!(), "]{1,64})?$"),
        r"(?:^|/)\.\.?(?:/|$)",
    ),
    matches: |text| text.is_empty() || Tenant::parse(text).is_some(),
};

/// A REST path.
pub const PATH: Pattern = Pattern {
    text: r"^[A-Za-z0-9.,?'\\/+&amp;%$#=~_\-@{}]*$",
    stated: Stated::Regex(r"^[A-Za-z0-9.,?'\\/+&;%$#=~_\-@{}]*$"),
    matches: |text| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || br".,?'\/+&;%$#=~_-@{}".contains(&byte))
    },
};

/// Schema id in the list of a service. The pattern includes the length.
pub const LISTED_SCHEMA_ID: Pattern = Pattern {
    text: r"^[a-zA-Z0-9]{1,160}$|^[a-zA-Z0-9][a-zA-Z0-9_\-.]{0,158}[a-zA-Z0-9]$",
    stated: Stated::Regex(r"^[a-zA-Z0-9]{1,160}$|^[a-zA-Z0-9][a-zA-Z0-9_\-.]{0,158}[a-zA-Z0-9]$"),
    matches: |text| (1..=160).contains(&text.len()) && framed(text, is_name_byte),
};

/// Schema id.
pub const SCHEMA_ID: Pattern = Pattern {
    text: r"^[a-zA-Z0-9]+$|^[a-zA-Z0-9][a-zA-Z0-9_\-.]*[a-zA-Z0-9]$",
    stated: Stated::Regex(r"^[a-zA-Z0-9]+$|^[a-zA-Z0-9][a-zA-Z0-9_\-.]*[a-zA-Z0-9]$"),
    matches: |text| !text.is_empty() && framed(text, is_name_byte),
};

/// Summary of a schema.
pub const SUMMARY: Pattern = Pattern {
    text: "^[a-zA-Z0-9]*$",
    stated: Stated::Regex("^[a-zA-Z0-9]*$"),
    matches: |text| text.bytes().all(|byte| byte.is_ascii_alphanumeric()),
};

/// Key or value of a tag. The pattern includes the length.
pub const TAG: Pattern = Pattern {
    text: r"^[a-zA-Z][a-zA-Z0-9_\-.]{0,63}$",
    stated: Stated::Regex(concat!("^", tag!(), "$")),
    matches: |text| {
        text.len() <= 64
            && text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic())
            && text.bytes().all(is_name_byte)
    },
};

/// Names of tags with commas between them, or nothing.
pub const TAGS: Pattern = Pattern {
    text: "names of tags with commas between them",
    stated: Stated::Regex(concat!("^(?:", tag!(), "(?:,", tag!(), ")*)?$")),
    matches: |text| text.is_empty() || text.split(',').all(|tag| TAG.matches(tag)),
};

/// The domain of a tenant in a header, or nothing. The description states only ASCII: how other characters are sent in a header
/// is not standardized.
pub const DOMAIN: Pattern = Pattern {
    text: "1 to 64 printable characters without '/' or blanks, neither '.' nor '..'",
    stated: Stated::RegexBut("^[!-.0-~]{0,64}$", STEP),
    matches: |text| text.is_empty() || Tenant::refusal("", text).is_none(),
};

/// The project of a tenant in a path.
pub const PROJECT: Pattern = Pattern {
    text: "1 to 64 printable characters without '/' or blanks, neither '.' nor '..'",
    stated: Stated::RegexBut(concat!("^[^/", invisible!(), "]{1,64}$"), STEP),
    matches: |text| Tenant::refusal("", text).is_none(),
};

/// As [`ID`], in a header. The description states only ASCII, as for [`DOMAIN`].
pub const HEADER_ID: Pattern = Pattern { stated: Stated::RegexBut("^[!-~]*$", STEP), ..ID };

/// Instance id, or nothing.
pub const INSTANCE_ID: Pattern = Pattern {
    text: "^[A-Za-z0-9_.-]*$, neither '.' nor '..'",
    stated: Stated::RegexBut("^[A-Za-z0-9_.-]*$", STEP),
    matches: |text| text.bytes().all(is_name_byte) && can_name(text),
};

/// Name of a data center, a region or a zone.
pub const PLACE: Pattern = Pattern {
    text: "^[A-Za-z0-9_.-]+$",
    stated: Stated::Regex("^[A-Za-z0-9_.-]+$"),
    matches: |text| !text.is_empty() && text.bytes().all(is_name_byte),
};

/// Any text with at least one character that is not a blank.
pub const ANY: Pattern = Pattern {
    text: r"\S+",
    stated: Stated::Regex(r"[^ \t\n\f\r]"),
    matches: |text| !text.bytes().all(is_blank),
};

/// Status of a new instance, or nothing.
pub const NEW_INSTANCE_STATUS: Pattern = Pattern {
    text: "^(UP|DOWN|STARTING|TESTING|OUTOFSERVICE)?$",
    stated: Stated::OneOf(&["", "UP", "DOWN", "STARTING", "TESTING", "OUTOFSERVICE"]),
    matches: |text| text.is_empty() || is_instance_status(text),
};

/// Status of an instance.
pub const INSTANCE_STATUS: Pattern = Pattern {
    text: "^(UP|DOWN|STARTING|TESTING|OUTOFSERVICE)$",
    stated: Stated::OneOf(&["UP", "DOWN", "STARTING", "TESTING", "OUTOFSERVICE"]),
    matches: is_instance_status,
};

/// Mode of a health check.
pub const HEALTH_MODE: Pattern = Pattern {
    text: "^(push|pull)$",
    stated: Stated::OneOf(&["push", "pull"]),
    matches: |text| matches!(text, "push" | "pull"),
};

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace()
}

/// Whether a text is empty, or has a letter or a digit at both ends and only allowed bytes.
fn framed(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    let at_end = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    at_end(text.bytes().next()) && at_end(text.bytes().next_back()) && text.bytes().all(allowed)
}

fn is_instance_status(text: &str) -> bool {
    matches!(text, "UP" | "DOWN" | "STARTING" | "TESTING" | "OUTOFSERVICE")
}

fn is_version_range(text: &str) -> bool {
    let version = |part: &str| version::parse(part).is_some() && part.matches('.').count() <= 2;
    match text {
        "" | "latest" => true,
        _ => match text.split_once('-') {
            Some((from, to)) => version(from) && version(to),
            None => version(text.strip_suffix('+').unwrap_or(text)),
        },
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    fn check(pattern: Pattern, fitting: &[&str], other: &[&str]) {
        for text in fitting {
            assert!(pattern.matches(text), "{pattern} must take {text:?}");
        }
        for text in other {
            assert!(!pattern.matches(text), "{pattern} must refuse {text:?}");
        }
        let is_stated = stated(pattern);
        for text in fitting.iter().chain(other) {
            assert_eq!(is_stated(text), pattern.matches(text), "{:?} with {text:?}", pattern.stated());
        }
    }

    /// A matcher made of what the description of the API states.
    fn stated(pattern: Pattern) -> impl Fn(&str) -> bool {
        let regex = |text: &str| regex::Regex::new(text).unwrap();
        let (is, is_not, listed) = match pattern.stated() {
            Stated::OneOf(texts) => (None, None, texts),
            Stated::Regex(is) => (Some(regex(is)), None, &[][..]),
            Stated::RegexBut(is, is_not) => (Some(regex(is)), Some(regex(is_not)), &[][..]),
        };
        move |text| match &is {
            None => listed.contains(&text),
            Some(is) => is.is_match(text) && !is_not.as_ref().is_some_and(|is_not| is_not.is_match(text)),
        }
    }

    /// All patterns whose statement is exact for every text.
    const EXACT: [Pattern; 27] = [
        NAME,
        FIND_NAME,
        ID,
        NEW_SERVICE_ID,
        LISTED_ID,
        NO_BLANKS,
        VERSION,
        VERSION_RANGE,
        LEVEL,
        SERVICE_STATUS,
        ENVIRONMENT,
        ACCOUNT_STATUS,
        REGISTER_BY,
        ALIAS,
        TENANT,
        PATH,
        LISTED_SCHEMA_ID,
        SCHEMA_ID,
        SUMMARY,
        TAG,
        TAGS,
        PROJECT,
        INSTANCE_ID,
        PLACE,
        ANY,
        NEW_INSTANCE_STATUS,
        INSTANCE_STATUS,
    ];

    #[test]
    fn what_is_stated_is_what_matches() {
        let alphabet: Vec<char> = "aZ09_-.:/,+ \t\n\r\u{b}\u{c}\u{85}\u{a0}\u{ad}\u{200b}\u{202e}\u{2060}\u{3000}\u{feff}äµ中😀\u{e0041}\0@%{}'?\\"
            .chars()
            .collect();
        let words = [
            "latest",
            "UP",
            "DOWN",
            "testing",
            "SDK",
            "1.0",
            "32767",
            "32768",
            "0.0.0+",
            "1-2",
            "default/default",
            "..",
        ];
        let patterns: Vec<_> = EXACT.into_iter().map(|pattern| (pattern, stated(pattern))).collect();
        let ascii: Vec<_> =
            [DOMAIN, HEADER_ID].into_iter().map(|pattern| (pattern, stated(pattern))).collect();
        let compare = |text: &str| {
            for (pattern, is_stated) in &patterns {
                assert_eq!(is_stated(text), pattern.matches(text), "{:?} with {text:?}", pattern.stated());
            }
            for (pattern, is_stated) in ascii.iter().filter(|_| text.is_ascii()) {
                assert_eq!(is_stated(text), pattern.matches(text), "{:?} with {text:?}", pattern.stated());
            }
        };
        // Each character alone.
        (0..=0x2_0000)
            .chain(0xe_0000..0xe_0100)
            .filter_map(char::from_u32)
            .for_each(|one| compare(one.encode_utf8(&mut [0; 4])));
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..random.random_range(0..5) {
                match random.random_range(0..8) {
                    0 => text.push_str(words[random.random_range(0..words.len())]),
                    1 => text.push_str(&"x".repeat(random.random_range(0..70))),
                    _ => text.push(alphabet[random.random_range(0..alphabet.len())]),
                }
            }
            compare(&text);
        }
    }

    #[test]
    fn names() {
        let bad =
            ["*", "-", ".", "_", "-a", "a-", ".a", "a.", "_a", "a_", "a b", "a/b", "ä", "a\n", "\n", "a@b"];
        check(NAME, &["", "a", "0", "A1", "a-b_c.d", "a--b..c__d"], &bad);
        check(NAME, &[], &["a:b", "a+b", "a,b"]);
        check(FIND_NAME, &["", "a", "a:b", "a-b_c.d:e"], &bad);
        check(FIND_NAME, &[], &[":", "a:", ":a"]);
        check(SCHEMA_ID, &["a", "a-b_c.d"], &bad);
        check(SCHEMA_ID, &[&"x".repeat(999)], &["", "a:b"]);
        check(LISTED_SCHEMA_ID, &["a", "a-b_c.d", &"x".repeat(160)], &bad);
        check(LISTED_SCHEMA_ID, &[], &["", &"x".repeat(161)]);
        check(ALIAS, &["", "aA:-_.1", "-", ":x:", "._-"], &["@$#%", "a b", "a/b", "ä", "a,b", ".", ".."]);
        check(INSTANCE_ID, &["", "a", "-._", "A9", "..."], &["a@b", "a b", "ä", "a/b", ".", ".."]);
        check(PLACE, &["a", "_.-", "Z1"], &["", "a b", "ä"]);
        check(
            TAG,
            &["a", "A-_.9", &"x".repeat(64)],
            &["", " ", "0a", "_a", "a b", "b/c", "ä", &"x".repeat(65)],
        );
        check(SUMMARY, &["", "aZ9"], &["_", "a b", "ä"]);
    }

    #[test]
    fn ids() {
        let bad = [" ", "a b", "a\t", "\n", "\r", "\u{b}", "\u{a0}", "a\u{202e}b", ".", ".."];
        check(ID, &["", "a", "äöü:;,@!$*()=~%", "a/b", "..."], &bad);
        check(NEW_SERVICE_ID, &["", "a", "äöü:;,@!$*()=~%\\"], &bad);
        check(NEW_SERVICE_ID, &[], &["a/b", "/", "../x"]);
        check(LISTED_ID, &["a", &"ä".repeat(64)], &bad);
        check(LISTED_ID, &[], &["", &"x".repeat(65)]);
        check(NO_BLANKS, &["", ".", "a/b", "\u{a0}"], &[" ", "a\t"]);
        check(ANY, &["a", " a ", "ä", "\u{b}"], &["", " ", "\t\n\r\u{c} "]);
    }

    #[test]
    fn versions() {
        check(VERSION, &["", "1", "1.0", "1.0.0", "1.0.0.0", "00.0.1", "32767.32767.32767.32767"], &[]);
        let bad = ["1.", "1.a.0", "1.32768.0", "1.1.0.0.0", ".", "+", "-", " 1", "1-", "-1", "1.0-", "٣"];
        check(VERSION, &[], &bad);
        check(VERSION, &[], &["latest", "0.0.0+", "0.0.0-1.0.0"]);
        check(VERSION_RANGE, &["", "latest", "1", "1.0.0", "1.0+", "0.0.0-1.0.0", "1-2"], &bad);
        check(
            VERSION_RANGE,
            &[],
            &["1.0.0.0", "1.0.0.0+", "1-2+", "1+-2", "1-2-3", "1++", "Latest", "1-32768"],
        );
    }

    #[test]
    fn words() {
        let stages = ["development", "testing", "acceptance", "production"];
        check(
            ENVIRONMENT,
            &["", stages[0], stages[1], stages[2], stages[3]],
            &["Development", "dev", "prod", " "],
        );
        check(ENVIRONMENT, &[], &["testing ", "developmenttesting", "testingtesting"]);
        check(
            REGISTER_BY,
            &["", "SDK", "SIDECAR", "PLATFORM"],
            &["sdk", "InValid", "SDKSIDECAR", "SDK,SIDECAR", " "],
        );
        check(LEVEL, &["FRONT", "MIDDLE", "BACK"], &["", "front", "FRONTMIDDLE", " BACK"]);
        check(SERVICE_STATUS, &["", "UP", "DOWN"], &["up", "UPDOWN", "STARTING", "TESTING", "OUTOFSERVICE"]);
        check(
            NEW_INSTANCE_STATUS,
            &["", "UP", "DOWN", "STARTING", "TESTING", "OUTOFSERVICE"],
            &["up", "Invalid"],
        );
        check(INSTANCE_STATUS, &["UP", "DOWN", "STARTING", "TESTING", "OUTOFSERVICE"], &["", "up", "DOWN "]);
        check(HEALTH_MODE, &["push", "pull"], &["", "PUSH", "poll", "pushpull"]);
    }

    #[test]
    fn tenants() {
        check(
            TENANT,
            &["", "default/default", "d9/p9"],
            &[" ", "d", "/", "d/", "/p", "..", "../p", "d/p/q", "d/p\u{7}", &"d/".repeat(50_000)],
        );
    }

    #[test]
    fn rest_paths() {
        check(
            PATH,
            &["", "/a/{b}?c=d&e=f,g;h", r"\'+%$#=~_-@"],
            &[" ", "ä", "a:b", "(", "*", "\"", "<", "!", "a\n"],
        );
    }
}
