//! Parses switches, integers, ratios, lists and durations. Pure. Each error says what is allowed.

use std::time::Duration;

/// Parses `true` and `false` in every spelling of Go's `strconv.ParseBool` and of YAML 1.1. Also parses numbers, where 0 is false:
/// the same key is a number in one release of the reference and a boolean in the next (`ssl_mode = 1`, `ssl.enable: true`).
pub fn parse_switch(text: &str) -> Result<bool, String> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "true" | "t" | "yes" | "y" | "on" => Ok(true),
        "false" | "f" | "no" | "n" | "off" => Ok(false),
        _ => lower.parse::<i64>().map(|n| n != 0).map_err(|_| "write true or false".to_owned()),
    }
}

/// Parses a whole number from `min` to `max`.
pub fn parse_integer(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let range = if max == u64::MAX { format!("of at least {min}") } else { format!("from {min} to {max}") };
    match text.parse::<u64>() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        Ok(_) => Err(format!("out of range: write a whole number {range}")),
        Err(_) => Err(format!("write a whole number {range}, without a unit")),
    }
}

/// Parses a number above 0 and at most 1.
pub fn parse_ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 1.0 => Ok(number),
        _ => Err("write a number above 0 and at most 1, such as 0.2".to_owned()),
    }
}

/// The pieces between commas, trimmed, without the empty ones.
pub fn parse_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|piece| !piece.is_empty()).map(str::to_owned).collect()
}

/// Parses a duration in Go's syntax: numbers with the units `ns us ms s m h` (`30s`, `1m30s`, `1.5h`, `500ms`), or `0` alone.
///
/// Own code, because `jiff` rejects `.5s`, `1.s`, `0` and `1s1s`, which Go reads, and accepts `30 s`, `-5s` and `PT5S`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a duration with its unit, such as 30s, 1m30s or 500ms".to_owned();
    if text.starts_with('-') {
        return Err("a duration cannot be negative".to_owned());
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut nanoseconds: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(wrong());
        }
        let (unit, after) = split_unit(after).ok_or_else(wrong)?;
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().map_err(|_| wrong())? };
        nanoseconds += u128::from(whole) * u128::from(unit) + fraction_of(fraction, unit);
        rest = after;
    }
    // The longest duration in Go is 2^63 - 1 ns, which is 292 years.
    i64::try_from(nanoseconds)
        .ok()
        .and_then(|n| u64::try_from(n).ok())
        .map(Duration::from_nanos)
        .ok_or_else(|| "too long: the longest duration is 2562047h".to_owned())
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// The unit at the start of a text, in nanoseconds, and the text behind it.
fn split_unit(text: &str) -> Option<(u64, &str)> {
    // "ms" comes before "m", so that the longer name is found.
    const UNITS: [(&str, u64); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("\u{b5}s", 1_000),
        ("\u{3bc}s", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    UNITS.iter().find_map(|(name, nanoseconds)| text.strip_prefix(name).map(|rest| (*nanoseconds, rest)))
}

/// `0.<digits>` of a unit, in whole nanoseconds, rounded down. Only the first 15 digits are read.
fn fraction_of(digits: &str, unit: u64) -> u128 {
    let digits = digits.get(..digits.len().min(15)).unwrap_or_default();
    match (digits.parse::<u128>(), u32::try_from(digits.len())) {
        (Ok(number), Ok(length)) => number * u128::from(unit) / 10_u128.pow(length),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<u128, ()>) {
        let got = parse_duration(text).map(|d| d.as_nanos()).map_err(|_| ());
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn durations_in_go_syntax() {
        check("30s", Ok(30_000_000_000));
        check("1m30s", Ok(90_000_000_000));
        check("500ms", Ok(500_000_000));
        check("12h", Ok(43_200_000_000_000));
        check("1.5h", Ok(5_400_000_000_000));
        check(".5s", Ok(500_000_000));
        check("1.s", Ok(1_000_000_000));
        check("0", Ok(0));
        check("+5s", Ok(5_000_000_000));
        check("7us", Ok(7_000));
        check("7\u{b5}s", Ok(7_000));
        check("1s1s", Ok(2_000_000_000));
        check("0.0000000000000000000000000001h", Ok(0));
        check("2562047h", Ok(9_223_369_200_000_000_000));
        for wrong in [
            "",
            "30",
            "s",
            "30 s",
            "30S",
            "1d",
            "abc",
            "-5s",
            "1m30",
            ".s",
            "2562048h",
            "99999999999999999999h",
        ] {
            check(wrong, Err(()));
        }
    }

    #[test]
    fn switches() {
        for yes in ["true", "True", "T", "1", "yes", "on", "2", "-1"] {
            assert_eq!(parse_switch(yes), Ok(true), "{yes}");
        }
        for no in ["false", "FALSE", "f", "0", "no", "off", "00"] {
            assert_eq!(parse_switch(no), Ok(false), "{no}");
        }
        for wrong in ["", "tru", "enable", "1.0", " true"] {
            assert!(parse_switch(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn integers_and_ratios() {
        assert_eq!(parse_integer("30100", 1, 65535), Ok(30100));
        for wrong in ["0", "65536", "-1", "", "30100s", "1e3", "99999999999999999999999"] {
            assert!(parse_integer(wrong, 1, 65535).is_err(), "{wrong:?}");
        }
        assert_eq!(parse_ratio("0.2"), Ok(0.2));
        assert_eq!(parse_ratio("1"), Ok(1.0));
        for wrong in ["0", "1.01", "-0.1", "NaN", "inf", "", "20%"] {
            assert!(parse_ratio(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn lists() {
        assert_eq!(parse_list(" a, b,,c ,"), ["a", "b", "c"]);
        assert!(parse_list(" , ").is_empty());
    }
}
