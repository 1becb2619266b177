//! Versions of services: one to four numbers.

/// A version as four numbers, which order as the versions do. Missing numbers are 0. `None` unless the text has one to four
/// numbers from 0 to 32767.
pub fn parse(text: &str) -> Option<[u16; 4]> {
    let mut parts = [0; 4];
    for (at, part) in text.split('.').enumerate() {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        *parts.get_mut(at)? = digits.then(|| part.parse::<u16>().ok())?.filter(|number| *number <= 32767)?;
    }
    Some(parts)
}

/// Which versions of a provider a consumer wants. Finds answer all versions, and clients apply the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionRule {
    /// `latest`: the highest one.
    Latest,
    /// `1.2+`: this one and higher ones.
    From([u16; 4]),
    /// `1.2-2.0`: from the first one on, below the second one.
    Between([u16; 4], [u16; 4]),
    /// `1.2.3`.
    Exact([u16; 4]),
}

impl VersionRule {
    /// `None` for a text that is no rule.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        if let Some(least) = text.strip_suffix('+') {
            return parse(least).map(Self::From);
        }
        match text.split_once('-') {
            Some((least, end)) => Some(Self::Between(parse(least)?, parse(end)?)),
            None => parse(text).map(Self::Exact),
        }
    }

    /// Whether the rule wants a version. `highest` is the highest version of the provider.
    pub fn wants(self, version: [u16; 4], highest: [u16; 4]) -> bool {
        match self {
            Self::Latest => version == highest,
            Self::From(least) => version >= least,
            Self::Between(least, end) => least <= version && version < end,
            Self::Exact(wanted) => version == wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(parse("1"), Some([1, 0, 0, 0]));
        assert_eq!(parse("32767.32767.32767.32767"), Some([32767; 4]));
        for bad in ["", "1.", "1.a", "1.32768", "1.2.3.4.5", "+1", "1.-1", "99999999999"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn rules_want_versions() {
        let check = |rule: &str, version: &str, expected: bool| {
            let (Some(rule), Some(version)) = (VersionRule::parse(rule), parse(version)) else {
                panic!("{rule} {version}")
            };
            assert_eq!(rule.wants(version, [2, 0, 0, 0]), expected, "{rule:?} {version:?}");
        };
        check("latest", "2.0.0", true);
        check("latest", "1.9.9", false);
        check("0+", "1.0", true);
        check("1.0.1+", "1.0.1.0", true);
        check("1.0.1+", "1.0.0", false);
        check("1.0-2.0", "1.0.0", true);
        check("1.0-2.0", "2.0.0", false);
        check("1.0.0", "1", true);
        check("1.0.0", "1.0.0.1", false);
        for text in ["", "+", "0%2B", "1-", "-1", "1-2-3", "Latest", "a", "1.0++"] {
            assert_eq!(VersionRule::parse(text), None, "{text}");
        }
    }
}
