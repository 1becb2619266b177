//! Finds the name that a misspelled name was probably meant to be.

/// The candidate that is the fewest edits away from `name`, if that is at most a third of the length of `name`. An edit inserts,
/// deletes or replaces a character, or swaps two neighbors. Case does not count.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 100;
    let length = name.chars().count();
    if length > LONGEST {
        return None;
    }
    let (name, limit) = (name.to_lowercase(), (length / 3).max(1));
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&name, &candidate.to_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Option<&str>) {
        let known = ["server.host", "server.port", "registry.kind", "httpaddr", "httpport"];
        assert_eq!(nearest(name, known), expected, "{name:?}");
    }

    #[test]
    fn a_near_name_is_found() {
        check("server.hots", Some("server.host"));
        check("server.prt", Some("server.port"));
        check("Server.Host", Some("server.host"));
        check("htpaddr", Some("httpaddr"));
        check("SERVER.PROT", Some("server.port"));
        check("registry.kin", Some("registry.kind"));
        check("completely.other.thing", None);
        check("", None);
        check(&"x".repeat(5000), None);
    }
}
