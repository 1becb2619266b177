//! The revision of a find answer: a digest that is the same on every node with the same data, also on a node of the original
//! server.

use sha1::{Digest, Sha1};

/// Lower-case hex SHA-1 of `<highest mod revision>.<count>,` of the instances in an answer. Both are 0 without instances.
pub fn find_revision(highest_mod_revision: i64, count: usize) -> String {
    hex::encode(Sha1::digest(format!("{highest_mod_revision}.{count},")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_vectors() {
        assert_eq!(find_revision(12, 2), "9c11cc83ac8338874cc1386a8f07557370e68eb3");
        assert_eq!(find_revision(0, 0), "97784746be9a2d00f08bc72fe1ce5ff8c7d07ffe");
        assert_eq!(find_revision(5997, 1), "b06b0a8cfb60a0bb76f5b68bdcf008129125b11e");
        assert_eq!(find_revision(6000, 2), "c962fd02e86b8a853a117b696e4b3f35827617c2");
    }
}
