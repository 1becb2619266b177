//! Tests of the record: who caused what, what is kept, and questions compared with a naive model.

#![allow(clippy::unwrap_used, reason = "tests")]

mod codec;
mod model;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::delivery::Delivery;
use super::event::EventParts;
use super::join::MAX_KNOWN;
use super::*;
use crate::domain::event::{InstanceRef, Revision};
use crate::domain::{InstanceId, ServiceId, Tenant};
use crate::trace::RequestId;

const LIMITS: RingLimits = RingLimits { events: 1000, bytes: 1 << 20 };

struct World {
    recorder: Recorder,
    reader: RecordReader,
    recording: Recording,
    now: Duration,
    time: i64,
    revision: Revision,
}

fn at(service: &str, instance: &str) -> InstanceRef {
    InstanceRef {
        tenant: Tenant::default_tenant(),
        service: ServiceId::from(service),
        instance: InstanceId::from(instance),
    }
}

fn json(instance: &str, status: &str) -> Bytes {
    let text = format!(
        "{{\"instanceId\":\"{instance}\",\"endpoints\":[\"rest://10.0.0.9:80\"],\"hostName\":\"h-{instance}\",\"status\":\"{status}\"}}"
    );
    Bytes::from(text)
}

fn key(at: &InstanceRef) -> Arc<str> {
    format!("/cse-sr/inst/files/{}/{}/{}", at.tenant, at.service, at.instance).into()
}

fn request(number: usize) -> Cause {
    let request_id = RequestId::given(format!("r{number}").as_bytes()).unwrap();
    let client = Some("10.0.0.7".parse().unwrap());
    Cause::Request(Arc::new(Requester { account: Some("alice".into()), client, request_id }))
}

impl World {
    fn new(limits: RingLimits) -> Self {
        let (recorder, reader, recording) = record(limits);
        Self { recorder, reader, recording, now: Duration::from_secs(1), time: 1000, revision: 0 }
    }

    /// With a first listing at revision 1.
    fn listed(limits: RingLimits) -> Self {
        let mut world = Self::new(limits);
        world.revision = 1;
        world.see(vec![Change::Listed { former: 0 }]);
        world.take();
        world
    }

    fn take(&mut self) -> Recorded {
        self.recording.take(self.now, self.time)
    }

    fn see(&self, changes: Vec<Change>) {
        let (time, revision, begun) = (self.time, self.revision, self.recorder.begun());
        self.recorder.note(Note::Seen(Step { time, revision, changes, begun }));
    }

    /// The next revision changes an instance.
    fn change(&mut self, at: &InstanceRef, turn: InstanceTurn, json: Bytes, before: Option<Bytes>) {
        self.revision += 1;
        let (revision, key) = (self.revision, Some(key(at)));
        let seen = SeenInstance { at: at.clone(), revision, turn, key, json, before, service: None };
        self.see(vec![Change::Instance(seen)]);
    }

    fn register(&mut self, at: &InstanceRef) {
        self.change(at, InstanceTurn::Created, json(at.instance.as_str(), "UP"), None);
    }

    /// A write of this node ends.
    fn wrote(
        &self,
        ticket: u64,
        at: &InstanceRef,
        revision: Option<Revision>,
        purpose: Purpose,
        cause: Cause,
    ) {
        let keys = [key(at)].into_iter().collect();
        self.recorder.note(Note::Wrote(Write { ticket, keys, revision, purpose, cause }));
    }

    /// How many watches wait for the last event.
    fn told_last(&self) -> Option<u32> {
        let query = Query { order: Order::NewestFirst, limit: 1, ..Query::default() };
        self.reader.page(&query, |_| true).events[0].told.map(|told| told.waiting)
    }

    /// Kind and cause of the last events.
    fn last(&self, count: usize) -> Vec<(EventKind, Cause)> {
        let query = Query { order: Order::NewestFirst, limit: count, ..Query::default() };
        let page = self.reader.page(&query, |_| true);
        page.events.iter().rev().map(|event| (event.kind, event.cause.clone())).collect()
    }
}

#[test]
fn the_cause_of_a_change_comes_before_it_or_after_it() {
    let mut world = World::listed(LIMITS);
    let (one, two, three) = (at("s", "1"), at("s", "2"), at("s", "3"));
    let ticket = world.recorder.begin();
    world.wrote(ticket, &one, Some(2), Purpose::Other, request(1));
    world.register(&one);
    world.take();
    assert_eq!(world.last(1), [(EventKind::InstanceRegistered, request(1))]);
    // The watch is faster than the answer of the store. Another node's change comes with it.
    let ticket = world.recorder.begin();
    world.register(&two);
    world.register(&three);
    assert!(world.take().events.is_empty(), "they wait for the end of the write");
    assert!(world.recording.due().is_some());
    world.wrote(ticket, &two, Some(3), Purpose::Other, request(2));
    assert_eq!(world.take().events.len(), 2);
    let expected =
        [(EventKind::InstanceRegistered, request(2)), (EventKind::InstanceRegistered, Cause::OtherNode)];
    assert_eq!(world.last(2), expected);
    assert_eq!(world.recording.due(), None);
}

#[test]
fn a_write_without_an_end_is_waited_for_no_longer_than_half_a_second() {
    let mut world = World::listed(LIMITS);
    let lost = world.recorder.begin();
    world.register(&at("s", "1"));
    assert!(world.take().events.is_empty());
    world.now = world.recording.due().unwrap();
    world.take();
    assert_eq!(world.last(1), [(EventKind::InstanceRegistered, Cause::Unknown)]);
    // Nobody waits for it any more. Later changes can be told apart again.
    let ticket = world.recorder.begin();
    world.register(&at("s", "2"));
    world.wrote(ticket, &at("s", "9"), None, Purpose::Other, request(9));
    world.take();
    assert_eq!(world.last(1), [(EventKind::InstanceRegistered, Cause::OtherNode)]);
    world.wrote(lost, &at("s", "1"), Some(2), Purpose::Other, request(1));
    assert!(world.take().events.is_empty());
}

/// A write whose outcome the store did not say caused the change all the same.
#[test]
fn a_write_of_unknown_outcome_is_the_cause_if_its_key_changes() {
    let mut world = World::listed(LIMITS);
    let ticket = world.recorder.begin();
    world.wrote(ticket, &at("s", "1"), None, Purpose::Other, request(1));
    world.register(&at("s", "2"));
    world.register(&at("s", "1"));
    world.register(&at("s", "1"));
    world.take();
    let causes: Vec<Cause> = world.last(3).into_iter().map(|(_, cause)| cause).collect();
    assert_eq!(causes, [Cause::OtherNode, request(1), Cause::OtherNode]);
}

/// A repair shows a change that the watch has missed. The writes of its revision are forgotten by then.
#[test]
fn the_cause_of_a_change_that_is_seen_late_is_unknown() {
    let mut world = World::listed(LIMITS);
    let (one, two) = (at("s", "1"), at("s", "2"));
    let ticket = world.recorder.begin();
    world.wrote(ticket, &one, Some(2), Purpose::Other, request(1));
    world.revision = 2;
    world.register(&two);
    world.take();
    let late = SeenInstance {
        at: one.clone(),
        revision: 2,
        turn: InstanceTurn::Created,
        key: Some(key(&one)),
        json: json("1", "UP"),
        before: None,
        service: None,
    };
    world.see(vec![Change::Instance(late)]);
    world.register(&two);
    world.take();
    let causes: Vec<Cause> = world.last(3).into_iter().map(|(_, cause)| cause).collect();
    assert_eq!(causes, [Cause::OtherNode, Cause::Unknown, Cause::OtherNode]);
}

/// While the watch stalls, writes go on. The causes of the oldest changes are not known then.
#[test]
fn the_writes_of_a_stalled_watch_are_bounded() {
    let limits = RingLimits { events: 100_000, bytes: 64 << 20 };
    let mut world = World::listed(limits);
    let count = MAX_KNOWN + 5;
    for number in 0..count {
        let (ticket, revision) = (world.recorder.begin(), Revision::try_from(number).unwrap() + 2);
        world.wrote(ticket, &at("s", "1"), Some(revision), Purpose::Other, Cause::Node);
        if number % 1000 == 0 {
            world.take();
        }
    }
    world.take();
    (0..10).for_each(|_| world.register(&at("s", "1")));
    world.take();
    let causes: Vec<Cause> = world.last(10).into_iter().map(|(_, cause)| cause).collect();
    assert_eq!(causes, [vec![Cause::Unknown; 5], vec![Cause::Node; 5]].concat());
}

#[test]
fn kinds_follow_from_what_was_before_and_from_the_purpose() {
    let mut world = World::listed(LIMITS);
    let one = at("s", "1");
    let (up, down) = (json("1", "UP"), json("1", "DOWN"));
    let mut check = |turn, json: &Bytes, before: Option<&Bytes>, purpose, expected| {
        let ticket = world.recorder.begin();
        world.change(&one, turn, json.clone(), before.cloned());
        world.wrote(ticket, &one, Some(world.revision), purpose, Cause::Node);
        let recorded = world.take();
        let [event] = &recorded.events[..] else { panic!("{recorded:?}") };
        assert_eq!(event.kind, expected);
        event.before.as_ref().map(|before| before.status().to_owned())
    };
    let other = Purpose::Other;
    let before = check(InstanceTurn::Created, &up, None, other, EventKind::InstanceRegistered);
    assert_eq!(before, None);
    let before = check(InstanceTurn::Updated, &down, Some(&up), other, EventKind::InstanceChanged);
    assert_eq!(before.as_deref(), Some("UP"));
    check(InstanceTurn::Updated, &down, Some(&down), other, EventKind::InstanceReregistered);
    check(InstanceTurn::Created, &down, Some(&up), other, EventKind::InstanceRegistered);
    check(InstanceTurn::Created, &up, Some(&up), other, EventKind::InstanceRegistered);
    check(InstanceTurn::Created, &up, None, Purpose::Restore, EventKind::InstanceRestored);
    check(InstanceTurn::SaidGoodbye, &up, None, other, EventKind::InstanceUnregistered);
    check(InstanceTurn::DeletedWithService, &up, None, other, EventKind::InstanceDeletedWithService);
    let held = InstanceTurn::Held { rule: "share".into(), until: 9 };
    check(held, &up, None, other, EventKind::InstanceHeld);
    assert_eq!(world.last(1), [(EventKind::InstanceHeld, Cause::Rule { rule: "share".into(), until: 9 })]);
}

/// What another node restores has the document that was shown.
#[test]
fn another_nodes_restore_is_seen_by_the_document() {
    let mut world = World::listed(LIMITS);
    let up = json("1", "UP");
    world.change(&at("s", "1"), InstanceTurn::Created, up.clone(), Some(up));
    world.take();
    assert_eq!(world.last(1), [(EventKind::InstanceRestored, Cause::OtherNode)]);
}

#[test]
fn too_many_changes_leave_a_gap() {
    let mut world = World::listed(RingLimits { events: 100_000, bytes: 64 << 20 });
    let before = world.reader.complete_since();
    let ticket = world.recorder.begin();
    for number in 0..25_000 {
        world.register(&at("s", &number.to_string()));
    }
    world.wrote(ticket, &at("s", "x"), Some(2), Purpose::Other, request(1));
    world.time += 1;
    let recorded = world.take();
    let last = recorded.events.last().unwrap();
    assert_eq!((last.kind, recorded.events.len()), (EventKind::Gap, 20_001));
    assert_eq!(last.detail.as_deref(), Some("5001 changes came faster than they could be recorded"));
    let since = world.reader.complete_since();
    assert_eq!((since.time, since.seq), (1001, last.seq));
    assert!(before.seq < since.seq);
    let known = world.reader.at(1000, &Tenant::default_tenant(), &ServiceId::from("s"), Vec::new());
    assert_eq!(known, Err(KnownSince(1001)));
    // The end of the write was lost too: it is not waited for.
    world.register(&at("s", "y"));
    world.take();
    assert_eq!(world.last(1), [(EventKind::InstanceRegistered, Cause::Unknown)]);
}

#[test]
fn a_listing_again_counts_as_a_gap_for_followers_and_not_for_the_past() {
    let mut world = World::listed(LIMITS);
    world.register(&at("s", "1"));
    world.take();
    world.time += 10;
    world.revision += 5;
    let missing = SeenInstance {
        at: at("s", "1"),
        revision: world.revision,
        turn: InstanceTurn::Missing,
        key: None,
        json: json("1", "UP"),
        before: None,
        service: None,
    };
    world.see(vec![Change::Listed { former: 2 }, Change::Instance(missing)]);
    world.take();
    let expected =
        [(EventKind::StoreRelisted, Cause::Node), (EventKind::InstanceUnregistered, Cause::Unknown)];
    assert_eq!(world.last(2), expected);
    assert_eq!(world.reader.complete_since().time, 1010);
    let then = world.reader.at(1009, &Tenant::default_tenant(), &ServiceId::from("s"), Vec::new()).unwrap();
    assert_eq!(then.len(), 1);
}

#[test]
fn nodes_join_and_leave() {
    let mut world = World::listed(LIMITS);
    let service = crate::domain::Service {
        app_id: "default".to_owned(),
        service_name: "SERVICECENTER".to_owned(),
        ..Default::default()
    };
    let record =
        crate::domain::event::ServiceRecord { document: service, json: Bytes::new(), mod_revision: 1 };
    let record = Some(Arc::new(record));
    let node = at("center", "1");
    for (turn, before) in [
        (InstanceTurn::Created, None),
        (InstanceTurn::Created, Some(json("1", "DOWN"))),
        (InstanceTurn::Expired { lease: 7, heartbeat_age: None }, None),
    ] {
        world.revision += 1;
        let (revision, json) = (world.revision, json("1", "UP"));
        let seen = SeenInstance {
            at: node.clone(),
            revision,
            turn,
            key: None,
            json,
            before,
            service: record.clone(),
        };
        world.see(vec![Change::Instance(seen)]);
    }
    world.take();
    let kinds: Vec<EventKind> = world.last(5).into_iter().map(|(kind, _)| kind).collect();
    let expected = [
        EventKind::InstanceRegistered,
        EventKind::NodeJoined,
        EventKind::InstanceRegistered,
        EventKind::InstanceExpired,
        EventKind::NodeLeft,
    ];
    assert_eq!(kinds, expected);
}

/// Deliveries find their events, also those that come while the event waits for its cause.
#[test]
fn an_event_says_who_was_told() {
    let mut world = World::listed(LIMITS);
    let (one, two) = (at("s", "1"), at("s", "2"));
    let delivery = |at: &InstanceRef, revision| {
        Arc::new(Delivery::new(revision, Arc::new(at.clone()), Vec::new().into(), 2, 1000))
    };
    let ticket = world.recorder.begin();
    world.register(&one);
    world.register(&two);
    let pushed = [delivery(&one, 2), delivery(&two, 3)];
    pushed.iter().for_each(|pushed| world.recorder.note(Note::Pushed(Arc::clone(pushed))));
    world.take();
    world.wrote(ticket, &one, Some(2), Purpose::Other, Cause::Node);
    world.take();
    let told = |world: &World| -> Vec<(u32, u32)> {
        let query = Query { kinds: KindSet::parse("instance").unwrap(), ..Query::default() };
        let events = world.reader.page(&query, |_| true).events;
        events.iter().map(|event| event.told.unwrap()).map(|told| (told.sent, told.waiting)).collect()
    };
    assert_eq!(told(&world), [(0, 2), (0, 2)]);
    pushed[1].sent(Duration::from_millis(3));
    assert_eq!((told(&world), world.take().told.len()), (vec![(0, 2), (1, 1)], 0));
    pushed[1].lost();
    let settled = world.take().told;
    assert_eq!(settled.len(), 1);
    assert_eq!((settled[0].0, settled[0].1.first_sent, settled[0].1.lost), (3, Some(1003), 1));
    assert!(world.recording.has_open_deliveries());
    assert_eq!(told(&world), [(0, 2), (1, 0)]);
    // Nobody is told of an event that the record does not have.
    world.recorder.note(Note::Pushed(delivery(&one, 99)));
    world.take();
}

/// Deliveries that come after many events that nobody watched, or after a restart, find their events.
#[test]
fn who_was_told_is_known_after_many_events_that_nobody_watched() {
    let limits = RingLimits { events: 100_000, bytes: 64 << 20 };
    let mut world = World::listed(limits);
    let one = at("s", "watched");
    let told = |world: &mut World| {
        world.register(&one);
        let delivery = Delivery::new(world.revision, Arc::new(one.clone()), Vec::new().into(), 2, 1000);
        world.recorder.note(Note::Pushed(Arc::new(delivery)));
        world.take();
        world.told_last()
    };
    assert_eq!(told(&mut world), Some(2));
    (0..10_000).for_each(|number| world.register(&at("unwatched", &number.to_string())));
    let recorded = world.take();
    assert_eq!(told(&mut world), Some(2));
    assert_eq!(told(&mut world), Some(2));
    let mut bytes = Vec::new();
    recorded.events.iter().for_each(|event| super::codec::encode_event(&mut bytes, event));
    let mut next = World::new(limits);
    next.recording.resume(super::codec::decode(&bytes).map(Option::unwrap));
    next.revision = world.revision;
    // The first of many events is told.
    next.register(&one);
    let delivery = Delivery::new(next.revision, Arc::new(one.clone()), Vec::new().into(), 2, 1000);
    next.recorder.note(Note::Pushed(Arc::new(delivery)));
    (0..10_000).for_each(|number| next.register(&at("unwatched", &number.to_string())));
    next.take();
    let query = Query { instance: Some(one.instance.clone()), order: Order::NewestFirst, ..Query::default() };
    let found = next.reader.page(&query, |_| true);
    assert_eq!(found.events[0].told.map(|told| told.waiting), Some(2));
}

#[test]
fn a_restart_goes_on_with_the_numbers() {
    let mut world = World::listed(LIMITS);
    (0..5).for_each(|number| world.register(&at("s", &number.to_string())));
    let recorded = world.take();
    let mut bytes = Vec::new();
    recorded.events.iter().for_each(|event| super::codec::encode_event(&mut bytes, event));
    super::codec::encode_revision(&mut bytes, recorded.revision);
    for (revision, expected) in [(6, None), (8, Some(EventKind::Gap))] {
        let mut next = World::new(LIMITS);
        next.recording.resume(super::codec::decode(&bytes).map(Option::unwrap));
        assert_eq!(next.reader.last_seq(), 6);
        next.revision = revision;
        next.see(vec![Change::Listed { former: 0 }]);
        next.register(&at("s", "new"));
        let events = next.take().events;
        let gap = events.iter().find(|event| event.kind == EventKind::Gap);
        assert_eq!(gap.map(|gap| gap.kind), expected);
        assert_eq!(events.last().unwrap().seq, 7 + u64::from(expected.is_some()));
        let all = next.reader.page(&Query::default(), |_| true);
        assert_eq!(
            all.events.iter().map(|event| event.seq).collect::<Vec<_>>(),
            (2..=events.last().unwrap().seq).collect::<Vec<_>>()
        );
    }
}

#[test]
fn nothing_is_kept_if_the_record_is_off() {
    let mut world = World::listed(RingLimits { events: 0, bytes: 1 << 20 });
    world.register(&at("s", "1"));
    assert_eq!(world.take().events.len(), 1, "it is logged and counted all the same");
    let page = world.reader.page(&Query::default(), |_| true);
    assert!(page.events.is_empty() && page.next.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_for_what_was_told_before() {
    let mut world = World::listed(LIMITS);
    assert!(world.reader.caught_up().await);
    let ticket = world.recorder.begin();
    world.register(&at("s", "1"));
    assert!(!world.reader.caught_up().await);
    world.take();
    assert!(!world.reader.caught_up().await, "the event waits for its cause");
    world.wrote(ticket, &at("s", "1"), Some(2), Purpose::Other, Cause::Node);
    let reader = world.reader.clone();
    let (caught_up, _) = tokio::join!(reader.caught_up(), async { world.take() });
    assert!(caught_up && reader.revision() == 2);
}

/// There is always a change that waits for its cause. A reader waits only for those before its question.
#[tokio::test(start_paused = true)]
async fn a_reader_is_answered_under_steady_writes() {
    let mut world = World::listed(LIMITS);
    let mut ticket = world.recorder.begin();
    world.register(&at("s", "1"));
    world.take();
    let reader = world.reader.clone();
    let mut waiting = std::pin::pin!(reader.caught_up());
    let is_ready =
        std::future::poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_ready())).await;
    assert!(!is_ready, "the first change waits for its cause");
    for number in 2..4 {
        let next = world.recorder.begin();
        let former = number - 1;
        world.register(&at("s", &number.to_string()));
        world.take();
        world.wrote(ticket, &at("s", &former.to_string()), Some(former + 1), Purpose::Other, Cause::Node);
        world.take();
        assert!(world.recording.due().is_some());
        ticket = next;
    }
    assert!(waiting.await);
}

/// Events stay within their bytes, also if each has a service of its own and long texts.
#[test]
fn memory_is_bounded_by_bytes() {
    for (services, length) in [(1, 10), (100_000, 10), (10, 2000)] {
        let limits = RingLimits { events: 1_000_000, bytes: 1 << 20 };
        let mut world = World::listed(limits);
        for number in 0..20_000 {
            let service = format!("service-{}", number % services);
            world.register(&at(&service, &format!("{number:0length$}")));
            if number % 100 == 0 {
                world.take();
                assert!(world.recording.bytes() <= limits.bytes, "{} bytes", world.recording.bytes());
            }
        }
        world.take();
        let kept = world.reader.page(&Query::default(), |_| true);
        assert!(kept.total > 500 && kept.total < 20_000, "{} events", kept.total);
        let oldest = kept.events[0].seq;
        assert_eq!(kept.complete_since.seq, oldest);
        assert!(!world.reader.knows(oldest - 1));
        assert!(world.reader.knows(oldest));
        let last = world.reader.last_seq();
        assert!(world.reader.knows(last) && !world.reader.knows(last + 1));
    }
}

/// Services of which no event is left make room for events, also when no new service comes, and in the next process.
#[test]
fn services_that_are_gone_make_room_for_events() {
    let limits = RingLimits { events: 1_000_000, bytes: 3 << 20 };
    let mut world = World::listed(limits);
    let kept = |world: &World| world.reader.page(&Query { limit: 0, ..Query::default() }, |_| true).total;
    let mut stored = Vec::new();
    for number in 0..30_000 {
        world.register(&at(&format!("service-{}", number.min(20_000)), "i"));
        if number % 100 == 99 {
            world.take().events.iter().for_each(|event| super::codec::encode_event(&mut stored, event));
            let kept = kept(&world);
            assert!(kept > number.min(1_000), "{kept} of {number} events");
            assert!(world.recording.bytes() <= limits.bytes, "{} bytes", world.recording.bytes());
        }
    }
    assert!(kept(&world) > 9_000, "{} events of few services", kept(&world));
    let mut next = World::new(limits);
    let first = super::codec::decode(&stored).map(Option::unwrap).take(20_000);
    next.recording.resume(first);
    assert!(kept(&next) > 1_000, "{} events", kept(&next));
}

/// The parts of an event of any kind.
fn any_parts(kind: EventKind, time: i64, number: usize) -> EventParts {
    let at = at(&format!("s{}", number % 3), &format!("i{}", number % 7));
    let is_about_instance = kind.group() == "instance" || kind.group() == "node";
    let service = Arc::new(ServiceFacts::of(at.tenant, at.service, None));
    let host = format!("h{}", number % 4);
    let shown = |status| Shown::new(status, &host, ["rest://10.0.0.9:80"].into_iter());
    EventParts {
        time,
        revision: i64::try_from(number).unwrap(),
        kind,
        service: (is_about_instance || kind.group() != "store").then_some(service),
        instance: is_about_instance.then(|| InstanceFacts { id: at.instance, shown: shown("UP") }),
        before: (kind == EventKind::InstanceChanged).then(|| shown("DOWN")),
        detail: number.is_multiple_of(5).then(|| "why".into()),
        cause: [
            request(number),
            Cause::OtherNode,
            Cause::Node,
            Cause::Lease { lease: 9, heartbeat_age: Some(number as u64) },
        ][number % 4]
            .clone(),
    }
}

type Instances = BTreeMap<InstanceId, Shown>;

#[test]
fn a_follower_looks_at_some_events_at_a_time_however_few_match() {
    let mut world = World::listed(RingLimits { events: 10_000, bytes: 1 << 30 });
    let changes = 3 * reader::MOST_LOOKED_AT;
    for number in 0..changes {
        world.register(&at(if number + 1 == changes { "rare" } else { "s" }, &number.to_string()));
    }
    world.take();
    let query = Query { service: Some(ServiceId::from("rare")), ..Query::default() };
    let (mut found, mut asked, mut after) = (0, 0, 0);
    while after < world.reader.last_seq() {
        let (events, looked) = world.reader.after(after, &query, |_| true);
        assert!(looked > after && looked - after <= reader::MOST_LOOKED_AT as u64);
        (found, asked, after) = (found + events.len(), asked + 1, looked);
    }
    assert_eq!((found, asked), (1, 4), "the listing is an event too");
}
