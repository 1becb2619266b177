//! Listings: pages of one revision, small in number and in bytes. It keeps at most two pages that were not asked for, what is
//! left of the answer they came in, and the answer after that.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{GetOptions, KeyValue};
use tokio::sync::mpsc;

use super::entries::{Skipped, entry, prefix_end, prefix_start};
use super::nodes::{Effect, Nodes};
use crate::store::port::{Entry, Page, Revision, StoreError};

/// Keys asked for at once. For each answer etcd walks through all keys that are left, to count them, so answers must be few: of 46,000
/// keys a listing by 2,000 cost etcd 0.7 s of CPU, by this many 0.4 s, and the walks grow with the square.
const MAX_KEYS: i64 = 20_000;
/// Keys in a page that is handed on: the port's limit.
const MAX_PAGE: usize = 2_000;
/// Keys in the first page, before anything is known about their size.
const FIRST_KEYS: i64 = 250;
/// The size pages are steered to. etcd limits a page by keys only, so it is guessed from the page before; values differ
/// (an instance has some hundred bytes, a schema may have a megabyte).
const PAGE_BYTES: usize = 6 << 20;
/// Pages made ahead of the reader.
pub(super) const PAGES_AHEAD: usize = 2;

/// A step of a listing.
pub(super) enum Step {
    Page(Page),
    Failed(StoreError),
    /// All pages came. A listing that ends without it was cut off.
    Done,
}

/// Lists all keys below a prefix; ends early if nobody listens.
pub(super) async fn list(
    nodes: Nodes,
    skipped: Arc<Skipped>,
    prefix: String,
    limit: Duration,
    to: mpsc::Sender<Step>,
) {
    let end = match pages(&nodes, &skipped, &prefix, limit, &to).await {
        Ok(()) => Step::Done,
        Err(error) => Step::Failed(error),
    };
    // A reader that is gone does not care.
    drop(to.send(end).await);
}

async fn pages(
    nodes: &Nodes,
    skipped: &Skipped,
    prefix: &str,
    limit: Duration,
    to: &mpsc::Sender<Step>,
) -> Result<(), StoreError> {
    let end = prefix_end(prefix.as_bytes());
    let first = Range { start: prefix_start(prefix), end, at: None, keys: FIRST_KEYS };
    let mut sent = false;
    let mut answer = ask(nodes, limit, first).await?;
    loop {
        let Answer { pairs, revision, next } = answer;
        let is_last = next.is_none();
        // While etcd reads what comes next, the reader takes what is there.
        let next = async {
            match next {
                Some(next) => ask(nodes, limit, next).await.map(Some),
                None => Ok(None),
            }
        };
        let hand_on = async {
            let mut entries = pairs.into_iter().filter_map(|pair| entry(pair, skipped)).peekable();
            while entries.peek().is_some() || (is_last && !sent) {
                sent = true;
                let entries: Vec<Entry> = entries.by_ref().take(MAX_PAGE).collect();
                if to.send(Step::Page(Page { entries, revision })).await.is_err() {
                    return false;
                }
            }
            true
        };
        let (next, is_read) = tokio::join!(next, hand_on);
        answer = match next? {
            Some(next) if is_read => next,
            _ => return Ok(()),
        };
    }
}

/// Keys to be asked for.
struct Range {
    start: Vec<u8>,
    end: Vec<u8>,
    /// The revision of the first answer.
    at: Option<Revision>,
    keys: i64,
}

/// What came of it.
struct Answer {
    pairs: Vec<KeyValue>,
    revision: Revision,
    /// If there is more.
    next: Option<Range>,
}

async fn ask(nodes: &Nodes, limit: Duration, mut range: Range) -> Result<Answer, StoreError> {
    let mut answer = loop {
        let answer = nodes
            .call(Effect::Reads, limit, |clients| {
                let mut options = GetOptions::new().with_range(range.end.clone()).with_limit(range.keys);
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
            answer => break answer?,
        }
    };
    let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
    let revision = *range.at.get_or_insert(revision);
    nodes.saw(revision);
    let more = answer.more();
    let pairs = answer.take_kvs();
    let next = pairs.last().filter(|_| more).map(|last| {
        let bytes: usize = pairs.iter().map(|pair| pair.key().len() + pair.value().len()).sum();
        let mut start = last.key().to_vec();
        start.push(0);
        Range { start, keys: next_page(range.keys, pairs.len(), bytes), ..range }
    });
    Ok(Answer { pairs, revision, next })
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

fn is_answer_too_large(error: &StoreError) -> bool {
    matches!(error, StoreError::Aborted { message, .. } if message.contains("decoded message length too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
