//! Listings: pages of one revision, limited in keys and bytes. Two prefixes are read concurrently, because etcd serves each
//! request on one core. For each prefix a listing holds the rest of one answer and the next answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_client::{GetOptions, KeyValue};
use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc;

use super::entries::{Skipped, entry, prefix_end, prefix_start};
use super::nodes::{Effect, LATE, Nodes};
use crate::store::port::{Entry, Page, Reason, Revision, StoreError};

/// The most keys in one request. For each answer etcd counts all keys that are left, so a listing should have few answers: for
/// 46,000 keys etcd used 0.7 s of CPU with 2,000 keys a request, and 0.4 s with this many. The cost of the counting grows with
/// the square of the keys.
const MAX_KEYS: i64 = 20_000;
/// Keys in a page of the port: its limit.
const MAX_PAGE: usize = 2_000;
/// Keys in the first request, when the size of the values is unknown.
const FIRST_KEYS: i64 = 250;
/// The intended bytes of an answer. etcd limits an answer only by keys, so their number is estimated from the answer before.
/// Values differ: an instance has some hundred bytes, a schema may have a megabyte.
const PAGE_BYTES: usize = 6 << 20;
/// Slashes in the part that all keys of a tree share.
const TREE_SLASHES: usize = 4;
/// Prefixes read concurrently.
const SIDE_BY_SIDE: usize = 2;
/// Pages read ahead of the consumer.
pub(super) const PAGES_AHEAD: usize = 2;

pub(super) enum ListingStep {
    Page(Page),
    Failed(StoreError),
    /// All pages came. A listing that ends without this step was cut off.
    Done,
}

/// Lists all keys below some prefixes. Ends early if nobody listens.
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
    // An error means that nobody listens.
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
        // The revision of the first answer is the revision of all pages.
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
            // etcd reads the next keys while the consumer takes the pages.
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

    /// Sends the pages of an answer. Returns whether somebody listens.
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
                // A slow connection may still deliver a smaller answer in time.
                Err(error) if range.keys > FIRST_KEYS && is_late(&error) => {
                    range.keys = (range.keys / 4).max(FIRST_KEYS);
                }
                Err(StoreError::Aborted { reason: Reason::Denied, message }) => {
                    let start = String::from_utf8_lossy(&range.start);
                    let message =
                        format!("{message}; the listing reads every key that begins with {start:?}");
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

/// A prefix to read.
enum Reading {
    Asked(Range),
    /// The first answer came.
    Answered(RangeAnswer),
}

/// The keys of the next request.
struct Range {
    start: Vec<u8>,
    end: Vec<u8>,
    /// The end of the last key's tree, if it is before `end`. The number of keys is estimated from the values of that tree, and
    /// the values after it may be far larger.
    alike: Option<Vec<u8>>,
    /// The revision of the first answer.
    at: Option<Revision>,
    keys: i64,
}

impl Range {
    /// The rest after an answer with so many keys and bytes. `last` is the last key of the answer, if there are more keys.
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

/// The end of a key's tree: of all keys that begin with the same three segments (`/cse-sr/ms/files/`), or with fewer if the key
/// has fewer.
fn tree_end(key: &[u8]) -> Option<Vec<u8>> {
    let slashes = key.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let tree = key.get(..=slashes.take(TREE_SLASHES).last()?)?;
    Some(prefix_end(tree))
}

/// Whether one end of a range is before another one. `[0]` is the end of all keys.
fn end_comes_first(one: &[u8], other: &[u8]) -> bool {
    one != [0] && (other == [0] || one < other)
}

struct RangeAnswer {
    pairs: Vec<KeyValue>,
    revision: Revision,
    /// `None`: there are no more keys.
    next: Option<Range>,
}

/// The number of keys of the next request: as many as fill an answer by the sizes seen, but at most four times as many as
/// before, because the next values may be larger.
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
        // At its end: the next tree begins with a small request.
        let next = next.next(None, 10, 500).unwrap();
        assert_eq!((next.start.as_slice(), next.end.as_slice()), (&b"/cse-sr/ms/indexes0"[..], &all[..]));
        assert_eq!((&next.alike, next.keys), (&None, FIRST_KEYS));
        assert!(next.next(None, 10, 500).is_none());
        // A prefix that is one tree, or inside a tree, needs no other end.
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
