//! The nearest known name of a misspelled one.

/// The candidate with the fewest edits to `name` (insert, delete, replace, swap of neighbours; case counts as half an
/// edit), if it is near enough to be meant: within a third of the name's length.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 100;
    let name: Vec<char> = name.chars().collect();
    // Two points an edit.
    let limit = (2 * name.len() / 3).max(2);
    if name.len() > LONGEST {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (distance(&name, &candidate.chars().collect::<Vec<_>>()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance, two points an edit, one for a change of case.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).map(|column| 2 * column).collect();
    for (row, &from) in a.iter().enumerate() {
        let mut current = Vec::with_capacity(last.len());
        current.push(2 * (row + 1));
        for (column, &to) in b.iter().enumerate() {
            let at = |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX / 2);
            let replace = if from == to {
                0
            } else if from.eq_ignore_ascii_case(&to) {
                1
            } else {
                2
            };
            let mut best =
                (at(&last, column) + replace).min(at(&last, column + 1) + 2).min(at(&current, column) + 2);
            let swapped =
                row > 0 && column > 0 && a.get(row - 1) == Some(&to) && b.get(column - 1) == Some(&from);
            if swapped {
                best = best.min(at(&before_last, column - 1) + 2);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or(2 * a.len())
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
        check("registry.kin", Some("registry.kind"));
        check("completely.other.thing", None);
        check("", None);
        check(&"x".repeat(5000), None);
    }

    #[test]
    fn counts_edits() {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        for (a, b, points) in
            [("abc", "abc", 0), ("abc", "Abc", 1), ("abc", "acb", 2), ("abc", "ab", 2), ("", "ab", 4)]
        {
            assert_eq!(distance(&chars(a), &chars(b)), points, "{a} {b}");
        }
    }
}
