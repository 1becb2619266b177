//! The outbox of one watch session: the events that are still to be sent.
//!
//! The hub pushes events from its thread, and the session takes them on its own thread. While a session is slow, several events
//! of one instance become one event with the latest state. So the number of instances bounds the outbox, not the number of
//! changes. A frame is encoded once and shared by all sessions that get it. This file does no I/O.
//!
//! An outbox also marks the [`Delivery`] of each event: as sent when the session takes the next events, because it does so only
//! after it has written the former ones.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{BufMut as _, Bytes, BytesMut};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::cache::Action;
use crate::clock::Stopwatch;
use crate::domain::event::InstanceRef;
use crate::frame::start_text_frame;
use crate::metrics;
use crate::recorder::delivery::Delivery;

/// How many instances may have an event waiting in one outbox. If there are more, the session is aborted, and the client
/// connects again.
pub const MOST_PENDING: usize = 65_536;

/// The word for an action in a message. All have one length, so a frame can be changed from one to another in place.
const fn word(action: Action) -> &'static [u8; 6] {
    match action {
        Action::Create => b"CREATE",
        Action::Update => b"UPDATE",
        Action::Delete => b"DELETE",
    }
}

/// An event as bytes on the wire: a whole unfragmented text frame with its header.
#[derive(Debug)]
pub struct EventFrame {
    action: Action,
    /// The instance was shown before this event. This can hold for `CREATE` too: an instance that registers again while its
    /// expiry is held.
    was_shown: bool,
    bytes: Bytes,
    /// The offset in `bytes` of the word for the action.
    word_at: usize,
    /// When readers could load the change, and when it was encoded. For metrics.
    published: Stopwatch,
    queued: Stopwatch,
    delivery: Option<Arc<Delivery>>,
}

impl EventFrame {
    /// Encodes `{"action":"CREATE","key":…,"instance":…}`. `key` and `instance` are JSON values.
    pub fn new(action: Action, key: &[u8], instance: &[u8]) -> Self {
        const BEFORE_WORD: &[u8] = br#"{"action":""#;
        const BEFORE_KEY: &[u8] = br#"","key":"#;
        const BEFORE_INSTANCE: &[u8] = br#","instance":"#;
        let word = word(action);
        let length = BEFORE_WORD.len()
            + word.len()
            + BEFORE_KEY.len()
            + key.len()
            + BEFORE_INSTANCE.len()
            + instance.len()
            + 1;
        let mut frame = start_text_frame(length);
        let word_at = frame.len() + BEFORE_WORD.len();
        for part in [BEFORE_WORD, word, BEFORE_KEY, key, BEFORE_INSTANCE, instance, b"}"] {
            frame.put_slice(part);
        }
        let queued = Stopwatch::start();
        let (was_shown, bytes) = (action != Action::Create, frame.freeze());
        Self { action, was_shown, bytes, word_at, published: queued, queued, delivery: None }
    }

    /// The same frame, of a change that was published before.
    pub fn published(self, published: Stopwatch) -> Self {
        Self { published, ..self }
    }

    /// The same frame, for an instance that was shown before.
    pub fn of_shown(self) -> Self {
        Self { was_shown: true, ..self }
    }

    /// The same frame. The sessions mark what becomes of it.
    pub fn marking(self, delivery: Arc<Delivery>) -> Self {
        Self { delivery: Some(delivery), ..self }
    }

    /// The bytes with this action. Copies them only if the action differs.
    fn bytes(&self, action: Action) -> Bytes {
        if action == self.action {
            return self.bytes.clone();
        }
        let mut copy = BytesMut::from(self.bytes.as_ref());
        if let Some(place) = copy.get_mut(self.word_at..self.word_at + word(action).len()) {
            place.copy_from_slice(word(action));
        }
        copy.freeze()
    }

    fn mark(&self, mark: impl FnOnce(&Delivery)) {
        if let Some(delivery) = &self.delivery {
            mark(delivery);
        }
    }
}

/// How the server ends a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Sends a close frame.
    Close {
        code: u16,
        /// Reason, at most 123 bytes.
        reason: Cow<'static, str>,
    },
    /// Sends one text message and ends the connection without a close frame.
    Say(Cow<'static, str>),
    /// Resets the connection, because the client is too slow or gone. The client sees an error and connects again. Not every
    /// client does so after a clean close.
    Abort,
}

/// What [`OutboxReader::poll_take`] returns.
#[derive(Debug, PartialEq, Eq)]
pub enum OutboxItem {
    /// One or more whole frames to send.
    Frames(Bytes),
    /// The session ends in this way. Pending events are dropped, because a client that reconnects lists again.
    End(End),
}

/// The hub's side of an outbox. Clones push into the same session.
#[derive(Clone, Debug)]
pub struct Outbox(Arc<Mutex<OutboxState>>);

/// The session's side of an outbox.
#[derive(Debug)]
pub struct OutboxReader(Arc<Mutex<OutboxState>>);

#[derive(Debug, Default)]
struct OutboxState {
    /// Ordered by the first pending event of each instance.
    pending: BTreeMap<u64, (Arc<InstanceRef>, Pending)>,
    places: HashMap<Arc<InstanceRef>, u64>,
    next_place: u64,
    /// The session writes these now.
    writing: SmallVec<[Arc<EventFrame>; 1]>,
    sent: OutboxSent,
    most: usize,
    end: Option<End>,
    reader_gone: bool,
    waker: Option<Waker>,
}

/// The events of one instance since the last sent one, merged.
#[derive(Debug)]
struct Pending {
    /// Whether the client knows the instance. If it does, a deletion must be sent. If not, a deletion removes the event.
    known: bool,
    action: Action,
    frame: Arc<EventFrame>,
}

/// What a session has written.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutboxSent {
    /// How many events.
    pub count: u64,
    pub last: Option<Stopwatch>,
}

/// Makes an outbox for `most` pending instances, usually [`MOST_PENDING`].
pub fn outbox(most: usize) -> (Outbox, OutboxReader) {
    let state = Arc::new(Mutex::new(OutboxState { most, ..OutboxState::default() }));
    (Outbox(Arc::clone(&state)), OutboxReader(state))
}

impl Outbox {
    /// Adds an event. Aborts the session if too many instances have an event waiting.
    pub fn push(&self, instance: &Arc<InstanceRef>, frame: &Arc<EventFrame>) {
        let waker = {
            let mut state = self.0.lock();
            if state.end.is_some() || state.reader_gone {
                frame.mark(Delivery::lost);
                return;
            }
            state.add(instance, frame);
            if state.pending.len() > state.most {
                metrics::WATCHES_ABORTED.add(1);
                state.finish(End::Abort);
            }
            state.waker.take()
        };
        wake(waker);
    }

    /// Ends the session. A second end is ignored.
    pub fn finish(&self, end: End) {
        let waker = {
            let mut state = self.0.lock();
            if state.end.is_some() {
                return;
            }
            state.finish(end);
            state.waker.take()
        };
        wake(waker);
    }

    /// Whether the session is over. Events pushed after that are not sent.
    pub fn is_closed(&self) -> bool {
        let state = self.0.lock();
        state.reader_gone || state.end.is_some()
    }

    /// How many instances have an event waiting.
    pub fn pending(&self) -> usize {
        self.0.lock().pending.len()
    }

    pub fn sent(&self) -> OutboxSent {
        self.0.lock().sent
    }

    /// Whether an event of the instance waits or is being written.
    pub fn owes(&self, instance: &InstanceRef) -> bool {
        let state = self.0.lock();
        let is_of = |frame: &Arc<EventFrame>| frame.delivery.as_ref().is_some_and(|d| **d.at() == *instance);
        state.places.contains_key(instance) || state.writing.iter().any(is_of)
    }
}

impl OutboxReader {
    /// Takes waiting frames, oldest first: at least one, and more while they fit into `most_bytes` together.
    pub fn poll_take(&mut self, cx: &mut Context<'_>, most_bytes: usize) -> Poll<OutboxItem> {
        let mut frames: Vec<Bytes> = Vec::new();
        let mut state = self.0.lock();
        state.mark_written();
        if let Some(end) = &state.end {
            return Poll::Ready(OutboxItem::End(end.clone()));
        }
        let (mut size, mut now) = (0, None);
        while let Some(entry) = state.pending.first_entry() {
            let (_, waiting) = entry.get();
            if !frames.is_empty() && size + waiting.frame.bytes.len() > most_bytes {
                break;
            }
            let (instance, waiting) = entry.remove();
            state.places.remove(&instance);
            size += waiting.frame.bytes.len();
            let now = *now.get_or_insert_with(Stopwatch::start);
            metrics::DELIVERY_TIME.observe(now.since(waiting.frame.published));
            metrics::PENDING_TIME.observe(now.since(waiting.frame.queued));
            frames.push(waiting.frame.bytes(waiting.action));
            state.writing.push(waiting.frame);
        }
        if state.pending.is_empty() && state.places.capacity() > IDLE_CAPACITY {
            state.places = HashMap::new();
        }
        metrics::EVENTS_DELIVERED.add(frames.len());
        match frames.as_slice() {
            [] => {
                // A session polls after each of its own events too, mostly with the same waker.
                if !state.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                    state.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            [one] => Poll::Ready(OutboxItem::Frames(one.clone())),
            many => {
                drop(state);
                let mut joined = BytesMut::with_capacity(size);
                for frame in many {
                    joined.extend_from_slice(frame);
                }
                Poll::Ready(OutboxItem::Frames(joined.freeze()))
            }
        }
    }
}

/// The capacity of `places` that an idle session keeps.
const IDLE_CAPACITY: usize = 16;

impl Drop for OutboxReader {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.reader_gone = true;
        state.forget();
    }
}

impl OutboxState {
    fn add(&mut self, instance: &Arc<InstanceRef>, frame: &Arc<EventFrame>) {
        let Some(place) = self.places.get(instance).copied() else {
            let (known, action) = (frame.was_shown, frame.action);
            let pending = Pending { known, action, frame: Arc::clone(frame) };
            self.pending.insert(self.next_place, (Arc::clone(instance), pending));
            self.places.insert(Arc::clone(instance), self.next_place);
            self.next_place += 1;
            return;
        };
        let Some((_, pending)) = self.pending.get_mut(&place) else { return };
        pending.frame.mark(Delivery::replaced);
        pending.action = match (pending.known, pending.action, frame.action) {
            // The client never knew it.
            (false, _, Action::Delete) => {
                frame.mark(Delivery::replaced);
                self.pending.remove(&place);
                self.places.remove(instance);
                return;
            }
            (true, _, Action::Delete) => Action::Delete,
            (false, ..) | (true, Action::Create, _) | (true, _, Action::Create) => Action::Create,
            (true, _, Action::Update) => Action::Update,
        };
        pending.frame = Arc::clone(frame);
    }

    /// Notes that all that was taken is written.
    fn mark_written(&mut self) {
        if self.writing.is_empty() {
            return;
        }
        let now = Stopwatch::start();
        for frame in &self.writing {
            frame.mark(|delivery| delivery.sent(now.since(frame.published)));
            self.sent.count += 1;
        }
        self.sent.last = Some(now);
        // Frees what a burst took.
        self.writing = SmallVec::new();
    }

    fn finish(&mut self, end: End) {
        self.end = Some(end);
        self.forget();
    }

    fn forget(&mut self) {
        metrics::EVENTS_LOST.add(self.pending.len());
        let pending = self.pending.values().map(|(_, pending)| &pending.frame);
        pending.chain(&self.writing).for_each(|frame| frame.mark(Delivery::lost));
        self.writing = SmallVec::new();
        self.pending = BTreeMap::new();
        self.places = HashMap::new();
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::domain::{InstanceId, ServiceId, Tenant};

    fn instance(id: &str) -> Arc<InstanceRef> {
        Arc::new(InstanceRef {
            tenant: Tenant::default_tenant(),
            service: ServiceId::from("s"),
            instance: InstanceId::from(id),
        })
    }

    fn encoded(action: Action, document: &str) -> EventFrame {
        EventFrame::new(action, b"{}", format!("\"{document}\"").as_bytes())
    }

    fn frame(action: Action, document: &str) -> Arc<EventFrame> {
        Arc::new(encoded(action, document))
    }

    /// The messages in a run of frames, as `CREATE a1`.
    fn messages(mut frames: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        while let [0x81, length, rest @ ..] = frames {
            let (text, next) = rest.split_at(usize::from(*length));
            let text = std::str::from_utf8(text).expect("text");
            let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
            let part = |name: &str| value[name].as_str().expect("a text").to_owned();
            out.push(format!("{} {}", part("action"), part("instance")));
            frames = next;
        }
        assert!(frames.is_empty(), "whole frames");
        out
    }

    fn take(reader: &mut OutboxReader) -> Vec<String> {
        let mut out = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(taken) = reader.poll_take(&mut cx, 300) {
            match taken {
                OutboxItem::Frames(frames) => out.extend(messages(&frames)),
                OutboxItem::End(end) => {
                    out.push(format!("{end:?}"));
                    break;
                }
            }
        }
        out
    }

    /// Pushes events of one instance and checks what is sent. `C1` is a CREATE with document 1; `R1` is the same for an
    /// instance that was shown before.
    fn check(events: &str, expected: &[&str]) {
        let (outbox, mut reader) = outbox(10);
        let one = instance("a");
        for event in events.split(' ') {
            let (letter, document) = event.split_at(1);
            let action = match letter {
                "C" | "R" => Action::Create,
                "U" => Action::Update,
                _ => Action::Delete,
            };
            let frame = encoded(action, document);
            outbox.push(&one, &Arc::new(if letter == "R" { frame.of_shown() } else { frame }));
        }
        assert_eq!(take(&mut reader), expected, "{events}");
        assert_eq!(outbox.pending(), 0);
    }

    #[test]
    fn events_of_one_instance_become_one() {
        check("C1", &["CREATE 1"]);
        check("C1 U2", &["CREATE 2"]);
        check("C1 U2 U3", &["CREATE 3"]);
        check("C1 D2", &[]);
        check("C1 U2 D3", &[]);
        check("C1 D2 C3", &["CREATE 3"]);
        check("U1 U2", &["UPDATE 2"]);
        check("U1 D2", &["DELETE 2"]);
        check("D1 C2", &["CREATE 2"]);
        check("D1 C2 U3", &["CREATE 3"]);
        check("U1 D2 C3 U4", &["CREATE 4"]);
        // The watcher knew it before, so it must hear of its end.
        check("D1 C2 D3", &["DELETE 3"]);
        check("R1 D2", &["DELETE 2"]);
        check("R1 U2 D3 C4", &["CREATE 4"]);
        check("D1 D2", &["DELETE 2"]);
        check("C1 C2", &["CREATE 2"]);
    }

    #[test]
    fn the_first_pending_event_decides_the_order() {
        let (outbox, mut reader) = outbox(10);
        let (a, b, c) = (instance("a"), instance("b"), instance("c"));
        outbox.push(&a, &frame(Action::Update, "a1"));
        outbox.push(&b, &frame(Action::Create, "b1"));
        outbox.push(&c, &frame(Action::Create, "c1"));
        outbox.push(&a, &frame(Action::Update, "a2"));
        outbox.push(&b, &frame(Action::Delete, "b2"));
        outbox.push(&b, &frame(Action::Create, "b3"));
        assert_eq!(take(&mut reader), ["UPDATE a2", "CREATE c1", "CREATE b3"]);
    }

    #[test]
    fn too_many_pending_instances_abort_the_session() {
        let (outbox, mut reader) = outbox(2);
        for id in ["a", "b", "a", "c", "d"] {
            outbox.push(&instance(id), &frame(Action::Update, id));
        }
        assert!(outbox.is_closed());
        assert_eq!(outbox.pending(), 0, "what waits for an aborted session is freed");
        assert_eq!(take(&mut reader), ["Abort"]);
    }

    #[test]
    fn the_first_end_counts_and_drops_what_waits() {
        let (outbox, mut reader) = outbox(2);
        outbox.push(&instance("a"), &frame(Action::Create, "a"));
        outbox.finish(End::Close { code: 1001, reason: "".into() });
        outbox.finish(End::Abort);
        assert_eq!(take(&mut reader), ["Close { code: 1001, reason: \"\" }"]);
    }

    #[test]
    fn a_gone_reader_frees_what_waits() {
        let (outbox, reader) = outbox(2);
        outbox.push(&instance("a"), &frame(Action::Create, "a"));
        drop(reader);
        outbox.push(&instance("b"), &frame(Action::Create, "b"));
        assert!(outbox.is_closed());
        assert_eq!(outbox.pending(), 0);
    }

    #[test]
    fn a_batch_is_bounded_but_never_empty() {
        let (outbox, mut reader) = outbox(10);
        for id in ["a", "b", "c"] {
            outbox.push(&instance(id), &frame(Action::Create, id));
        }
        let mut cx = Context::from_waker(Waker::noop());
        let mut sizes = Vec::new();
        while let Poll::Ready(OutboxItem::Frames(frames)) = reader.poll_take(&mut cx, 1) {
            sizes.push(messages(&frames).len());
        }
        assert_eq!(sizes, [1, 1, 1]);
    }

    /// A delivery to one watch, and a frame that marks it.
    fn delivery(of: &Arc<InstanceRef>, action: Action) -> (Arc<Delivery>, Arc<EventFrame>) {
        let delivery = Arc::new(Delivery::new(1, Arc::clone(of), Vec::new().into(), 1, 0));
        let frame = encoded(action, "x").marking(Arc::clone(&delivery));
        (delivery, Arc::new(frame))
    }

    /// How a delivery to one watch has ended.
    fn fate(delivery: &Delivery) -> &'static str {
        let told = delivery.summary();
        match [told.waiting, told.sent, told.replaced, told.lost] {
            [1, 0, 0, 0] => "waiting",
            [0, 1, 0, 0] => "sent",
            [0, 0, 1, 0] => "replaced",
            [0, 0, 0, 1] => "lost",
            _ => "counted more than once",
        }
    }

    #[test]
    fn a_frame_is_sent_when_the_session_asks_for_the_next() {
        let (outbox, mut reader) = outbox(10);
        let one = instance("a");
        let (delivery, frame) = delivery(&one, Action::Create);
        assert!(!outbox.owes(&one));
        outbox.push(&one, &frame);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(outbox.owes(&one));
        assert!(reader.poll_take(&mut cx, 100).is_ready());
        assert!(outbox.owes(&one), "the session writes it");
        assert_eq!((fate(&delivery), outbox.sent().count), ("waiting", 0));
        assert!(reader.poll_take(&mut cx, 100).is_pending());
        assert!(!outbox.owes(&one));
        assert_eq!((fate(&delivery), outbox.sent().count), ("sent", 1));
        assert!(outbox.sent().last.is_some());
    }

    #[test]
    fn every_delivery_has_one_end() {
        let (outbox, mut reader) = outbox(10);
        let [a, b, c] = ["a", "b", "c"].map(instance);
        let (created, create) = delivery(&a, Action::Create);
        let (updated, update) = delivery(&a, Action::Update);
        let (deleted, delete) = delivery(&a, Action::Delete);
        outbox.push(&a, &create);
        outbox.push(&a, &update);
        assert_eq!([fate(&created), fate(&updated)], ["replaced", "waiting"]);
        outbox.push(&a, &delete);
        assert_eq!([fate(&updated), fate(&deleted)], ["replaced", "replaced"]);
        let (taken, frame) = delivery(&b, Action::Create);
        outbox.push(&b, &frame);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(reader.poll_take(&mut cx, 100).is_ready());
        let (waits, frame) = delivery(&c, Action::Create);
        outbox.push(&c, &frame);
        drop(reader);
        assert_eq!([fate(&taken), fate(&waits)], ["lost", "lost"]);
        let (late, frame) = delivery(&c, Action::Create);
        outbox.push(&c, &frame);
        assert_eq!(fate(&late), "lost");
    }

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_waiting_reader_is_woken_from_another_thread() {
        let (outbox, mut reader) = outbox(10);
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        assert!(reader.poll_take(&mut cx, 100).is_pending());
        let pusher = outbox.clone();
        std::thread::spawn(move || pusher.push(&instance("a"), &frame(Action::Create, "a")))
            .join()
            .expect("pushed");
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        outbox.push(&instance("b"), &frame(Action::Create, "b"));
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "once awake, it is not woken again");
        assert_eq!(take(&mut reader), ["CREATE a", "CREATE b"]);
    }

    /// A client that applies all it is sent ends with the true set of instances, whatever the order of pushes and takes.
    #[test]
    fn a_watcher_always_ends_with_the_truth() {
        let mut seed = 7_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..200 {
            let (outbox, mut reader) = outbox(10);
            let (mut truth, mut seen) = (BTreeSet::new(), BTreeSet::new());
            let mut apply = |messages: Vec<String>| {
                for message in messages {
                    let (action, id) = message.split_once(' ').expect("two words");
                    match action {
                        // Of an instance it knows: gone and registered anew.
                        "CREATE" => {
                            seen.insert(id.to_owned());
                        }
                        "UPDATE" => assert!(seen.contains(id)),
                        _ => assert!(seen.remove(id), "{message}"),
                    }
                }
                seen.clone()
            };
            for _ in 0..60 {
                let id = ["a", "b", "c"][random(3) as usize];
                let action = match (truth.contains(id), random(2)) {
                    (false, _) => Action::Create,
                    (true, 0) => Action::Update,
                    (true, _) => Action::Delete,
                };
                if action == Action::Delete {
                    truth.remove(id);
                } else {
                    truth.insert(id.to_owned());
                }
                outbox.push(&instance(id), &frame(action, id));
                if random(4) == 0 {
                    assert_eq!(apply(take(&mut reader)), truth);
                }
            }
            assert_eq!(apply(take(&mut reader)), truth);
        }
    }
}
