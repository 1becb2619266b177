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
}
