//! The events of the record as server-sent events, as they happen.
//!
//! A feed holds no events: it knows the number of the last one that it has sent, and reads on in the record when its client has
//! taken that. A client that is so slow that the record has dropped its next event is told so, and its stream ends. The server ends
//! a stream whose client takes nothing (`server.response.timeout`).

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Complete, is_shown};
use crate::cache::SnapshotReader;
use crate::domain::event::Revision;
use crate::domain::json;
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto::error::ErrorBody;
use crate::http::dto::event::{RecordedEvent, event_id, parse_event_id};
use crate::http::event_streams::StreamPlace;
use crate::http::node::ThisNode;
use crate::rbac::signed_in::Holder;
use crate::rbac::{Grant, Resource, Verb};
use crate::recorder::{KindSet, Query, RecordReader};

/// Most events of a piece.
const PIECE: usize = 32;
/// The time between two comments, which show the client and proxies that the stream lives.
const PING: Duration = Duration::from_secs(15);
/// How often a stream that needs an account looks whether the account may still read.
const CHECK_HOLDER: Duration = Duration::from_secs(1);

/// The first event of each stream.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordState<'a> {
    /// Whether the stream goes on after the event that the client had last.
    resumed: bool,
    #[serde(flatten)]
    complete: Complete,
    revision: Revision,
    /// The address of the node.
    node: &'a str,
}

pub(super) struct EventFeed {
    record: RecordReader,
    query: Query,
    grant: Grant,
    /// The account that reads. `None` if the route needs none.
    holder: Option<Holder>,
    snapshots: SnapshotReader,
    /// The number of changes of accounts and roles at which the grant was decided.
    decided_at: u64,
    /// The last event that was looked at.
    cursor: u64,
    grew: watch::Receiver<u64>,
    node: Arc<ThisNode>,
    draining: Pin<Box<dyn Future<Output = ()>>>,
    ticks: Interval,
    /// How many ticks are missing until the next ping.
    until_ping: u32,
    ticks_per_ping: u32,
    first: Option<Bytes>,
    is_over: bool,
    _place: StreamPlace,
}

impl EventFeed {
    /// Opens a stream for a client that has the event `last_id`, or none if that is empty. 503001 if there are too many streams.
    pub(super) fn open(
        api: &Api,
        call: &Call,
        query: Query,
        last_id: &str,
    ) -> Result<impl Stream<Item = Bytes> + use<>, Error> {
        let place = api.streams.enter()?;
        let record = api.record.clone();
        // Seen before the first look at the record, so that no event is missed.
        let grew = record.follow();
        let known = parse_event_id(last_id).filter(|(seq, time)| is_of(&record, *seq, *time));
        let cursor = match (known, query.since) {
            (Some((seq, _)), _) => seq,
            // From the oldest event on. Those that are too old are passed over.
            (None, Some(_)) => 0,
            (None, None) => record.last_seq(),
        };
        let state = RecordState {
            resumed: known.is_some(),
            complete: record.complete_since().into(),
            revision: record.revision(),
            node: &api.rules.metrics.instance,
        };
        let mut first = Vec::new();
        let id = event_id(cursor, time_of(&record, cursor));
        put(&mut first, &id, "record", &state);
        let holder = call.caller().map(|caller| caller.hold_list(Verb::Get, Resource::Ops));
        let tick = if holder.is_some() { CHECK_HOLDER } else { PING };
        let ticks_per_ping = u32::try_from(PING.as_secs() / tick.as_secs()).unwrap_or(1);
        let mut ticks = interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        let feed = Self {
            record,
            query: Query { limit: PIECE, ..query },
            grant: call.grant().clone(),
            holder,
            snapshots: api.reader.clone(),
            // Asks once more: accounts may have changed since the request was admitted.
            decided_at: u64::MAX,
            cursor,
            grew,
            draining: Box::pin(Arc::clone(api.node.draining()).wait()),
            node: Arc::clone(&api.node),
            ticks,
            until_ping: ticks_per_ping,
            ticks_per_ping,
            first: Some(first.into()),
            is_over: false,
            _place: place,
        };
        Ok(unfold(feed, |mut feed| async move { feed.next().await.map(|piece| (piece, feed)) }))
    }

    /// The next piece of the stream. `None` if it is over.
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        loop {
            if self.node.draining().is_raised() {
                return self.end(&Error::new(Code::Unavailable, "the node is stopping"));
            }
            if let Some(refusal) = self.refusal() {
                return self.end(&refusal);
            }
            if let Some(first) = self.first.take() {
                return Some(first);
            }
            self.grew.borrow_and_update();
            let from = self.cursor;
            let (events, looked) = self.record.after(from, &self.query, |event| is_shown(&self.grant, event));
            if from > 0 && self.record.last_seq() > from && !self.record.knows(from + 1) {
                let detail = "the record has dropped events that the client had not taken yet";
                return self.end(&Error::new(Code::Overloaded, detail));
            }
            self.cursor = looked;
            if !events.is_empty() {
                let mut piece = Vec::new();
                for event in &events {
                    let id = event_id(event.seq, event.time);
                    put(&mut piece, &id, event.kind.name(), &RecordedEvent::from(&**event));
                }
                return Some(piece.into());
            }
            if looked < self.record.last_seq() && looked > from {
                // None of so many events is for this stream. Other requests come before the next ones.
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                // When the server stops, it asks for one more piece, which must say why the stream ends.
                biased;
                () = &mut self.draining => {}
                _ = self.ticks.tick() => {
                    self.until_ping -= 1;
                    if self.until_ping == 0 {
                        self.until_ping = self.ticks_per_ping;
                        return Some(Bytes::from_static(b": ping\n\n"));
                    }
                }
                grew = self.grew.changed() => if grew.is_err() {
                    // The process ends.
                    return None;
                },
            }
        }
    }

    /// Why the account may not read any more. Decides anew what it sees, if accounts or roles have changed.
    fn refusal(&mut self) -> Option<Error> {
        let holder = self.holder.as_ref()?;
        let snapshot = self.snapshots.load();
        let view = &snapshot.access;
        if self.decided_at == view.changes() {
            return None;
        }
        self.decided_at = view.changes();
        match holder.grant(view) {
            Ok(grant) => {
                self.grant = grant;
                None
            }
            Err(refusal) => Some(refusal),
        }
    }

    /// The last event, which says why the stream ends.
    fn end(&mut self, why: &Error) -> Option<Bytes> {
        self.is_over = true;
        let mut last = b"event: end\ndata: ".to_vec();
        json::encode_into(&ErrorBody::from(why), &mut last);
        last.extend_from_slice(b"\n\n");
        Some(last.into())
    }
}

/// Whether this is an event of the record. Then the record has all events after it.
fn is_of(record: &RecordReader, seq: u64, time: i64) -> bool {
    seq > 0 && record.knows(seq) && time_of(record, seq) == time
}

/// The time of an event. 0 if the record does not have it.
fn time_of(record: &RecordReader, seq: u64) -> i64 {
    let one = Query { limit: 1, kinds: KindSet::ALL, ..Query::default() };
    let (events, _) = record.after(seq.saturating_sub(1), &one, |_| true);
    events.first().filter(|event| event.seq == seq).map_or(0, |event| event.time)
}

/// Adds an event in the form of the HTML standard. JSON has no line breaks.
fn put(out: &mut Vec<u8>, id: &str, kind: &str, data: &impl Serialize) {
    let mut head = String::new();
    // Writing to a text does not fail.
    let _ = write!(head, "id: {id}\nevent: {kind}\ndata: ");
    out.extend_from_slice(head.as_bytes());
    json::encode_into(data, out);
    out.extend_from_slice(b"\n\n");
}
