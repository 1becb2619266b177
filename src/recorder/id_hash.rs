//! The hashes by which the record finds the events of a service or an instance.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The hash of an id. Never 0.
pub(super) fn hash_of(id: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    u32::try_from(hasher.finish() >> 32).unwrap_or(0).max(1)
}
