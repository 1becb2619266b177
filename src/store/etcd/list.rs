//! Listings: pages of one revision, small in number and in bytes. Two prefixes are read side by side, since etcd serves each
//! request on one core. Of each it keeps what is left of an answer and the answer after that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_client::{GetOptions, KeyValue};
use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc;

use super::entries::{Skipped, entry, prefix_end, prefix_start};
use super::nodes::{Effect, LATE, Nodes};
use crate::store::port::{Entry, Page, Reason, Revision, StoreError};

/// Keys asked for at once. For each answer etcd walks through all keys that are left, to count them, so answers must be
/// few: of 46,000 keys a listing by 2,000 cost etcd 0.7 s of CPU, by this many 0.4 s, and the walks grow with the square.
const MAX_KEYS: i64 = 20_000;
/// Keys in a page that is handed on: the port's limit.
const MAX_PAGE: usize = 2_000;
/// Keys in the first page, before anything is known about their size.
const FIRST_KEYS: i64 = 250;
/// The size pages are steered to. etcd limits a page by keys only, so it is guessed from the page before; values differ
/// (an instance has some hundred bytes, a schema may have a megabyte).
const PAGE_BYTES: usize = 6 << 20;
/// Slashes before what tells the keys of one tree apart.
const TREE_SLASHES: usize = 4;
/// Prefixes read at once.
const SIDE_BY_SIDE: usize = 2;
/// Pages made ahead of the reader.
pub(super) const PAGES_AHEAD: usize = 2;

/// A step of a listing.
pub(super) enum ListingStep {
    Page(Page),
    Failed(StoreError),
    /// All pages came. A listing that ends without it was cut off.
    Done,
}

/// Lists all keys below some prefixes; ends early if nobody listens.
pub(super) async fn list(
    nodes: Nodes,
    skipped: Arc<Skipped>,
    prefixes: Vec<String>,
    limit: Duration,
    to: mpsc::Sender<ListingStep>,
) {
    let listing = EtcdListing { nodes, skipped, limit, to, has_sent: AtomicBool::new(false) };
    let end = match listing.pages(&prefixes).await {
        Ok(()) => ListingStep::Done,
        Err(error) => ListingStep::Failed(error),
    };
    // A reader that is gone does not care.
    drop(listing.to.send(end).await);
}

struct EtcdListing {
    nodes: Nodes,
    skipped: Arc<Skipped>,
    limit: Duration,
    to: mpsc::Sender<ListingStep>,
    has_sent: AtomicBool,
}

impl EtcdListing {
    async fn pages(&self, prefixes: &[String]) -> Result<(), StoreError> {
        let range = |prefix: &String| Range {
            start: prefix_start(prefix),
            end: prefix_end(prefix.as_bytes()),
            alike: None,
            at: None,
            keys: FIRST_KEYS,
        };
        let mut ranges = prefixes.iter().map(range).collect::<Vec<_>>().into_iter();
        let Some(first) = ranges.next() else { return Ok(()) };
        // Its revision is that of all.
        let answer = self.ask(first).await?;
        let revision = answer.revision;
        let others = ranges.map(|range| Reading::Asked(Range { at: Some(revision), ..range }));
        let readings = std::iter::once(Reading::Answered(answer)).chain(others);
        let mut read =
            stream::iter(readings.map(|reading| self.read(reading))).buffer_unordered(SIDE_BY_SIDE);
        while let Some(end) = read.next().await {
            end?;
        }
        if !self.has_sent.load(Ordering::Relaxed) {
            drop(self.to.send(ListingStep::Page(Page { entries: Vec::new(), revision })).await);
        }
        Ok(())
    }

    /// Reads one prefix to its end, or until nobody listens.
    async fn read(&self, reading: Reading) -> Result<(), StoreError> {
        let mut answer = match reading {
            Reading::Answered(answer) => answer,
            Reading::Asked(_) if self.to.is_closed() => return Ok(()),
            Reading::Asked(range) => self.ask(range).await?,
        };
        loop {
            let RangeAnswer { pairs, revision, next } = answer;
            // While etcd reads what comes next, the reader takes what is there.
            let next = async {
                match next {
                    Some(next) => self.ask(next).await.map(Some),
                    None => Ok(None),
                }
            };
            let (next, is_read) = tokio::join!(next, self.hand_on(pairs, revision));
            answer = match next? {
                Some(next) if is_read => next,
                _ => return Ok(()),
            };
        }
    }

    /// Answers whether somebody listens.
    async fn hand_on(&self, pairs: Vec<KeyValue>, revision: Revision) -> bool {
        let mut entries = pairs.into_iter().filter_map(|pair| entry(pair, &self.skipped)).peekable();
        while entries.peek().is_some() {
            let entries: Vec<Entry> = entries.by_ref().take(MAX_PAGE).collect();
            self.has_sent.store(true, Ordering::Relaxed);
            if self.to.send(ListingStep::Page(Page { entries, revision })).await.is_err() {
                return false;
            }
        }
        true
    }

    async fn ask(&self, mut range: Range) -> Result<RangeAnswer, StoreError> {
        let mut answer = loop {
            let answer = self
                .nodes
                .call(Effect::Reads, self.limit, |clients| {
                    let end = range.alike.as_ref().unwrap_or(&range.end).clone();
                    let mut options = GetOptions::new().with_range(end).with_limit(range.keys);
                    if let Some(at) = range.at {
                        options = options.with_revision(at);
                    }
                    let start = range.start.clone();
                    async move { clients.kv.clone().get(start, Some(options)).await }
                })
                .await;
            match answer {
                Err(error) if range.keys > 1 && is_answer_too_large(&error) => {
                    range.keys = (range.keys / 16).max(1);
                }
                // A slow line may still carry less. How much came last time it does not say.
                Err(error) if range.keys > FIRST_KEYS && is_late(&error) => {
                    range.keys = (range.keys / 4).max(FIRST_KEYS);
                }
                Err(StoreError::Aborted { reason: Reason::Denied, message }) => {
                    let start = String::from_utf8_lossy(&range.start);
                    let message = format!("{message}; it reads every key that begins with {start:?}");
                    return Err(StoreError::Aborted { reason: Reason::Denied, message });
                }
                answer => break answer?,
            }
        };
        let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
        let revision = *range.at.get_or_insert(revision);
        self.nodes.saw(revision);
        let more = answer.more();
        let pairs = answer.take_kvs();
        let last = pairs.last().map(KeyValue::key);
        let bytes = pairs.iter().map(|pair| pair.key().len() + pair.value().len()).sum();
        let next = range.next(last.filter(|_| more), pairs.len(), bytes);
        Ok(RangeAnswer { pairs, revision, next })
    }
}

/// A prefix that is to be read.
enum Reading {
    Asked(Range),
    /// Begun.
    Answered(RangeAnswer),
}

/// Keys to be asked for.
struct Range {
    start: Vec<u8>,
    end: Vec<u8>,
    /// End of the keys that are like the last ones, if it is not all that is left: their number is guessed from those, and
    /// what comes behind may be far larger.
    alike: Option<Vec<u8>>,
    /// The revision of the first answer.
    at: Option<Revision>,
    keys: i64,
}

impl Range {
    /// What is left after an answer of so many keys and bytes; `last` is its last key if there are more.
    fn next(self, last: Option<&[u8]>, keys: usize, bytes: usize) -> Option<Self> {
        match (last, self.alike) {
            (Some(last), _) => {
                let mut start = last.to_vec();
                start.push(0);
                let alike = tree_end(last).filter(|tree| end_comes_first(tree, &self.end));
                Some(Self { start, alike, keys: next_page(self.keys, keys, bytes), ..self })
            }
            (None, Some(behind)) => Some(Self { start: behind, alike: None, keys: FIRST_KEYS, ..self }),
            (None, None) => None,
        }
    }
}

/// The end of a key's tree: of all keys that begin with the same three segments (`/cse-sr/ms/files/`), or as many as it has.
fn tree_end(key: &[u8]) -> Option<Vec<u8>> {
    let slashes = key.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let tree = key.get(..=slashes.take(TREE_SLASHES).last()?)?;
    Some(prefix_end(tree))
}

/// Whether one end of a range lies before another one, which may be etcd's word for the end of all keys.
fn end_comes_first(one: &[u8], other: &[u8]) -> bool {
    one != [0] && (other == [0] || one < other)
}

/// What came of it.
struct RangeAnswer {
    pairs: Vec<KeyValue>,
    revision: Revision,
    /// If there is more.
    next: Option<Range>,
}

/// Keys to ask for after a page: as many as fill one by the sizes seen, but growing slowly, since what comes next may be
/// larger.
fn next_page(asked: i64, keys: usize, bytes: usize) -> i64 {
    if keys == 0 {
        return asked;
    }
    let average = (bytes / keys).max(1);
    let fitting = i64::try_from(PAGE_BYTES / average).unwrap_or(MAX_KEYS);
    fitting.min(asked.saturating_mul(4)).clamp(1, MAX_KEYS)
}

fn is_late(error: &StoreError) -> bool {
    matches!(error, StoreError::Aborted { message, .. } if message.contains(LATE))
}

fn is_answer_too_large(error: &StoreError) -> bool {
    matches!(error, StoreError::Aborted { message, .. } if message.contains("decoded message length too large"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_page_is_not_guessed_from_another_tree() {
        let range = |start: &str, end: &[u8], alike: Option<&[u8]>| Range {
            start: start.into(),
            end: end.into(),
            alike: alike.map(<[u8]>::to_vec),
            at: Some(7),
            keys: 1_000,
        };
        let all = b"/cse-sr0";
        let last = b"/cse-sr/ms/indexes/b";
        let next = range("/cse-sr/", all, None).next(Some(last), 1_000, 50_000).unwrap();
        assert_eq!(next.start, b"/cse-sr/ms/indexes/b\0");
        assert_eq!(next.alike.as_deref(), Some(&b"/cse-sr/ms/indexes0"[..]));
        assert_eq!((next.keys, next.at), (4_000, Some(7)));
        // Its end: what is behind begins with a small page.
        let next = next.next(None, 10, 500).unwrap();
        assert_eq!((next.start.as_slice(), next.end.as_slice()), (&b"/cse-sr/ms/indexes0"[..], &all[..]));
        assert_eq!((&next.alike, next.keys), (&None, FIRST_KEYS));
        assert!(next.next(None, 10, 500).is_none());
        // A prefix that is one tree needs no other end, nor one inside of a tree.
        for end in [&b"/cse-sr/ms/indexes0"[..], b"/cse-sr/ms/indexes/d0"] {
            assert_eq!(range("/", end, None).next(Some(last), 1_000, 50_000).unwrap().alike, None);
        }
        let after = |last: &[u8]| range("\0", b"\0", None).next(Some(last), 1, 1).unwrap().alike;
        assert_eq!(after(b"name"), None);
        assert_eq!(after(b"/cse-sr/sys").as_deref(), Some(&b"/cse-sr0"[..]));
    }

    #[test]
    fn pages_follow_the_size_of_what_came() {
        assert_eq!(next_page(250, 250, 250 * 500), 1_000);
        assert_eq!(next_page(4_000, 4_000, 4_000 * 500), 12_582);
        assert_eq!(next_page(20_000, 20_000, 20_000 * 100), MAX_KEYS);
        assert_eq!(next_page(2_000, 2_000, 2_000 * 100_000), 62);
        assert_eq!(next_page(20, 20, 20 * 3_000_000), 2);
        assert_eq!(next_page(1, 1, 10), 4);
        assert_eq!(next_page(100, 0, 0), 100);
        assert_eq!(next_page(100, 100, 0), 400);
    }
}
