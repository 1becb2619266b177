//! The size of a fault or property test: small in every run, and large on request.

/// The environment variable that asks for the long runs: `SC_FAULTS=long`.
const VARIABLE: &str = "SC_FAULTS";

/// The size of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Seconds: what `make test` does.
    Short,
    /// Minutes: what `make faults` does.
    Long,
}

impl Scale {
    /// The size of this run.
    ///
    /// # Panics
    /// If the value is neither `short` nor `long`, so that a typo is not taken for a long run.
    pub fn of_this_run() -> Self {
        Self::parse(std::env::var(VARIABLE).ok().as_deref())
    }

    fn parse(value: Option<&str>) -> Self {
        match value {
            None | Some("" | "short") => Self::Short,
            Some("long") => Self::Long,
            Some(other) => panic!("{VARIABLE}={other:?}: want `short` or `long`"),
        }
    }

    /// The value for this size.
    pub fn choose<T>(self, short: T, long: T) -> T {
        match self {
            Self::Short => short,
            Self::Long => long,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_unless_asked() {
        assert_eq!(Scale::parse(None).choose(1, 100), 1);
        assert_eq!(Scale::parse(Some("short")), Scale::Short);
        assert_eq!(Scale::parse(Some("long")).choose(1, 100), 100);
        assert!(matches!(Scale::of_this_run(), Scale::Short | Scale::Long));
    }

    #[test]
    #[should_panic(expected = "SC_FAULTS=\"lnog\"")]
    fn a_typo_is_reported() {
        Scale::parse(Some("lnog"));
    }
}
