//! Times in queries.

use super::spec::Parameter;
use crate::clock::Clock;
use crate::config::parse_duration;
use crate::domain::time;
use crate::domain::validate::rule::Shown;
use crate::error::Error;

/// What a time in a query may be: all that [`read`] takes, except a few spellings that nobody uses.
const PATTERN: &str = concat!(
    "^(?:[12][0-9]{3}-",
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))",
    "T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-](?:0[0-9]|1[0-9]|2[0-3]):[0-5][0-9])",
    "|[0-9]{1,6}h(?:[0-9]{1,7}m)?(?:[0-9]{1,7}s)?(?:[0-9]{1,7}ms)?|[0-9]{1,7}m(?:[0-9]{1,7}s)?(?:[0-9]{1,7}ms)?",
    "|[0-9]{1,7}s(?:[0-9]{1,7}ms)?|[0-9]{1,7}ms|0)$",
);

/// A parameter whose value [`read`] reads. `about` says what it is the time of.
pub const fn parameter(name: &'static str, about: &'static str) -> Parameter {
    Parameter::query(name, about).matching(PATTERN)
}

/// Now, as a Unix time in milliseconds.
pub fn now(clock: &Clock) -> i64 {
    i64::try_from(clock.unix_millis()).unwrap_or(i64::MAX)
}

/// The Unix time in milliseconds that a query means: a time as RFC 3339, or a duration before now such as `15m`. 400001 for another
/// text.
pub fn read(parameter: &str, value: &str, now: i64) -> Result<i64, Error> {
    if let Some(time) = time::parse_rfc3339(value) {
        return Ok(time);
    }
    if let Ok(back) = parse_duration(value) {
        return Ok(now.saturating_sub(i64::try_from(back.as_millis()).unwrap_or(i64::MAX)));
    }
    let shown = Shown::new(value);
    Err(Error::invalid(format!(
        "the parameter '{parameter}' is '{shown}'; give a time such as 2026-11-29T00:12:13Z, or a duration before now such as 15m"
    )))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_911_133_123;

    #[test]
    fn a_query_names_a_time_or_a_duration_before_now() {
        let stated = regex::Regex::new(PATTERN).unwrap();
        for (value, expected) in [
            ("2026-11-29T00:12:13.123Z", NOW),
            ("2026-11-29T00:12:13Z", NOW - 123),
            ("2026-11-29T01:12:13.123+01:00", NOW),
            ("15m", NOW - 900_000),
            ("1h30m", NOW - 5_400_000),
            ("0", NOW),
            ("0s", NOW),
            ("2s1500ms", NOW - 3_500),
            ("876000h", NOW - 3_153_600_000_000),
        ] {
            assert_eq!(read("since", value, NOW).unwrap(), expected, "{value}");
            assert!(stated.is_match(value), "{value}");
        }
        for wrong in ["", "x", "15", "-15m", "yesterday", "2026-11-29", "2026-11-29T00:12:13", "1d"] {
            let error = read("since", wrong, NOW).unwrap_err();
            assert!(error.detail.contains("'since'"), "{error:?}");
        }
    }
}
