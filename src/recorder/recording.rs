//! Makes events of notes: names them, finds their causes, numbers them and appends them to the ring. It has one owner, the
//! RecorderActor. Time is an argument.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::codec::StoredRecord;
use super::delivery::{Delivery, Telling, Told};
use super::event::{Cause, Event, EventKind, EventParts, InstanceFacts};
use super::join::{Causes, Found};
use super::note::{
    Change, Happening, InstanceTurn, Note, Purpose, SeenAgain, SeenInstance, SeenService, Step,
};
use super::queue::{Drained, Recorder};
use super::reader::ProgressSender;
use super::ring::SharedRing;
use super::services::ServiceTable;
use super::shown::Shown;
use crate::clock::Monotonic;
use crate::domain::event::{InstanceRef, Revision, ServiceRecord};

/// How long a change waits for the end of the writes that may have caused it. The store has done such a write already, so that only its
/// answer is on the way.
const SETTLE_LIMIT: Duration = Duration::from_millis(500);
/// How many deliveries are followed until all watches are told. What becomes of older ones is not noted any more.
const MAX_OPEN: usize = 10_000;
/// How many of them are looked at in one turn.
const LOOKED_AT: usize = 256;

#[derive(Debug)]
pub struct Recording {
    recorder: Recorder,
    ring: SharedRing,
    progress: ProgressSender,
    services: ServiceTable,
    causes: Causes,
    /// Events in order, the first of which waits for its cause.
    settling: VecDeque<Settling>,
    /// Events that are not in the ring yet. All of them come before those that settle.
    ready: Vec<Event>,
    /// Deliveries whose event is not in the ring yet.
    pushed: VecDeque<Arc<Delivery>>,
    /// The numbers of events whose watches are not all told.
    open: VecDeque<(u64, Arc<Telling>)>,
    /// The number of the last event for which a delivery came. Deliveries come in the order of the events.
    pushed_to: u64,
    last_seq: u64,
    /// All changes up to this revision are told.
    revision: Revision,
    /// The revision at which the record of the former process ended.
    former_end: Option<Revision>,
    /// How many notes the earlier turns have taken.
    taken: u64,
}

/// An event that waits for its cause, or behind one that does.
#[derive(Debug)]
struct Settling {
    parts: EventParts,
    /// How the cause is found. `None`: it is known.
    join: Option<Join>,
    deadline: Monotonic,
    /// All events of so many notes come before it.
    behind: u64,
}

#[derive(Debug)]
struct Join {
    key: Option<Arc<str>>,
    begun: u64,
}

/// What [`Recording::take`] has done.
#[derive(Debug, Default)]
pub struct Recorded {
    /// The new events.
    pub events: Vec<Event>,
    /// Who was told of earlier events, by their numbers, now that all are told.
    pub told: Vec<(u64, Told)>,
    /// All changes up to this revision are in the record.
    pub revision: Revision,
}

impl Recording {
    pub(super) fn new(recorder: Recorder, ring: SharedRing, progress: ProgressSender) -> Self {
        let services = ServiceTable::new(ring.limits().bytes);
        Self {
            recorder,
            ring,
            progress,
            services,
            causes: Causes::default(),
            settling: VecDeque::new(),
            ready: Vec::new(),
            pushed: VecDeque::new(),
            open: VecDeque::new(),
            pushed_to: 0,
            last_seq: 0,
            revision: 0,
            former_end: None,
            taken: 0,
        }
    }

    /// The handle of the queue that this takes from.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// How many events are kept at most. 0 if none are.
    pub fn most_events(&self) -> usize {
        self.ring.limits().events
    }

    /// How many bytes the events in memory may take.
    pub fn most_bytes(&self) -> usize {
        self.ring.limits().bytes
    }

    /// The bytes that the events in memory take.
    pub fn bytes(&self) -> usize {
        self.ring.bytes() + self.services.bytes()
    }

    /// Takes over what an earlier process has recorded, oldest first. To be called before [`Self::take`].
    pub fn resume(&mut self, stored: impl IntoIterator<Item = StoredRecord>) {
        for record in stored {
            match record {
                StoredRecord::Event(seq, mut parts) => {
                    if seq <= self.last_seq {
                        continue;
                    }
                    let facts =
                        parts.service.take().map(|facts| self.services.adopt(Arc::unwrap_or_clone(facts)));
                    parts.service = facts;
                    let event = Event::new(seq, parts);
                    self.last_seq = seq;
                    self.services.make_room(1);
                    self.ring.append(&[event], self.services.bytes(), 0);
                }
                StoredRecord::Told(seq, told) => self.ring.was_told(seq, Telling::settled(told)),
                StoredRecord::Revision(revision) => self.former_end = Some(revision),
            }
        }
        // No delivery comes for the events of an earlier process.
        self.pushed_to = self.last_seq;
        self.progress.last_seq.send_replace(self.last_seq);
    }

    /// Takes all notes. `time`: Unix time, milliseconds.
    pub fn take(&mut self, now: Monotonic, time: i64) -> Recorded {
        let Drained { notes, lost, told, begun } = self.recorder.drain();
        // The writes first: then nearly all changes find their causes at once.
        let mut others = Vec::with_capacity(notes.len());
        for note in notes {
            match note {
                Note::Wrote(write) => self.causes.wrote(write),
                other => others.push(other),
            }
        }
        for note in others {
            match note {
                Note::Wrote(_) => {}
                Note::Seen(step) => self.see(step, now),
                Note::Pushed(delivery) => self.pushed.push_back(delivery),
                Note::Happened(happening) => self.happened(happening, now),
            }
        }
        if lost > 0 {
            self.causes.give_up(begun);
            let detail = format!("{lost} changes came faster than they could be recorded");
            self.gap(time, self.revision, &detail, now);
        }
        self.taken = told;
        self.settle(now)
    }

    fn see(&mut self, step: Step, now: Monotonic) {
        let Step { time, revision, changes, begun } = step;
        for change in changes {
            match change {
                Change::Instance(seen) => self.see_instance(seen, time, begun, now),
                Change::Service(seen) => self.see_service(seen, time, begun, now),
                Change::Listed { former: 0 } => self.begin(time, revision, now),
                Change::Listed { former } => {
                    let detail = format!("the snapshot before was of revision {former}");
                    let parts = EventParts {
                        detail: Some(detail.into()),
                        ..parts(EventKind::StoreRelisted, time, revision, Cause::Node)
                    };
                    self.push(parts, None, now);
                }
            }
        }
        self.revision = revision;
    }

    /// The first listing of this process.
    fn begin(&mut self, time: i64, revision: Revision, now: Monotonic) {
        match self.former_end.take() {
            Some(end) if end == revision => {}
            Some(end) => {
                let detail = format!(
                    "this node has started: its record before ends at revision {end}, and the store is at revision {revision}"
                );
                self.gap(time, revision, &detail, now);
            }
            None => self.gap(time, revision, "the record begins here", now),
        }
    }

    fn gap(&mut self, time: i64, revision: Revision, why: &str, now: Monotonic) {
        let parts =
            EventParts { detail: Some(why.into()), ..parts(EventKind::Gap, time, revision, Cause::Node) };
        self.push(parts, None, now);
    }

    fn see_instance(&mut self, seen: SeenInstance, time: i64, begun: u64, now: Monotonic) {
        let SeenInstance { at, revision, turn, key, json, before, service } = seen;
        let is_same = before.as_ref() == Some(&json);
        let join = Some(Join { key, begun });
        let (kind, cause, join) = match turn {
            // Only a node that writes an instance again writes the very document that was there.
            InstanceTurn::Created if is_same => (EventKind::InstanceRestored, Cause::OtherNode, join),
            InstanceTurn::Created => (EventKind::InstanceRegistered, Cause::OtherNode, join),
            InstanceTurn::Updated if is_same => (EventKind::InstanceReregistered, Cause::OtherNode, join),
            InstanceTurn::Updated => (EventKind::InstanceChanged, Cause::OtherNode, join),
            InstanceTurn::SaidGoodbye => (EventKind::InstanceUnregistered, Cause::OtherNode, join),
            InstanceTurn::DeletedWithService => {
                (EventKind::InstanceDeletedWithService, Cause::OtherNode, join)
            }
            InstanceTurn::Expired { lease, heartbeat_age } => {
                (EventKind::InstanceExpired, Cause::Lease { lease, heartbeat_age }, None)
            }
            InstanceTurn::Held { rule, until } => {
                (EventKind::InstanceHeld, Cause::Rule { rule, until }, None)
            }
            InstanceTurn::Released => (EventKind::InstanceReleased, Cause::OtherNode, join),
            InstanceTurn::Missing => (EventKind::InstanceUnregistered, Cause::Unknown, None),
            InstanceTurn::Found => (EventKind::InstanceRegistered, Cause::Unknown, None),
            InstanceTurn::Differs => (EventKind::InstanceChanged, Cause::Unknown, None),
        };
        let shown = Shown::of_document(&json);
        let before = before.filter(|_| {
            matches!(
                kind,
                EventKind::InstanceRegistered | EventKind::InstanceRestored | EventKind::InstanceChanged
            )
        });
        let before = before.map(|json| if is_same { shown.clone() } else { Shown::of_document(&json) });
        // Where nothing differs, both share one text.
        let before = before.map(|before| if before == shown { shown.clone() } else { before });
        let parts = self.of_instance(at, shown, service.as_deref(), parts(kind, time, revision, cause));
        self.push(EventParts { before, ..parts }, join, now);
    }

    fn of_instance(
        &mut self,
        at: InstanceRef,
        shown: Shown,
        record: Option<&ServiceRecord>,
        parts: EventParts,
    ) -> EventParts {
        let InstanceRef { tenant, service, instance } = at;
        let service = Some(self.services.facts(&tenant, &service, record));
        EventParts { service, instance: Some(InstanceFacts { id: instance, shown }), ..parts }
    }

    fn see_service(&mut self, seen: SeenService, time: i64, begun: u64, now: Monotonic) {
        let SeenService { tenant, service, revision, kind, key, record, schema } = seen;
        let service = Some(self.services.facts(&tenant, &service, record.as_deref()));
        let parts = EventParts { service, detail: schema, ..parts(kind, time, revision, Cause::OtherNode) };
        self.push(parts, Some(Join { key, begun }), now);
    }

    fn happened(&mut self, happening: Happening, now: Monotonic) {
        let Happening { time, kind, cause, detail, instance } = happening;
        let parts = EventParts { detail, ..parts(kind, time, 0, cause) };
        let parts = match instance {
            Some(SeenAgain { at, json, service }) => {
                self.of_instance(at, Shown::of_document(&json), service.as_deref(), parts)
            }
            None => parts,
        };
        self.push(parts, None, now);
    }

    fn push(&mut self, parts: EventParts, join: Option<Join>, now: Monotonic) {
        let mut settling = Settling { parts, join, deadline: now + SETTLE_LIMIT, behind: self.taken };
        if self.settling.is_empty() && self.find_cause(&mut settling, now) {
            self.finish(settling);
        } else {
            self.settling.push_back(settling);
        }
    }

    /// Whether the cause of an event is known, as far as it will ever be.
    fn find_cause(&mut self, settling: &mut Settling, now: Monotonic) -> bool {
        let Some(Join { key, begun }) = &settling.join else { return true };
        let found = match self.causes.find(settling.parts.revision, key.as_ref(), *begun) {
            Found::NotYet if settling.deadline <= now => {
                self.causes.give_up(*begun);
                Found::Unsure
            }
            found => found,
        };
        match found {
            Found::Known(cause, purpose) => settling.parts.found(cause, purpose),
            Found::OtherNode => {}
            Found::Unsure => settling.parts.cause = Cause::Unknown,
            Found::NotYet => return false,
        }
        true
    }

    /// Numbers an event.
    fn finish(&mut self, settling: Settling) {
        let node = settling.parts.node_event();
        self.last_seq += 1;
        self.ready.push(Event::new(self.last_seq, settling.parts));
        if let Some(node) = node {
            self.last_seq += 1;
            self.ready.push(Event::new(self.last_seq, node));
        }
    }

    /// Appends the events whose causes are known.
    fn settle(&mut self, now: Monotonic) -> Recorded {
        while let Some(mut first) = self.settling.pop_front() {
            if !self.find_cause(&mut first, now) {
                self.settling.push_front(first);
                break;
            }
            self.finish(first);
        }
        let events = std::mem::take(&mut self.ready);
        let waiting = self.settling.front();
        let known_to = waiting.map_or(self.revision, |first| first.parts.revision - 1);
        self.causes.forget_before(waiting.map_or(self.revision, |first| first.parts.revision));
        self.services.make_room(events.len());
        self.ring.append(&events, self.services.bytes(), known_to);
        if !events.is_empty() {
            self.progress.last_seq.send_replace(self.last_seq);
        }
        self.progress.done.send_replace(waiting.map_or(self.taken, |first| first.behind));
        self.follow_deliveries();
        let told = self.settle_deliveries();
        Recorded { events, told, revision: known_to }
    }

    /// Hands each delivery to its event.
    fn follow_deliveries(&mut self) {
        while let Some(delivery) = self.pushed.front() {
            match self.ring.pushed(self.pushed_to, delivery) {
                Some((seq, telling)) => {
                    self.pushed_to = seq;
                    self.open.push_back((seq, telling));
                }
                // Its event may wait for its cause.
                None if !self.settling.is_empty() && self.pushed.len() <= MAX_OPEN => return,
                None => {}
            }
            self.pushed.pop_front();
        }
    }

    /// Lets go of the deliveries that are settled.
    fn settle_deliveries(&mut self) -> Vec<(u64, Told)> {
        let mut settled = Vec::new();
        for _ in 0..self.open.len().min(LOOKED_AT).max(self.open.len().saturating_sub(MAX_OPEN)) {
            let is_over = self.open.len() > MAX_OPEN;
            let Some((seq, telling)) = self.open.pop_front() else { break };
            match telling.settle(is_over) {
                Some(told) => settled.push((seq, told)),
                None => self.open.push_back((seq, telling)),
            }
        }
        settled
    }

    /// When [`Self::take`] must be called although nothing is told: when a change has waited long enough for its cause.
    pub fn due(&self) -> Option<Monotonic> {
        self.settling.front().map(|first| first.deadline)
    }

    /// Whether watches still wait for recorded changes.
    pub fn has_open_deliveries(&self) -> bool {
        !self.open.is_empty()
    }
}

impl EventParts {
    fn found(&mut self, cause: Cause, purpose: Purpose) {
        self.cause = cause;
        self.kind = match (purpose, self.kind) {
            (Purpose::Restore, EventKind::InstanceRegistered) => EventKind::InstanceRestored,
            (Purpose::Other, EventKind::InstanceRestored) => EventKind::InstanceRegistered,
            (Purpose::Retire, EventKind::ServiceDeleted) => EventKind::ServiceRetired,
            (_, kind) => kind,
        };
    }

    /// The event that a node has joined or left, if this one says so.
    fn node_event(&self) -> Option<Self> {
        let kind = match self.kind {
            _ if !self.service.as_ref().is_some_and(|service| service.is_registry) => return None,
            EventKind::InstanceRegistered if self.before.is_none() => EventKind::NodeJoined,
            kind if kind.ends_instance() => EventKind::NodeLeft,
            _ => return None,
        };
        Some(Self { kind, ..self.clone() })
    }
}

fn parts(kind: EventKind, time: i64, revision: Revision, cause: Cause) -> EventParts {
    EventParts { time, revision, kind, service: None, instance: None, before: None, detail: None, cause }
}
