//! The nearest known name of a misspelled one.

/// The candidate with the fewest edits to `name` (insert, delete, replace, swap of neighbors; case does not count), if it is near
/// enough to be meant: within a third of the name's length.
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
    fn finds_what_was_meant() {
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
