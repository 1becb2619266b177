//! How heartbeats get into a batch and out of it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use super::*;
use crate::domain::Tenant;
use crate::domain::event::InstanceRecord;

fn entry(lease: Option<i64>) -> Arc<InstanceEntry> {
    let record = InstanceRecord { json: "{}".into(), mod_revision: 1, compact: None };
    let lease = lease.map(|lease| Arc::new(LeaseMark::new(lease, 0)));
    Arc::new(InstanceEntry::new(&at().instance, &record, lease, &mut Default::default()))
}

fn at() -> InstanceRef {
    InstanceRef { tenant: Tenant::default_tenant(), service: "s".into(), instance: "i".into() }
}

fn leases(beats: Vec<Beat>) -> Vec<i64> {
    beats.iter().map(|beat| beat.mark.lease()).collect()
}

async fn is_woken(beats: &Beats) -> bool {
    tokio::time::timeout(Duration::from_millis(1), beats.wait()).await.is_ok()
}

#[test]
fn a_lease_is_queued_once_however_often_it_beats() {
    let (beats, first, second) = (Beats::default(), entry(Some(1)), entry(Some(2)));
    for _ in 0..3 {
        assert_eq!(beats.take(at, &first), BeatTaken::Queued);
        assert_eq!(beats.take(at, &second), BeatTaken::Queued);
    }
    assert_eq!((beats.len(), leases(beats.drain()), beats.is_empty()), (2, vec![1, 2], true));
}

#[test]
fn a_beat_that_finds_its_lease_queued_is_not_forgotten() {
    let (beats, entry) = (Beats::default(), entry(Some(1)));
    let mark = entry.lease.clone().unwrap();
    let (ttl, seconds) = (Duration::from_secs(80), Duration::from_secs);
    let sent_at = |now| {
        let batch = beats.drain();
        mark.sent(now);
        batch.into_iter().for_each(|beat| beats.retry(beat));
    };
    beats.take(at, &entry);
    sent_at(seconds(10));
    sent_at(seconds(100));
    assert!(mark.was_silent_for(ttl, seconds(100)), "ever the same beat");
    beats.take(at, &entry);
    sent_at(seconds(110));
    assert!(!mark.was_silent_for(ttl, seconds(189)));
    assert!(mark.was_silent_for(ttl, seconds(191)));
}

#[test]
fn without_a_lease_there_is_nothing_to_renew() {
    let beats = Beats::default();
    assert_eq!(beats.take(at, &entry(None)), BeatTaken::NoLease);
    assert!(beats.is_empty());
}

#[test]
fn a_beat_while_the_renewal_is_on_its_way_counts_for_the_next() {
    let (beats, entry) = (Beats::default(), entry(Some(1)));
    beats.take(at, &entry);
    let sent = beats.drain();
    beats.take(at, &entry);
    assert_eq!(beats.len(), 1);
    // The renewal was not answered. The heartbeat that came meanwhile has queued the lease again.
    sent.into_iter().for_each(|beat| beats.retry(beat));
    assert_eq!(leases(beats.drain()), [1]);
}

#[test]
fn what_was_not_answered_is_queued_again() {
    let (beats, entry) = (Beats::default(), entry(Some(1)));
    beats.take(at, &entry);
    beats.drain().into_iter().for_each(|beat| beats.retry(beat));
    beats.take(at, &entry);
    assert_eq!(leases(beats.drain()), [1]);
}

#[actix::test]
async fn the_first_of_a_batch_wakes() {
    let (beats, first, second) = (Beats::default(), entry(Some(1)), entry(Some(2)));
    assert!(!is_woken(&beats).await);
    beats.take(at, &first);
    assert!(is_woken(&beats).await);
    beats.take(at, &second);
    assert!(!is_woken(&beats).await, "one wake is enough for a batch");
    beats.drain();
    beats.take(at, &second);
    assert!(is_woken(&beats).await);
}

#[test]
fn a_renewal_is_remembered_by_when_it_was_sent_and_by_its_ttl() {
    let mark = LeaseMark::new(1, 0);
    let second = Duration::from_secs;
    assert!(mark.lives_until(120).is_zero());
    mark.was_full(second(1));
    assert_eq!(mark.lives_until(120), second(121), "nobody said what its TTL is");
    mark.renewed(second(9), 20);
    mark.renewed(second(4), 20);
    assert_eq!(mark.lives_until(120), second(29));
}
