//! Cases about leases. Cases that wait for an expiry take some seconds: a lease must not end while a busy machine stands still.

use super::{
    StoreUnderTest, Watching, area, brief, dead_lease, event_revision, eventually, find, grant, key, names,
    present, put, put_leased, revoke, within, write,
};
use crate::store::port::{KeepAlive, LeaseId};

/// 2 s to 9,000,000,000 s.
pub async fn a_ttl_is_kept_within_bounds(subject: StoreUnderTest) {
    let store = &subject.store;
    let bounds = [
        (120, 120),
        (2, 2),
        (1, 2),
        (0, 2),
        (-5, 2),
        (i64::MIN, 2),
        (9_000_000_000, 9_000_000_000),
        (9_000_000_001, 9_000_000_000),
        (i64::MAX, 9_000_000_000),
    ];
    for (asked, expected) in bounds {
        eventually("a renewal before the end of the lease", || async {
            let lease = within("a grant", store.grant(asked))
                .await
                .unwrap_or_else(|error| panic!("{asked} s: {error:?}"));
            assert_eq!(lease.ttl_seconds, expected, "a grant of {asked} s");
            let renewed = within("a renewal", store.keep_alive(vec![lease.id])).await;
            let is_renewed = renewed == [KeepAlive::Renewed(expected)];
            // The shortest lease may end while a busy machine stands still.
            let is_over = expected == 2 && !matches!(renewed[..], [KeepAlive::Renewed(_)]);
            assert!(is_renewed || is_over, "a renewal of a lease of {asked} s: {renewed:?}");
            is_renewed
        })
        .await;
    }
}

pub async fn ids_are_positive_and_differ(subject: StoreUnderTest) {
    let store = &subject.store;
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let lease = grant(store, 60).await;
        assert!(lease.0 > 0, "{lease} is not positive");
        assert!(ids.insert(lease), "{lease} was granted twice");
    }
}

pub async fn leases_granted_together_are_as_others(subject: StoreUnderTest) {
    let store = &subject.store;
    let granted = within("grants", store.grants(60, 100)).await.expect("leases");
    let ids: std::collections::BTreeSet<_> = granted.iter().map(|lease| lease.id).collect();
    assert_eq!(ids.len(), 100, "each is another one");
    assert!(granted.iter().all(|lease| lease.ttl_seconds == 60), "{granted:?}");
    let renewed = within("renewals", store.keep_alive(ids.into_iter().collect())).await;
    assert_eq!(renewed, vec![KeepAlive::Renewed(60); 100]);
    assert_eq!(within("one", store.grants(1, 1)).await.map(|one| one[0].ttl_seconds), Ok(2));
    assert_eq!(within("none", store.grants(60, 0)).await.map(|none| none.len()), Ok(0));
}

/// The watch shows `inst/files/…` before `inst/leases/…`.
pub async fn expiry_deletes_the_keys_in_order_at_one_revision(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let lease = grant(store, 10).await;
    let (leases, files) = (key(&area, "inst/leases/x"), key(&area, "inst/files/x"));
    let other = key(&area, "inst/files/y");
    let start =
        write(store, vec![put_leased(&leases, "l", lease), put_leased(&files, "f", lease)]).await.revision;
    let last = write(store, vec![put(&other, "stays")]).await.revision;
    let mut watching = Watching::start(store, &area, start);
    let puts = watching.events_until(last).await;
    assert_eq!(brief(&area, &puts), ["+inst/leases/x", "+inst/files/x", "+inst/files/y"]);
    let batch = watching.next().await.expect("the expiry");
    assert_eq!(brief(&area, &batch.events), ["-inst/files/x", "-inst/leases/x"]);
    assert!(
        batch.events.iter().all(|event| event_revision(event) == batch.revision),
        "one revision: {batch:?}"
    );
    assert_eq!(names(store, &area).await, ["inst/files/y".to_owned()].into());
    let renewed = within("a renewal", store.keep_alive(vec![lease])).await;
    assert_eq!(renewed, [KeepAlive::NotFound], "an expired lease");
    assert!(!revoke(store, lease).await, "an expired lease is not there to be revoked");
}

/// A renewed lease lives longer than its TTL. Without renewals it ends.
pub async fn keep_alive_extends(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let (renewed, left) = (grant(store, 8).await, grant(store, 8).await);
    write(store, vec![put_leased(&key(&area, "renewed"), "x", renewed)]).await;
    write(store, vec![put_leased(&key(&area, "left"), "x", left)]).await;
    // Renews the lease until the other lease, granted at the same time, has ended.
    eventually("the end of the lease left alone", || async {
        let answers = within("a renewal", store.keep_alive(vec![renewed])).await;
        assert_eq!(answers, [KeepAlive::Renewed(8)], "a lease renewed in time");
        find(store, &key(&area, "left")).await.is_none()
    })
    .await;
    assert_eq!(present(store, &key(&area, "renewed")).await.lease, Some(renewed));
    eventually("the end of the lease", || async { names(store, &area).await.is_empty() }).await;
}

pub async fn revoke_deletes_the_keys_in_order_at_one_revision(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let lease = grant(store, 600).await;
    let order = ["inst/leases/x", "z", "inst/files/x", "a"];
    let start = write(store, order.iter().map(|name| put_leased(&key(&area, name), "x", lease)).collect())
        .await
        .revision;
    let mut watching = Watching::start(store, &area, start + 1);
    assert!(revoke(store, lease).await, "the lease was there");
    assert!(names(store, &area).await.is_empty(), "revoked means deleted");
    let batch = watching.next().await.expect("the revocation");
    assert_eq!(brief(&area, &batch.events), ["-a", "-inst/files/x", "-inst/leases/x", "-z"]);
    assert!(
        batch.events.iter().all(|event| event_revision(event) == batch.revision),
        "one revision: {batch:?}"
    );
}

pub async fn revoke_of_an_empty_and_of_an_unknown_lease(subject: StoreUnderTest) {
    let store = &subject.store;
    let lease = grant(store, 600).await;
    assert!(revoke(store, lease).await, "an empty lease is there");
    assert!(!revoke(store, lease).await, "a revoked lease is not");
    assert!(!revoke(store, LeaseId(1)).await, "a lease never granted is not");
}

/// A lease that was revoked, and a lease that was never granted.
pub async fn keep_alive_of_a_dead_lease_is_not_found(subject: StoreUnderTest) {
    let store = &subject.store;
    let dead = dead_lease(store).await;
    let answers = within("renewals", store.keep_alive(vec![dead, LeaseId(2)])).await;
    assert_eq!(answers, [KeepAlive::NotFound, KeepAlive::NotFound]);
    assert!(within("no renewals", store.keep_alive(Vec::new())).await.is_empty());
}

/// In one call, and in concurrent calls.
pub async fn a_dead_lease_does_not_delay_others(subject: StoreUnderTest) {
    let store = &subject.store;
    let mut leases = Vec::new();
    let mut expected = Vec::new();
    for n in 0..40 {
        let dead = n % 5 == 2;
        leases.push(if dead { dead_lease(store).await } else { grant(store, 600).await });
        expected.push(if dead { KeepAlive::NotFound } else { KeepAlive::Renewed(600) });
    }
    let together = within("renewals", store.keep_alive(leases.clone())).await;
    assert_eq!(together, expected, "one answer for each, in order");
    let single = leases.iter().map(|lease| store.keep_alive(vec![*lease]));
    let beside = within("renewals", futures_util::future::join_all(single)).await;
    assert_eq!(beside.concat(), expected, "each in a call of its own");
}

/// A key put again without its lease outlives it.
pub async fn a_put_without_lease_detaches(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let name = key(&area, "a");
    let lease = grant(store, 600).await;
    write(store, vec![put_leased(&name, "1", lease)]).await;
    write(store, vec![put(&name, "2")]).await;
    assert_eq!(present(store, &name).await.lease, None);
    assert!(revoke(store, lease).await, "a lease without keys is still there");
    assert_eq!(present(store, &name).await.value, "2", "detached keys stay");
}

/// A key belongs to the lease of its last put.
pub async fn a_put_with_another_lease_moves(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let name = key(&area, "a");
    let (old, new) = (grant(store, 600).await, grant(store, 600).await);
    write(store, vec![put_leased(&name, "1", old)]).await;
    write(store, vec![put_leased(&name, "2", new)]).await;
    assert!(revoke(store, old).await);
    assert_eq!(present(store, &name).await.lease, Some(new), "the old lease takes nothing with it");
    assert!(revoke(store, new).await);
    assert!(find(store, &name).await.is_none(), "the new lease takes the key with it");
}

pub async fn a_put_with_the_same_lease_stays(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let (name, other) = (key(&area, "a"), key(&area, "b"));
    let lease = grant(store, 600).await;
    write(store, vec![put_leased(&name, "1", lease), put_leased(&other, "1", lease)]).await;
    write(store, vec![put_leased(&name, "2", lease)]).await;
    let entry = present(store, &name).await;
    assert_eq!((entry.lease, entry.version), (Some(lease), 2));
    assert!(revoke(store, lease).await);
    assert!(names(store, &area).await.is_empty(), "both keys go");
}

pub async fn a_lease_outlives_its_keys(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let name = key(&area, "a");
    let lease = grant(store, 600).await;
    write(store, vec![put_leased(&name, "1", lease)]).await;
    write(store, vec![crate::store::port::Op::Delete(name.clone())]).await;
    let answers = within("a renewal", store.keep_alive(vec![lease])).await;
    assert_eq!(answers, [KeepAlive::Renewed(600)], "a lease without keys");
    write(store, vec![put_leased(&name, "2", lease)]).await;
    assert_eq!(present(store, &name).await.lease, Some(lease), "it can be used again");
    assert!(revoke(store, lease).await);
    assert!(find(store, &name).await.is_none());
}
