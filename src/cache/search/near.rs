//! Names that a consumer may have meant: the same name elsewhere, and similar names.

use super::top::{Order, PageFrame, Top};
use crate::cache::snapshot::{NameNode, path_parts};

/// What is looked for in vain.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub environment: &'a str,
    pub app_id: &'a str,
    /// Name or alias.
    pub name: &'a str,
}

/// How a name differs from the one that is looked for, the closest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nearness {
    /// The same name and application in another environment.
    OtherEnvironment,
    /// The same name and environment in another application.
    OtherApplication,
    /// The same name in another environment and another application.
    OtherBoth,
    /// A similar name, so many edits away. 0 edits: only upper and lower case differ.
    Similar(usize),
}

#[derive(Clone, Copy, Debug)]
pub struct NearMiss<'s> {
    pub nearness: Nearness,
    pub environment: &'s str,
    pub app_id: &'s str,
    pub name: &'s str,
    pub node: &'s NameNode,
}

/// Most names that are compared letter by letter in one search. A comparison takes some microseconds.
const MOST_COMPARED: usize = 1_000;
/// Longer names have no similar ones.
const LONGEST: usize = 100;

/// Near misses come by nearness; similar names of the same application and environment before others.
type NearPlace<'s> = (Nearness, bool, &'s str, &'s str, &'s str);

/// A search for near misses that is under way.
#[derive(Debug)]
pub struct NearSearch<'s> {
    wanted: Wanted<'s>,
    letters: Letters,
    /// Most edits of a similar name.
    most_edits: usize,
    compared: usize,
    top: Top<NearPlace<'s>, NearMiss<'s>>,
}

impl<'s> NearSearch<'s> {
    /// A search that finds at most `most` names.
    pub fn new(wanted: Wanted<'s>, most: usize) -> Self {
        let length = wanted.name.chars().count();
        let most_edits = if length > LONGEST { 0 } else { (length / 4).max(1) };
        let frame = PageFrame { order: Order::Ascending, after: None, most };
        Self { wanted, letters: Letters::of(wanted.name), most_edits, compared: 0, top: Top::new(frame) }
    }

    /// Looks at a name path that the caller may see.
    pub fn look(&mut self, path: &'s str, node: &'s NameNode) {
        let Some([environment, app_id, name]) = path_parts(path) else { return };
        let (in_environment, in_app) = (environment == self.wanted.environment, app_id == self.wanted.app_id);
        let nearness = match (name == self.wanted.name, in_environment, in_app) {
            // That is what was looked for.
            (true, true, true) => return,
            (true, false, true) => Nearness::OtherEnvironment,
            (true, true, false) => Nearness::OtherApplication,
            (true, false, false) => Nearness::OtherBoth,
            (false, ..) => match self.edits(name) {
                Some(edits) => Nearness::Similar(edits),
                None => return,
            },
        };
        let place = (nearness, !(in_environment && in_app), name, app_id, environment);
        if self.top.wants(&place) {
            self.top.push(place, NearMiss { nearness, environment, app_id, name, node });
        }
    }

    /// How many edits away a name is, if it is similar. Upper and lower case are alike.
    fn edits(&mut self, name: &str) -> Option<usize> {
        if self.most_edits == 0 || self.compared >= MOST_COMPARED {
            return None;
        }
        if self.letters.least_edits(&Letters::of(name)) > self.most_edits {
            return None;
        }
        self.compared += 1;
        let edits = strsim::osa_distance(&self.wanted.name.to_lowercase(), &name.to_lowercase());
        Some(edits).filter(|edits| *edits <= self.most_edits)
    }

    /// The names, the nearest first.
    pub fn into_found(self) -> Vec<NearMiss<'s>> {
        self.top.into_sorted().into_iter().map(|(_, found)| found).collect()
    }
}

/// How often each letter is in a text: by the last five bits, which are the same for upper and lower case.
#[derive(Debug)]
struct Letters {
    counts: [u8; 32],
    is_ascii: bool,
}

impl Letters {
    fn of(text: &str) -> Self {
        let mut counts = [0_u8; 32];
        for byte in text.bytes() {
            let count = &mut counts[usize::from(byte & 31)];
            *count = count.saturating_add(1);
        }
        Self { counts, is_ascii: text.is_ascii() }
    }

    /// One text is at least so many edits away from the other, because an edit adds one letter at most and removes one at most. 0 for
    /// texts with other letters than those of ASCII.
    fn least_edits(&self, other: &Self) -> usize {
        if !self.is_ascii || !other.is_ascii {
            return 0;
        }
        let pairs = self.counts.iter().zip(other.counts);
        let (more, less) = pairs.fold((0, 0), |(more, less), (one, other)| {
            (more + usize::from(one.saturating_sub(other)), less + usize::from(other.saturating_sub(*one)))
        });
        more.max(less)
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom as _;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    fn found(wanted: [&str; 3], paths: &[&'static str], most: usize) -> Vec<String> {
        let [environment, app_id, name] = wanted;
        let node = NameNode::default();
        let mut search = NearSearch::new(Wanted { environment, app_id, name }, most);
        paths.iter().for_each(|path| search.look(path, &node));
        let found = search.into_found();
        found
            .iter()
            .map(|near| format!("{:?} {}/{}/{}", near.nearness, near.environment, near.app_id, near.name))
            .collect()
    }

    #[test]
    fn the_same_name_elsewhere_comes_before_similar_names() {
        let paths = [
            "production/shop/order",
            "production/bank/orders",
            "testing/shop/orders",
            "testing/bank/orders",
            "production/shop/Orders",
            "production/shop/invoices",
            "production/shop/orders",
            "testing/shop/order",
        ];
        let expected = [
            "OtherEnvironment testing/shop/orders",
            "OtherApplication production/bank/orders",
            "OtherBoth testing/bank/orders",
            "Similar(0) production/shop/Orders",
            "Similar(1) production/shop/order",
            "Similar(1) testing/shop/order",
        ];
        assert_eq!(found(["production", "shop", "orders"], &paths, 10), expected);
        assert_eq!(found(["production", "shop", "orders"], &paths, 2), expected[..2]);
        assert!(found(["", "a", "b"], &["/a/xyz"], 10).is_empty());
        assert!(found(["", "a", &"x".repeat(101)], &["/a/x"], 10).is_empty());
    }

    #[test]
    fn the_count_of_letters_leaves_out_no_similar_name() {
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..20_000 {
            let mut text = || -> String {
                let length = random.random_range(0..7);
                (0..length).filter_map(|_| ['a', 'B', 'b', '-', '1', 'é'].choose(&mut random)).collect()
            };
            let (one, other) = (text(), text());
            let least = Letters::of(&one).least_edits(&Letters::of(&other));
            let edits = strsim::osa_distance(&one.to_lowercase(), &other.to_lowercase());
            assert!(least <= edits, "{one} {other}: {least} {edits}");
        }
    }
}
