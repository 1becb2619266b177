//! Random events compared with a naive model: a list of all of them.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::ring::SharedRing;
use super::*;

fn matches(query: &Query, event: &Event) -> bool {
    let of = event.service.as_ref();
    let instance = event.instance.as_ref();
    let hosts = [instance.map(|instance| &instance.shown), event.before.as_ref()];
    query.kinds.contains(event.kind)
        && query.since.is_none_or(|since| event.time >= since)
        && query.before.is_none_or(|before| event.time < before)
        && query.tenant.as_ref().is_none_or(|tenant| of.is_none_or(|of| of.tenant == *tenant))
        && query.service.as_ref().is_none_or(|id| of.is_some_and(|of| of.id == *id))
        && query.instance.as_ref().is_none_or(|id| instance.is_some_and(|instance| instance.id == *id))
        && query
            .host
            .as_ref()
            .is_none_or(|host| hosts.into_iter().flatten().any(|shown| shown.host() == &**host))
}

fn any_query(rng: &mut StdRng, last: i64) -> Query {
    let mut some = |share: f64| rng.random_bool(share);
    let (since, before, service, instance, host) = (some(0.4), some(0.4), some(0.3), some(0.3), some(0.3));
    let kinds = ["", "instance", "instance.changed,record", "service,store.lost"][rng.random_range(0..4)];
    let newest = rng.random_bool(0.5);
    Query {
        tenant: [None, Some(Tenant::default_tenant()), Some(Tenant::new("other", "p"))]
            [rng.random_range(0..3)]
        .clone(),
        since: since.then(|| rng.random_range(0..=last)),
        before: before.then(|| rng.random_range(0..=last)),
        kinds: KindSet::parse(kinds).unwrap(),
        service: service.then(|| ServiceId::from(format!("s{}", rng.random_range(0..4)))),
        instance: instance.then(|| InstanceId::from(format!("i{}", rng.random_range(0..8)))),
        host: host.then(|| format!("h{}", rng.random_range(0..5)).into()),
        order: if newest { Order::NewestFirst } else { Order::OldestFirst },
        after: None,
        limit: rng.random_range(1..40),
    }
}

#[test]
fn pages_are_what_a_list_of_all_events_says() {
    let mut rng = StdRng::seed_from_u64(11);
    let limits = RingLimits { events: 300, bytes: 1 << 30 };
    let (ring, recorder) = (SharedRing::new(limits), Recorder::default());
    let progress = super::super::reader::ProgressSender::default();
    let reader = RecordReader::new(ring.clone(), recorder, &progress);
    let mut all: Vec<Event> = Vec::new();
    for number in 1..=1000_usize {
        let kind = EventKind::ALL[rng.random_range(0..EventKind::ALL.len())];
        let time = i64::try_from(number).unwrap() + rng.random_range(-20..20);
        all.push(Event::new(number as u64, any_parts(kind, time, rng.random_range(1..1000))));
        ring.append(&all[number - 1..], 0, 1);
        if number % 50 != 0 {
            continue;
        }
        let kept = &all[all.len().saturating_sub(limits.events)..];
        for _ in 0..20 {
            let mut query = any_query(&mut rng, time);
            let mut expected: Vec<u64> =
                kept.iter().filter(|event| matches(&query, event)).map(|event| event.seq).collect();
            if query.order == Order::NewestFirst {
                expected.reverse();
            }
            let (mut found, total) = (Vec::new(), expected.len());
            loop {
                let page = reader.page(&query, |_| true);
                assert_eq!((page.total, page.last_seq), (total, number as u64));
                assert!(page.events.len() <= query.limit);
                found.extend(page.events.iter().map(|event| event.seq));
                match page.next {
                    Some(next) => query.after = Some(next),
                    None => break,
                }
            }
            assert_eq!(found, expected, "{query:?}");
            // A follower sees the same, whatever it has seen before.
            let (mut after, mut followed) = (0, Vec::new());
            while after < number as u64 {
                let (events, looked) = reader.after(after, &query, |_| true);
                followed.extend(events.iter().map(|event| event.seq));
                assert!(looked > after);
                after = looked;
            }
            if query.order == Order::OldestFirst {
                assert_eq!(followed, expected, "{query:?}");
            }
        }
    }
}

/// Instances come, change and go. What the record says of each earlier moment is what was there then.
#[test]
fn the_past_is_as_it_was() {
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World::listed(RingLimits { events: 150, bytes: 1 << 30 });
        let mut current = Instances::new();
        let mut moments: Vec<(i64, Instances)> = Vec::new();
        for _ in 0..300 {
            world.time += 1;
            let id = rng.random_range(0..6).to_string();
            let one = at("s", &id);
            let statuses = ["UP", "DOWN", "TESTING"];
            let document = json(&id, statuses[rng.random_range(0..3)]);
            let shown = Shown::of_document(&document);
            let before = current.get(&one.instance).map(|shown| json(&id, shown.status()));
            match before {
                None => {
                    world.change(&one, InstanceTurn::Created, document, None);
                    current.insert(one.instance.clone(), shown);
                }
                Some(before) => {
                    let gone = [
                        InstanceTurn::SaidGoodbye,
                        InstanceTurn::DeletedWithService,
                        InstanceTurn::Missing,
                        InstanceTurn::Expired { lease: 7, heartbeat_age: None },
                    ];
                    match rng.random_range(0..10) {
                        0 => world.change(
                            &one,
                            InstanceTurn::Held { rule: "share".into(), until: 0 },
                            before,
                            None,
                        ),
                        1 => world.change(&one, InstanceTurn::Released, before, None),
                        2..5 => {
                            world.change(&one, InstanceTurn::Updated, document, Some(before));
                            current.insert(one.instance.clone(), shown);
                        }
                        5 => {
                            world.change(&one, InstanceTurn::Created, document, Some(before));
                            current.insert(one.instance.clone(), shown);
                        }
                        _ => {
                            let turn = gone.into_iter().nth(rng.random_range(0..4)).unwrap();
                            world.change(&one, turn, before, None);
                            current.remove(&one.instance);
                        }
                    }
                }
            }
            // The same id in another service and another tenant.
            world.register(&at("other", &id));
            moments.push((world.time, current.clone()));
        }
        world.take();
        let now = || {
            current.iter().map(|(id, shown)| InstanceFacts { id: id.clone(), shown: shown.clone() }).collect()
        };
        let (mut known, tenant) = (0, Tenant::default_tenant());
        for (time, then) in &moments {
            match world.reader.at(*time, &tenant, &ServiceId::from("s"), now()) {
                Ok(found) => {
                    let found: Instances = found.into_iter().map(|facts| (facts.id, facts.shown)).collect();
                    assert_eq!(&found, then, "at {time}, seed {seed}");
                    known += 1;
                }
                Err(KnownSince(since)) => assert!(*time < since, "{time} {since}"),
            }
        }
        assert!((70..=76).contains(&known), "{known} of 300 moments are known");
    }
}
