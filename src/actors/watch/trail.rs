//! The digests of the last revisions. Two nodes compare their digests at a revision that both have passed, because they are hardly ever
//! at the same one.

use std::collections::VecDeque;

use crate::domain::event::Revision;

/// How many digests are kept: 256 KiB. With 5,000 revisions a second these are three seconds, and a digest of another node comes within
/// milliseconds.
const MOST: usize = 16_384;

#[derive(Debug, Default)]
pub struct DigestTrail {
    /// Revisions at which the digest changed, in order, each with the digest from then on.
    changes: VecDeque<(Revision, u64)>,
}

impl DigestTrail {
    /// The events of a revision are applied. The same revision may be noted again, when it was not complete before.
    pub fn note(&mut self, revision: Revision, digest: u64) {
        match self.changes.back_mut() {
            Some((last, of_last)) if *last >= revision => {
                *of_last = digest;
                return;
            }
            Some((_, of_last)) if *of_last == digest => return,
            _ => {}
        }
        if self.changes.len() >= MOST {
            self.changes.pop_front();
        }
        self.changes.push_back((revision, digest));
    }

    /// Forgets everything: the digests of earlier revisions do not say what the store held then.
    pub fn begin(&mut self, revision: Revision, digest: u64) {
        self.changes.clear();
        self.changes.push_back((revision, digest));
    }

    /// The digest at a revision that has been reached. `None` if it is not known any more.
    pub fn at(&self, revision: Revision) -> Option<u64> {
        let after = self.changes.partition_point(|(of, _)| *of <= revision);
        self.changes.get(after.checked_sub(1)?).map(|(_, digest)| *digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_lasts_until_the_next_change() {
        let mut trail = DigestTrail::default();
        assert_eq!(trail.at(5), None);
        trail.begin(3, 10);
        for (revision, digest) in [(4, 11), (5, 11), (8, 12), (8, 13)] {
            trail.note(revision, digest);
        }
        let digests = [2, 3, 4, 5, 7, 8, 100].map(|revision| trail.at(revision));
        assert_eq!(digests, [None, Some(10), Some(11), Some(11), Some(11), Some(13), Some(13)]);
        trail.begin(9, 20);
        assert_eq!([trail.at(8), trail.at(9)], [None, Some(20)]);
    }

    #[test]
    fn the_oldest_digests_are_forgotten() {
        let mut trail = DigestTrail::default();
        let most = i64::try_from(MOST).unwrap_or_default();
        for revision in 1..=most + 10 {
            trail.note(revision, u64::try_from(revision).unwrap_or_default());
        }
        assert_eq!(trail.changes.len(), MOST);
        assert_eq!([trail.at(10), trail.at(11)], [None, Some(11)]);
    }
}
