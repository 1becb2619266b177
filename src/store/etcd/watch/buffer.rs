//! The bounded buffer between the task that reads etcd's stream and the consumer. The task never waits for the consumer.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::store::port::{Event, Revision, WatchBatch, WatchError};

/// Events of one batch. A batch has at least one whole revision.
const BATCH_EVENTS: usize = 10_000;
/// The limits of the buffer. Beyond them the watch ends and the consumer lists again, which costs less than the waiting events.
const BUFFER_EVENTS: usize = 500_000;
const BUFFER_BYTES: usize = 256 << 20;
/// About the size of an event without its key and value.
const EVENT_BYTES: usize = 128;

#[derive(Default)]
pub(in crate::store::etcd) struct Buffer {
    state: Mutex<BufferState>,
    filled: Notify,
}

#[derive(Default)]
struct BufferState {
    /// Whole revisions only.
    events: VecDeque<Event>,
    bytes: usize,
    ended: Option<WatchError>,
    nobody_listens: bool,
}

pub(super) enum Pushed {
    Taken,
    NobodyListens,
    TooMuch,
}

impl Buffer {
    pub(super) fn push(&self, events: Vec<Event>) -> Pushed {
        let mut state = self.state.lock();
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

    /// Ends the watch. Only the first reason counts. If the consumer has to list again, the waiting events are dropped.
    pub fn end(&self, why: WatchError) {
        let mut state = self.state.lock();
        if state.ended.is_none() {
            if matches!(why, WatchError::Compacted | WatchError::SetBack(_)) {
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
        let mut state = self.state.lock();
        state.nobody_listens = true;
        state.events = VecDeque::new();
        state.bytes = 0;
    }

    /// The next batch, or the reason of the end.
    pub async fn next(&self) -> Result<WatchBatch, WatchError> {
        loop {
            {
                let mut state = self.state.lock();
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

impl BufferState {
    fn take(&mut self) -> Option<WatchBatch> {
        let mut count = self.events.len().min(BATCH_EVENTS);
        let revision = self.events.get(count.checked_sub(1)?).map(revision)?;
        while self.events.get(count).is_some_and(|event| self::revision(event) == revision) {
            count += 1;
        }
        let events: Vec<Event> = self.events.drain(..count).collect();
        self.bytes = self.bytes.saturating_sub(events.iter().map(size).sum());
        if self.events.is_empty() {
            // Frees the memory of a burst.
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

/// The reader's end of the buffer. If it is dropped with the runtime, it tells the consumer that the store is closed.
pub(in crate::store::etcd) struct Writer(pub Arc<Buffer>);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.end(WatchError::Closed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn deletions(revision: Revision, count: usize) -> Vec<Event> {
        (0..count).map(|n| Event::Delete { key: format!("{n}").into(), revision }).collect()
    }

    #[test]
    fn batches_end_with_a_whole_revision() {
        let mut state = BufferState::default();
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
