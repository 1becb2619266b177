//! What a validator demands of the members of a body, for the description of the API.
//!
//! Each list of demands stands beside the function that checks them, and uses the same rules. `tests/it/contract/bodies.rs`
//! changes valid bodies at random, and compares what the description says with what the function does.

use super::rule::MemberRule;
use crate::domain::shape::Shape;

/// A demand on the value at a place in a body.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Names of members with `.` between them; `[]` is each element of a list, `{}` each value of a map. Empty: the whole body.
    pub place: &'static str,
    pub what: Demanded,
}

#[derive(Clone, Copy, Debug)]
pub enum Demanded {
    /// The value of a text or a number, the number of elements or entries; a minimum of 1 on an object: it must be there.
    Rule(MemberRule),
    /// As [`Self::Rule`], for a rule that lists all texts. The empty text is accepted too, because a default takes its place.
    RuleOrEmpty(MemberRule),
    /// The number of elements or entries: at least this many, and at most what is configured.
    Count(usize, ConfiguredLimit),
    /// The keys of a map.
    Keys(MemberRule),
    /// The demands on a part of the body. Their places are below this place.
    Part(&'static [Demand]),
    /// At least one of these members is there and not empty.
    OneOf(&'static [&'static str]),
    /// Only these texts are rejected.
    NoneOf(&'static [&'static str]),
    /// A new password.
    Password,
    /// Unknown members are rejected.
    Closed,
    /// All members whose names are not listed have this shape.
    Others(Shape),
    /// No element comes twice.
    Unique,
}

/// A limit that the configuration sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfiguredLimit {
    /// Most schemas of a service.
    Schemas,
    /// Most tags of a service.
    Tags,
    /// Most elements of a batch find.
    Batch,
}

impl Demand {
    pub const fn rule(place: &'static str, rule: MemberRule) -> Self {
        Self { place, what: Demanded::Rule(rule) }
    }

    pub const fn rule_or_empty(place: &'static str, rule: MemberRule) -> Self {
        Self { place, what: Demanded::RuleOrEmpty(rule) }
    }

    pub const fn new(place: &'static str, what: Demanded) -> Self {
        Self { place, what }
    }
}
