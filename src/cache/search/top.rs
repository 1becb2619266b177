//! Keeps the items of one page out of many items that come in any order.

use std::cmp::Ordering;

/// The direction of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

impl Order {
    fn compare<P: Ord>(self, one: &P, other: &P) -> Ordering {
        match self {
            Self::Ascending => one.cmp(other),
            Self::Descending => other.cmp(one),
        }
    }
}

/// Which part of a list is wanted: the items after a place. The list is sorted by places, which all differ.
#[derive(Clone, Copy, Debug)]
pub struct PageFrame<P> {
    pub order: Order,
    /// The place of the last item on the page before. `None` for the first page.
    pub after: Option<P>,
    /// How many items are kept.
    pub most: usize,
}

/// The first items of the part. It never holds more than twice as many as are wanted.
#[derive(Debug)]
pub struct Top<P, T> {
    frame: PageFrame<P>,
    kept: Vec<(P, T)>,
    /// Items from this place on are not wanted, because there are enough before it.
    end: Option<P>,
}

impl<P: Ord + Clone, T> Top<P, T> {
    pub fn new(frame: PageFrame<P>) -> Self {
        Self { kept: Vec::with_capacity(2 * frame.most), frame, end: None }
    }

    /// Whether an item at this place would be kept.
    pub fn wants(&self, place: &P) -> bool {
        let PageFrame { order, after, .. } = &self.frame;
        after.as_ref().is_none_or(|after| order.compare(place, after) == Ordering::Greater)
            && self.end.as_ref().is_none_or(|end| order.compare(place, end) == Ordering::Less)
    }

    /// Whether an item may be kept whose place begins like this. `compare` compares a place with the beginning.
    pub fn may_want(&self, compare: impl Fn(&P) -> Ordering) -> bool {
        let is_before = |ordering: Ordering| match self.frame.order {
            Order::Ascending => ordering == Ordering::Less,
            Order::Descending => ordering == Ordering::Greater,
        };
        // The last place of the page before is not behind it, and the end is not before it.
        self.frame.after.as_ref().is_none_or(|after| !is_before(compare(after).reverse()))
            && self.end.as_ref().is_none_or(|end| !is_before(compare(end)))
    }

    /// Keeps an item that is wanted.
    pub fn push(&mut self, place: P, item: T) {
        self.kept.push((place, item));
        if self.kept.len() >= 2 * self.frame.most {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let (order, most) = (self.frame.order, self.frame.most);
        if self.kept.len() > most && most > 0 {
            let (_, (last, _), _) =
                self.kept.select_nth_unstable_by(most - 1, |(one, _), (other, _)| order.compare(one, other));
            self.end = Some(last.clone());
        }
        self.kept.truncate(most);
    }

    /// The items, sorted.
    pub fn into_sorted(mut self) -> Vec<(P, T)> {
        self.cut();
        let order = self.frame.order;
        self.kept.sort_unstable_by(|(one, _), (other, _)| order.compare(one, other));
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom as _;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn the_page_is_that_of_the_sorted_list() {
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..500 {
            let mut places: Vec<(u8, u16)> =
                (0..random.random_range(0..300)).map(|n| (random.random_range(0..5), n)).collect();
            let after =
                random.random::<bool>().then(|| (random.random_range(0..5), random.random_range(0..300)));
            let most = random.random_range(1..40);
            let order = if random.random() { Order::Ascending } else { Order::Descending };
            places.shuffle(&mut random);
            let mut top = Top::new(PageFrame { order, after, most });
            for place in &places {
                let may = top.may_want(|known| known.0.cmp(&place.0));
                let wants = top.wants(place);
                assert!(may || !wants, "{place:?} of {top:?}");
                if wants {
                    top.push(*place, *place);
                }
                assert!(top.kept.len() < 2 * most);
            }
            places.sort_unstable();
            if order == Order::Descending {
                places.reverse();
            }
            let is_behind = |place: &(u8, u16)| {
                after.is_none_or(|after| order.compare(place, &after) == Ordering::Greater)
            };
            let expected: Vec<_> =
                places.into_iter().filter(is_behind).take(most).map(|place| (place, place)).collect();
            assert_eq!(top.into_sorted(), expected);
        }
    }
}
