//! Times and durations as the node sends them, in the words of a table.

use serde_json::Value;

use super::output::{age, shown};
use crate::clock::Clock;
use crate::domain::time::parse_rfc3339;

/// Seconds since 1970 of a member: a number, digits in a text, or RFC 3339.
fn seconds(value: &Value, pointer: &str) -> Option<i64> {
    let text = shown(value, pointer);
    text.parse().ok().or_else(|| parse_rfc3339(&text).map(|millis| millis.div_euclid(1_000)))
}

/// How long ago the time in a member was; empty if there is none.
pub fn ago(clock: &Clock, value: &Value, pointer: &str) -> String {
    let since = seconds(value, pointer).map(|then| clock.unix_time().saturating_sub(then));
    since.map(|seconds| age(u64::try_from(seconds).unwrap_or_default())).unwrap_or_default()
}

/// A member with a number of seconds; empty if there is none.
pub fn lasting(value: &Value, pointer: &str) -> String {
    let seconds = value.pointer(pointer).and_then(Value::as_f64).filter(|seconds| *seconds >= 0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    seconds.map(|seconds| age(seconds.round() as u64)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_read_in_each_form() {
        let clock = Clock::manual(1_000_000_100);
        for time in [json!("1000000000"), json!(1_000_000_000), json!("2001-09-09T01:46:40.000Z")] {
            assert_eq!(ago(&clock, &json!({ "at": time }), "/at"), "2m");
        }
        for time in [json!(null), json!(""), json!("yesterday")] {
            assert_eq!(ago(&clock, &json!({ "at": time }), "/at"), "");
        }
        assert_eq!(ago(&clock, &json!({"at": 1_000_000_200}), "/at"), "0s", "the clocks differ");
        assert_eq!(lasting(&json!({"t": 1.6}), "/t"), "2s");
        assert_eq!(lasting(&json!({}), "/t"), "");
    }
}
