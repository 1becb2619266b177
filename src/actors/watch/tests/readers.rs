//! What readers see while the actor lists, watches, loses its stream and falls behind: always the complete state of one
//! revision, and never an older revision than before.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::{WatchActor, WatchParts, WatchRules};
use super::history::{InstanceEnds, KeyHistory};
use super::rules;
use crate::actors::goodbyes::Goodbyes;
use crate::actors::hub::HubActor;
use crate::actors::interests::Interests;
use crate::actors::lifeline::Lifelines;
use crate::actors::mailbox::Mailbox;
use crate::actors::tests::PATIENCE;
use crate::cache::tests::reads;
use crate::cache::{SnapshotBuilder, cell};
use crate::clock::Clock;
use crate::domain::dependency::CrossDomain;
use crate::recorder::Recorder;
use crate::store::{
    Entry, Event, GrantCost, KeepAlive, Lease, LeaseId, Page, Reason, Revision, Store, StoreError, Txn,
    TxnOutcome, WatchBatch, WatchError,
};

/// Entries on a page. Few, so that a listing has many pages.
const PAGE: usize = 4;
/// How many revisions the store has in the end.
const REVISIONS: Revision = 200;

/// A store with a history and many faults. Listings come in small pages while new revisions are added, and some of them break
/// off. Watches are lost or have fallen behind.
#[derive(Clone)]
struct Teller(Arc<Mutex<ReaderTold>>);

struct ReaderTold {
    history: KeyHistory,
    random: StdRng,
    /// The events of each revision from 1 on.
    events: Vec<Vec<Event>>,
    /// What a reader must see at each revision.
    readable: BTreeMap<Revision, String>,
}

impl Teller {
    fn new(seed: u64) -> Self {
        let (history, random) = (KeyHistory::new(seed, InstanceEnds::None), StdRng::seed_from_u64(seed));
        let told = ReaderTold { history, random, events: Vec::new(), readable: BTreeMap::new() };
        let teller = Self(Arc::new(Mutex::new(told)));
        teller.go_on();
        teller
    }

    fn with<T>(&self, look: impl FnOnce(&mut ReaderTold) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    fn chance(&self, of: u32) -> bool {
        self.with(|told| told.random.random_range(0..of) == 0)
    }

    fn revision_now(&self) -> Revision {
        self.with(|told| told.history.revision)
    }

    /// Adds a revision, unless there are enough.
    fn go_on(&self) {
        self.with(|told| {
            if told.history.revision < REVISIONS {
                told.history.go_on();
                told.events.append(&mut told.history.events);
                let revision = told.history.revision;
                let mut builder = SnapshotBuilder::default();
                told.history
                    .entries
                    .values()
                    .filter_map(super::super::state::listed)
                    .for_each(|event| builder.apply(event));
                told.readable.insert(revision, reads(&builder.publish(revision).0));
            }
        });
    }
}

fn refused<T: Send + 'static>() -> BoxFuture<'static, Result<T, StoreError>> {
    let message = "it only tells".to_owned();
    std::future::ready(Err(StoreError::Aborted { reason: Reason::Refused, message })).boxed()
}

impl Store for Teller {
    fn list(&self, _: &[&str]) -> BoxStream<'static, Result<Page, StoreError>> {
        let (entries, revision): (Vec<Entry>, Revision) =
            self.with(|told| (told.history.entries.values().cloned().collect(), told.history.revision));
        let pages: Vec<Page> =
            entries.chunks(PAGE).map(|entries| Page { entries: entries.to_vec(), revision }).collect();
        let pages = if pages.is_empty() { vec![Page { entries: vec![], revision }] } else { pages };
        let this = self.clone();
        let steps = pages.into_iter().map(Ok).chain([Err(())]);
        stream::iter(steps)
            .then(move |page| {
                let this = this.clone();
                async move {
                    // The history continues during the listing.
                    tokio::task::yield_now().await;
                    this.go_on();
                    match page {
                        Ok(_) if this.chance(150) => {
                            let message = "the listing broke off".to_owned();
                            Some(Err(StoreError::Aborted { reason: Reason::Unavailable, message }))
                        }
                        Ok(page) => Some(Ok(page)),
                        Err(()) => None,
                    }
                }
            })
            .scan(false, |is_over, page| {
                let page = page.filter(|_| !*is_over);
                *is_over |= page.as_ref().is_none_or(Result::is_err);
                std::future::ready(page)
            })
            .boxed()
    }

    fn watch(&self, _: &str, from: Revision) -> BoxStream<'static, Result<WatchBatch, WatchError>> {
        stream::unfold((self.clone(), Some(from)), |(this, from)| async move {
            let from = from?;
            loop {
                tokio::task::yield_now().await;
                this.go_on();
                // After the last revision the watch brings everything.
                // Seldom, because the actor pauses after each one.
                if this.revision_now() < REVISIONS && this.chance(70) {
                    let is_behind = this.chance(2);
                    let lost = || WatchError::Lost("it lost its thread".to_owned());
                    let end = if is_behind { WatchError::Compacted } else { lost() };
                    return Some((Err(end), (this, None)));
                }
                let several = this.with(|told| told.random.random_range(1..4));
                let events: Vec<Event> = this.with(|told| {
                    let first = usize::try_from(from - 1).unwrap();
                    told.events.iter().skip(first).take(several).flatten().cloned().collect()
                });
                let Some(last) = events.last() else {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                    continue;
                };
                let revision = match last {
                    Event::Put(entry) => entry.mod_revision,
                    Event::Delete { revision, .. } => *revision,
                };
                return Some((Ok(WatchBatch { revision, events }), (this, Some(revision + 1))));
            }
        })
        .boxed()
    }

    fn batch(&self, txns: Vec<Txn>) -> BoxFuture<'static, Vec<Result<TxnOutcome, StoreError>>> {
        let message = "it only tells".to_owned();
        let refused = StoreError::Aborted { reason: Reason::Refused, message };
        std::future::ready(vec![Err(refused); txns.len()]).boxed()
    }

    fn grant(&self, _: i64) -> BoxFuture<'static, Result<Lease, StoreError>> {
        refused()
    }

    fn name(&self) -> &'static str {
        "teller"
    }

    fn grant_cost(&self) -> GrantCost {
        GrantCost::Free
    }

    fn keep_alive(&self, leases: Vec<LeaseId>) -> BoxFuture<'static, Vec<KeepAlive>> {
        std::future::ready(vec![KeepAlive::NotFound; leases.len()]).boxed()
    }

    fn revoke(&self, _: LeaseId) -> BoxFuture<'static, Result<bool, StoreError>> {
        refused()
    }

    fn revision(&self) -> BoxFuture<'static, Result<Revision, StoreError>> {
        refused()
    }

    fn bookmark(&self) -> BoxFuture<'static, Result<Revision, StoreError>> {
        refused()
    }

    fn compact(&self, _: Revision) -> BoxFuture<'static, Result<bool, StoreError>> {
        refused()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }
}

#[actix::test]
async fn they_see_whole_listings_in_order_whatever_befalls_the_watch() {
    let mut listed_anew = 0;
    for seed in 0..6 {
        let teller = Teller::new(seed);
        let lifelines = Lifelines::default();
        lifelines.release();
        let (publisher, reader) = cell::cell();
        let hub = Mailbox::start_here(&lifelines, || {
            HubActor::new(Interests::default(), Recorder::default(), Clock::system(), None)
        });
        let rules =
            WatchRules { guard: rules(1.0), fixed_ttl_seconds: 0, cross_domain: CrossDomain::Forbidden };
        let (store, clock) = (Arc::new(teller.clone()), Clock::system());
        Mailbox::start_here(&lifelines, || {
            let parts = WatchParts {
                store,
                publisher,
                goodbyes: Goodbyes::default(),
                interests: Interests::default(),
                hub,
                recorder: Recorder::default(),
                clock,
            };
            WatchActor::new(parts, rules)
        });
        let (mut revision, mut listings) = (-1, 0);
        let reading = async {
            while revision < REVISIONS {
                reader.wait_for(revision + 1).await;
                let snapshot = reader.load_full();
                assert!(snapshot.revision > revision, "seed {seed}: the revision went back");
                (revision, listings) = (snapshot.revision, snapshot.listing);
                let expected = teller.with(|told| told.readable[&revision].clone());
                assert_eq!(reads(&snapshot), expected, "seed {seed}, revision {revision}");
            }
        };
        assert!(
            tokio::time::timeout(PATIENCE * 2, reading).await.is_ok(),
            "seed {seed}: stuck at {revision}"
        );
        listed_anew += listings - 1;
    }
    assert!(listed_anew > 2, "it was listed anew {listed_anew} times");
}
