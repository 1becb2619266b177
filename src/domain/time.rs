//! Times as texts, in answers and in queries.

use jiff::Timestamp;

/// A time as RFC 3339 in UTC, with milliseconds: `2026-01-02T03:04:05.678Z`. A time outside of the years -9999 to 9999 is that of 1970.
pub fn rfc3339(unix_millis: i64) -> String {
    format!("{:.3}", Timestamp::from_millisecond(unix_millis).unwrap_or_default())
}

/// The Unix time in milliseconds of a time as RFC 3339. `None` for another text.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc_with_milliseconds() {
        assert_eq!(rfc3339(1_767_323_045_678), "2026-01-02T03:04:05.678Z");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(i64::MAX), rfc3339(0));
    }

    #[test]
    fn times_are_read_back() {
        for (text, expected) in [
            ("2026-01-02T03:04:05.678Z", Some(1_767_323_045_678)),
            ("2026-01-02T03:04:05Z", Some(1_767_323_045_000)),
            ("2026-01-02T04:04:05.678+01:00", Some(1_767_323_045_678)),
            ("2026-01-02T03:04:05", None),
            ("2026-01-02", None),
            ("", None),
        ] {
            assert_eq!(parse_rfc3339(text), expected, "{text}");
        }
    }
}
