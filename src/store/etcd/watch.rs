//! One watch: a task reads etcd's stream as fast as it comes, a bounded buffer holds what the consumer has not taken. It
//! does not reconnect: the consumer knows the last revision it took and watches again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::Streaming;

use super::entries::{Skipped, lease, prefix_end, prefix_start};
use super::nodes::Nodes;
use super::wire::{
    self, WatchCreateRequest, WatchEvent, WatchProgressRequest, WatchRequest, WatchRequestUnion,
    WatchResponse,
};
use crate::store::port::{Entry, Event, Revision, WatchBatch, WatchError};

/// etcd must confirm a watch within this time.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// After this much silence etcd is asked for a sign of life…
const QUIET: Duration = Duration::from_secs(2);
/// …and after this much more the watch is given up.
const SILENT: Duration = Duration::from_secs(3);

/// Events handed over at once, at least a whole revision.
const BATCH_EVENTS: usize = 10_000;
/// What waits for the consumer; beyond it the watch ends and the consumer lists again, which costs less than what waits.
const BUFFER_EVENTS: usize = 500_000;
const BUFFER_BYTES: usize = 256 << 20;
/// A rough size of an event beside its key and value.
const EVENT_BYTES: usize = 128;

/// Reads the stream until it ends, the buffer overflows or nobody listens.
pub(super) async fn read(
    nodes: Nodes,
    skipped: Arc<Skipped>,
    prefix: String,
    from: Revision,
    writer: Writer,
) {
    let (why, suspect) = match follow(&nodes, &skipped, &prefix, from, &writer.0).await {
        Ok(()) => (WatchError::Lost("nobody listens".to_owned()), None),
        Err(Ended { error, suspect }) => (error, suspect),
    };
    if let (WatchError::Lost(why), Some(index)) = (&why, suspect) {
        nodes.suspect(index, why);
    }
    writer.0.end(why);
}

/// The reader's end of the buffer. Dropped with the runtime, it tells the consumer so.
pub(super) struct Writer(pub Arc<Buffer>);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.end(WatchError::Lost("the store is closed".to_owned()));
    }
}

struct Ended {
    error: WatchError,
    /// The node to look after.
    suspect: Option<usize>,
}

async fn follow(
    nodes: &Nodes,
    skipped: &Skipped,
    prefix: &str,
    from: Revision,
    buffer: &Buffer,
) -> Result<(), Ended> {
    let plain = |error: WatchError| Ended { error, suspect: None };
    let (index, connector) = nodes.connector();
    let lost = |why: String| Ended { error: WatchError::Lost(why), suspect: Some(index) };
    let deadline = Instant::now() + OPEN_LIMIT;
    let token = nodes.stream_token().await.map_err(|error| plain(WatchError::Lost(error.to_string())))?;
    // A connection of its own: what is behind a large listing or a dead connection would come late.
    let channel = connector.channel().map_err(|error| plain(WatchError::Lost(error.0)))?;
    let (requests, queue) = mpsc::channel(4);
    let create = WatchCreateRequest {
        key: prefix_start(prefix),
        range_end: prefix_end(prefix.as_bytes()),
        // 0 would mean "from now on".
        start_revision: from.max(1),
        progress_notify: true,
        fragment: true,
    };
    drop(requests.try_send(WatchRequest { request: Some(WatchRequestUnion::Create(create)) }));
    let address = connector.address();
    let opened = timeout_at(deadline, wire::open(channel, wire::WATCH, token, queue)).await;
    let mut stream: Streaming<WatchResponse> = match opened {
        Ok(Ok(stream)) => stream,
        Ok(Err(status)) => {
            nodes.forget_stream_token();
            return Err(lost(format!("watch at etcd {address}: {}", status.message())));
        }
        Err(_) => return Err(lost(format!("watch at etcd {address}: no answer within {OPEN_LIMIT:?}"))),
    };
    let mut assembler = Assembler::new(from);
    loop {
        let answer = match timeout(QUIET, stream.message()).await {
            Ok(answer) => answer,
            Err(_) => {
                // Full means that the last one was not even sent.
                let progress = WatchRequestUnion::Progress(WatchProgressRequest {});
                drop(requests.try_send(WatchRequest { request: Some(progress) }));
                match timeout(SILENT, stream.message()).await {
                    Ok(answer) => answer,
                    Err(_) => {
                        return Err(lost(format!(
                            "watch at etcd {address}: silent for {:?}",
                            QUIET + SILENT
                        )));
                    }
                }
            }
        };
        let answer = match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => return Err(lost(format!("watch at etcd {address}: ended"))),
            Err(status) => {
                nodes.forget_stream_token();
                return Err(lost(format!("watch at etcd {address}: {}", status.message())));
            }
        };
        if answer.compact_revision != 0 {
            return Err(plain(WatchError::Compacted));
        }
        if answer.canceled {
            // An outdated token is told as a missing permission.
            nodes.forget_stream_token();
            let why = format!("watch at etcd {address}: {}", answer.cancel_reason);
            return Err(plain(WatchError::Lost(why)));
        }
        // A sign of life; it must not pass for the last fragment of something.
        if answer.events.is_empty() {
            continue;
        }
        let whole = assembler.take(answer.events, answer.fragment, skipped).map_err(plain)?;
        match buffer.push(whole) {
            Pushed::Taken => {}
            Pushed::NobodyListens => return Ok(()),
            Pushed::TooMuch => return Err(plain(WatchError::Compacted)),
        }
    }
}

/// Holds back the events of a revision that is not complete.
struct Assembler {
    pending: Vec<Event>,
    pending_revision: Revision,
    /// The last revision given out.
    reached: Revision,
}

impl Assembler {
    fn new(from: Revision) -> Self {
        Self { pending: Vec::new(), pending_revision: 0, reached: from.max(1) - 1 }
    }

    /// Takes an answer's events; gives those of whole revisions.
    fn take(
        &mut self,
        events: Vec<WatchEvent>,
        fragment: bool,
        skipped: &Skipped,
    ) -> Result<Vec<Event>, WatchError> {
        let mut whole = Vec::new();
        for event in events {
            let Some((revision, event)) = self.event(event, skipped) else { continue };
            // Never seen; if etcd ever repeats or reorders, only a new listing is sure.
            if revision <= self.reached || revision < self.pending_revision {
                return Err(WatchError::Compacted);
            }
            if revision > self.pending_revision {
                self.complete(&mut whole);
                self.pending_revision = revision;
            }
            self.pending.extend(event);
            if self.pending.len() > BUFFER_EVENTS {
                return Err(WatchError::Compacted);
            }
        }
        if !fragment {
            self.complete(&mut whole);
        }
        Ok(whole)
    }

    fn complete(&mut self, whole: &mut Vec<Event>) {
        if self.pending_revision > self.reached {
            self.reached = self.pending_revision;
        }
        whole.append(&mut self.pending);
    }

    fn event(&self, event: WatchEvent, skipped: &Skipped) -> Option<(Revision, Option<Event>)> {
        let kv = event.kv?;
        let revision = kv.mod_revision;
        let Some(key) = skipped.key(&kv.key) else { return Some((revision, None)) };
        let event = match event.kind {
            0 => Event::Put(Entry {
                key,
                value: Bytes::from(kv.value),
                create_revision: kv.create_revision,
                mod_revision: revision,
                version: kv.version,
                lease: lease(kv.lease),
            }),
            _ => Event::Delete { key, revision },
        };
        Some((revision, Some(event)))
    }
}

/// Between the reader and the consumer.
#[derive(Default)]
pub(super) struct Buffer {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Default)]
struct State {
    /// Whole revisions only.
    events: VecDeque<Event>,
    bytes: usize,
    ended: Option<WatchError>,
    nobody_listens: bool,
}

enum Pushed {
    Taken,
    NobodyListens,
    TooMuch,
}

impl Buffer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, events: Vec<Event>) -> Pushed {
        let mut state = self.lock();
        if state.nobody_listens {
            return Pushed::NobodyListens;
        }
        if events.is_empty() {
            return Pushed::Taken;
        }
        state.bytes += events.iter().map(size).sum::<usize>();
        state.events.extend(events);
        if state.events.len() > BUFFER_EVENTS || state.bytes > BUFFER_BYTES {
            return Pushed::TooMuch;
        }
        drop(state);
        self.filled.notify_one();
        Pushed::Taken
    }

    /// Ends it; only the first word counts. A consumer that has to list again gets nothing of what waits.
    pub fn end(&self, why: WatchError) {
        let mut state = self.lock();
        if state.ended.is_none() {
            if why == WatchError::Compacted {
                state.events = VecDeque::new();
                state.bytes = 0;
            }
            state.ended = Some(why);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// The consumer is gone.
    pub fn abandon(&self) {
        let mut state = self.lock();
        state.nobody_listens = true;
        state.events = VecDeque::new();
        state.bytes = 0;
    }

    /// All that is ready, up to a bound, or the end.
    pub async fn next(&self) -> Result<WatchBatch, WatchError> {
        loop {
            {
                let mut state = self.lock();
                if let Some(batch) = state.take() {
                    return Ok(batch);
                }
                if let Some(why) = &state.ended {
                    return Err(why.clone());
                }
            }
            self.filled.notified().await;
        }
    }
}

impl State {
    fn take(&mut self) -> Option<WatchBatch> {
        let mut count = self.events.len().min(BATCH_EVENTS);
        let revision = self.events.get(count.checked_sub(1)?).map(revision)?;
        while self.events.get(count).is_some_and(|event| self::revision(event) == revision) {
            count += 1;
        }
        let events: Vec<Event> = self.events.drain(..count).collect();
        self.bytes = self.bytes.saturating_sub(events.iter().map(size).sum());
        if self.events.is_empty() {
            // Gives back what a burst had taken.
            self.events.shrink_to(BATCH_EVENTS);
        }
        Some(WatchBatch { revision, events })
    }
}

fn revision(event: &Event) -> Revision {
    match event {
        Event::Put(entry) => entry.mod_revision,
        Event::Delete { revision, .. } => *revision,
    }
}

fn size(event: &Event) -> usize {
    EVENT_BYTES
        + match event {
            Event::Put(entry) => entry.key.len() + entry.value.len(),
            Event::Delete { key, .. } => key.len(),
        }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn event(revision: Revision, key: &str) -> WatchEvent {
        let kv = wire::KeyValue { key: key.into(), mod_revision: revision, ..Default::default() };
        WatchEvent { kind: 1, kv: Some(kv) }
    }

    fn brief(events: &[Event]) -> Vec<String> {
        let brief = |event: &Event| match event {
            Event::Put(entry) => format!("+{}", entry.key),
            Event::Delete { key, revision } => format!("{revision}{key}"),
        };
        events.iter().map(brief).collect()
    }

    #[test]
    fn a_revision_cut_by_fragments_is_given_out_whole() {
        let skipped = Skipped::default();
        let mut assembler = Assembler::new(5);
        let first =
            assembler.take(vec![event(5, "a"), event(6, "a"), event(6, "b")], true, &skipped).unwrap();
        assert_eq!(brief(&first), ["5a"], "6 may go on in the next fragment");
        let second = assembler.take(vec![event(6, "c")], true, &skipped).unwrap();
        assert!(second.is_empty());
        let third = assembler.take(vec![event(6, "d"), event(7, "a")], false, &skipped).unwrap();
        assert_eq!(brief(&third), ["6a", "6b", "6c", "6d", "7a"]);
        assert!(assembler.take(Vec::new(), false, &skipped).unwrap().is_empty());
    }

    #[test]
    fn what_was_given_out_does_not_come_again() {
        let skipped = Skipped::default();
        let mut assembler = Assembler::new(5);
        assembler.take(vec![event(5, "a")], false, &skipped).unwrap();
        assert_eq!(assembler.take(vec![event(5, "b")], false, &skipped), Err(WatchError::Compacted));
        let mut assembler = Assembler::new(5);
        assert_eq!(assembler.take(vec![event(4, "b")], false, &skipped), Err(WatchError::Compacted));
    }

    #[test]
    fn keys_that_are_no_text_are_left_out_without_ending_the_watch() {
        let skipped = Skipped::default();
        let mut bad = event(5, "");
        bad.kv.as_mut().unwrap().key = vec![b'/', 0xff];
        let whole = Assembler::new(5).take(vec![bad, event(5, "a"), event(6, "b")], false, &skipped).unwrap();
        assert_eq!((brief(&whole), skipped.count()), (vec!["5a".to_owned(), "6b".to_owned()], 1));
    }

    fn deletions(revision: Revision, count: usize) -> Vec<Event> {
        (0..count).map(|n| Event::Delete { key: format!("{n}").into(), revision }).collect()
    }

    #[test]
    fn batches_end_with_a_whole_revision() {
        let mut state = State::default();
        for revision in 1..=3 {
            state.events.extend(deletions(revision, 6_000));
        }
        let sizes: Vec<_> =
            std::iter::from_fn(|| state.take()).map(|b| (b.revision, b.events.len())).collect();
        assert_eq!(sizes, [(2, 12_000), (3, 6_000)]);
    }

    #[tokio::test]
    async fn a_consumer_too_slow_has_to_list_again() {
        let buffer = Buffer::default();
        assert!(matches!(buffer.push(deletions(1, BUFFER_EVENTS)), Pushed::Taken));
        assert!(matches!(buffer.push(deletions(2, 1)), Pushed::TooMuch));
        buffer.end(WatchError::Compacted);
        buffer.end(WatchError::Lost("later".to_owned()));
        assert_eq!(buffer.next().await, Err(WatchError::Compacted));
    }

    #[tokio::test]
    async fn what_came_before_the_end_is_handed_over() {
        let buffer = Buffer::default();
        buffer.push(deletions(1, 2));
        buffer.end(WatchError::Lost("cut".to_owned()));
        assert_eq!(buffer.next().await.unwrap().events.len(), 2);
        assert_eq!(buffer.next().await, Err(WatchError::Lost("cut".to_owned())));
        buffer.abandon();
        assert!(matches!(buffer.push(deletions(3, 1)), Pushed::NobodyListens));
    }
}
