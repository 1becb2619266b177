//! WatchActor: the only publisher of snapshots. It lists the store, watches it from the revision of the listing, and publishes
//! each change as a new snapshot.
//!
//! If the watch is lost, the actor watches again from the last revision. If the store has compacted that revision, the actor
//! lists again into a fresh builder, which replaces the old one at the end of the listing. So readers never see half a listing.

pub mod guard;
pub mod messages;
mod repair;
pub mod state;
mod telling;
#[cfg(test)]
mod tests;
mod trail;
pub mod trees;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, MessageResult, ResponseFuture};
use futures_util::stream::StreamExt;

use self::guard::{ExpiryGuard, GuardRules};
use self::messages::{DigestAt, HeldInstances, ListAgain, ListHeld, RepairKeys};
use self::repair::Repairs;
use self::state::{Fate, WatchState, WatchStep};
use super::freshness::Freshness;
use super::goodbyes::Goodbyes;
use super::hub::HubActor;
use super::hub::messages::SnapshotPublished;
use super::interests::{Interests, NotedBy};
use super::mailbox::{Mailbox, Refused, Resident, Work, ask, run_until_end, tell};
use crate::cache::builder::LostProvider;
use crate::cache::find::Wanted;
use crate::cache::listing::{self, ListedPart};
use crate::cache::{InstanceChange, Snapshot, SnapshotBuilder, SnapshotPublisher};
use crate::clock::{Clock, Stopwatch};
use crate::domain::Tenant;
use crate::domain::dependency::CrossDomain;
use crate::domain::event::{RegistryEvent, Revision};
use crate::error::Error;
use crate::metrics::{self, Depth};
use crate::recorder::{Note, Recorder, Step};
use crate::store::{Page, Store, StoreError, WatchError, keys, on_other_thread};
use crate::trouble::Trouble;

pub const MAILBOX: usize = 64;
static DEPTH: Depth = Depth::new("WatchActor");
/// How many batches of the watch go into one publish.
const BATCHES_PER_PUBLISH: usize = 256;
/// How many pages of a listing are decoded in parallel.
const PAGES_DECODED: usize = 3;
/// The first pause after a failure. It is doubled up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// A watch that has not ended after this time works, even if it brought nothing. The store ends a watch that it cannot begin
/// within 5 s.
const STANDS_AFTER: Duration = Duration::from_secs(6);
/// How many changes may wait for a hub whose mailbox is full. If there are more, the publisher waits for the hub.
const MAX_UNSENT: usize = 200_000;
/// How long the publisher waits for the hub then.
const HUB_LIMIT: Duration = Duration::from_secs(5);
/// The pause before changes are sent again to a hub whose mailbox was full.
const PUSH_AGAIN: Duration = Duration::from_millis(20);

pub struct WatchActor {
    core: Rc<WatchCore>,
}

/// What the actor shares with others, and what it alone writes.
pub struct WatchParts {
    pub store: Arc<dyn Store>,
    pub publisher: SnapshotPublisher,
    pub goodbyes: Goodbyes,
    pub interests: Interests,
    pub hub: Mailbox<HubActor>,
    pub recorder: Recorder,
    pub clock: Clock,
}

pub struct WatchCore {
    store: Arc<dyn Store>,
    publisher: SnapshotPublisher,
    freshness: Freshness,
    goodbyes: Goodbyes,
    interests: Interests,
    hub: Mailbox<HubActor>,
    recorder: Recorder,
    clock: Clock,
    repairs: Repairs,
    state: RefCell<WatchState>,
    unsent: RefCell<Unsent>,
    /// The number of the last listing that was begun.
    listings: Cell<u32>,
    /// Logs once that listings or watches fail.
    trouble: Trouble,
}

/// How the actor treats what the store sends.
#[derive(Clone, Copy, Debug)]
pub struct WatchRules {
    /// Which expiries are held back.
    pub guard: GuardRules,
    /// The TTL of every lease in seconds, if positive. Otherwise the TTL of each document applies.
    pub fixed_ttl_seconds: i64,
    /// Whether a dependency may lead to another domain.
    pub cross_domain: CrossDomain,
}

impl WatchActor {
    pub fn new(parts: WatchParts, rules: WatchRules) -> Self {
        let WatchParts { store, publisher, goodbyes, interests, hub, recorder, clock } = parts;
        trees::register();
        let builder = SnapshotBuilder::new(rules.cross_domain);
        let state = WatchState::new(builder, ExpiryGuard::new(rules.guard), rules.fixed_ttl_seconds);
        let freshness = Freshness::new(Arc::clone(&store), publisher.reader());
        let core = WatchCore {
            store,
            publisher,
            freshness,
            goodbyes,
            interests,
            hub,
            recorder,
            clock,
            repairs: Repairs::default(),
            state: RefCell::new(state),
            unsent: RefCell::default(),
            listings: Cell::default(),
            trouble: Trouble::default(),
        };
        Self { core: Rc::new(core) }
    }
}

impl Resident for WatchActor {
    const MAILBOX: usize = MAILBOX;
    const DEPTH: &'static Depth = &DEPTH;
}

impl Actor for WatchActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        run_until_end(ctx, work(Rc::clone(&self.core)));
    }
}

impl Handler<Work<ListHeld>> for WatchActor {
    type Result = MessageResult<Work<ListHeld>>;

    fn handle(&mut self, Work { message, .. }: Work<ListHeld>, _: &mut Self::Context) -> Self::Result {
        let held: HeldInstances = self.core.state.borrow().held(&message, self.core.clock.monotonic());
        MessageResult(held)
    }
}

impl Handler<Work<DigestAt>> for WatchActor {
    type Result = MessageResult<Work<DigestAt>>;

    fn handle(&mut self, work: Work<DigestAt>, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.core.state.borrow().digest_at(work.message.0))
    }
}

impl Handler<Work<RepairKeys>> for WatchActor {
    type Result = ResponseFuture<Result<usize, Error>>;

    fn handle(&mut self, work: Work<RepairKeys>, _: &mut Self::Context) -> Self::Result {
        let core = Rc::clone(&self.core);
        Box::pin(async move {
            let _place = work.place;
            repair::repair(&core, work.message.0).await
        })
    }
}

impl Handler<Work<ListAgain>> for WatchActor {
    type Result = ();

    fn handle(&mut self, _: Work<ListAgain>, _: &mut Self::Context) {
        self.core.repairs.list_again();
    }
}

/// What the actor does next.
enum Phase {
    /// List everything.
    List,
    /// Watch from the last known revision.
    Watch,
}

async fn work(core: Rc<WatchCore>) {
    let mut phase = Phase::List;
    let mut pause = FIRST_PAUSE;
    loop {
        let began = core.clock.monotonic();
        phase = match phase {
            Phase::List => match list(&core).await {
                // At once: writes are not seen until the watch begins.
                Ok(()) => {
                    phase = Phase::Watch;
                    continue;
                }
                Err(error) => {
                    if core.trouble.fails(&error.to_string()) {
                        log::warn!("the store cannot be listed, trying again until that succeeds: {error}");
                    }
                    Phase::List
                }
            },
            Phase::Watch => match watch(&core).await {
                WatchEnd::Asked => {
                    log::warn!("the watch does not bring what the store holds; listing again");
                    Phase::List
                }
                WatchEnd::Error(WatchError::Compacted) => {
                    log::warn!("the watch fell behind what the store keeps; listing again");
                    Phase::List
                }
                WatchEnd::Error(WatchError::SetBack(revision)) => {
                    log::warn!("the store is only at revision {revision}; listing again");
                    Phase::List
                }
                WatchEnd::Error(WatchError::Lost(why)) => {
                    if core.trouble.fails(&why) {
                        log::warn!("the watch of the store was lost, trying again until it works: {why}");
                    }
                    Phase::Watch
                }
                // The store is closed when the daemon stops. At any other time the process ends with this actor.
                WatchEnd::Error(WatchError::Closed) => return,
            },
        };
        if core.clock.monotonic().saturating_sub(began) > LAST_PAUSE {
            pause = FIRST_PAUSE;
        }
        if core.state.borrow().revision() > 0 && matches!(phase, Phase::Watch) && pause == FIRST_PAUSE {
            pause *= 2;
            continue;
        }
        wait_and_judge(&core, pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

async fn list(core: &WatchCore) -> Result<(), StoreError> {
    let applied = core.state.borrow().revision();
    let mut pages =
        core.store.list(&keys::READ_MODEL).map(|page| decode(page, applied)).buffered(PAGES_DECODED);
    core.listings.set(core.listings.get() + 1);
    let mut listed = SnapshotBuilder::listing_after(core.state.borrow().current(), core.listings.get());
    let (mut goodbyes, mut revision) = (Vec::new(), 0);
    while let Some(page) = pages.next().await {
        let (parts, of) = page?;
        revision = of;
        for part in parts {
            match part {
                ListedPart::Event(
                    event @ (RegistryEvent::LateGoodbye(..) | RegistryEvent::ExpiriesReleased(..)),
                ) => goodbyes.push(event),
                part => listed.apply_listed(part),
            }
        }
        // A long listing must not keep the actor's thread from its messages.
        tokio::task::yield_now().await;
    }
    for service in listed.take_listed() {
        listed.show_listed(service);
        tokio::task::yield_now().await;
    }
    let before = core.state.borrow().revision();
    if revision < before {
        log::error!(
            "the store was set back from revision {before} to {revision}, for example by a restored backup: what was written in \
             between is gone from this node too"
        );
    }
    metrics::RELISTS.add(1);
    // The listing shows what the repairs were to show.
    core.repairs.drop_all();
    let step = core.state.borrow_mut().replace(listed, &goodbyes, revision, core.clock.monotonic());
    publish(core, step, None).await;
    Ok(())
}

/// Decodes a page on another thread, because decoding takes most of the time of a listing.
async fn decode(
    page: Result<Page, StoreError>,
    applied: Revision,
) -> Result<(Vec<ListedPart>, Revision), StoreError> {
    let Page { entries, revision } = page?;
    let decoding = on_other_thread(move || {
        trees::listed(&entries);
        listing::parts(entries.iter().filter_map(|entry| state::listed_after(applied, entry)))
    });
    Ok((decoding.await?, revision))
}

/// Why [`watch`] ended.
enum WatchEnd {
    Error(WatchError),
    /// [`ListAgain`].
    Asked,
}

async fn watch(core: &WatchCore) -> WatchEnd {
    let from = core.state.borrow().revision() + 1;
    core.state.borrow_mut().resume(core.clock.monotonic());
    let mut batches = core.store.watch(keys::ROOT, from).ready_chunks(BATCHES_PER_PUBLISH);
    let stands_at = core.clock.monotonic() + STANDS_AFTER;
    let mut has_brought = false;
    // This watch may bring what the last one did not.
    core.repairs.take_list_again();
    loop {
        let now = core.clock.monotonic();
        if now >= stands_at {
            stands(core);
        }
        let unsure = core.trouble.goes_on().then(|| stands_at.saturating_sub(now));
        let due = core.state.borrow().guard().next_due().map(|due| due.saturating_sub(now));
        let again = (core.unsent.borrow().count > 0).then_some(PUSH_AGAIN);
        let left = due.into_iter().chain(again).chain(unsure).min();
        let ready = tokio::select! {
            ready = batches.next() => ready,
            () = tokio::time::sleep(left.unwrap_or_default()), if left.is_some() => {
                judge(core).await;
                push_again(core).await;
                continue;
            }
            () = core.repairs.wait() => {
                // A watch that has just begun has to show first what it brings.
                let has_begun = has_brought || core.clock.monotonic() >= stands_at;
                if core.repairs.take_list_again() && has_begun {
                    return WatchEnd::Asked;
                }
                repair::apply(core).await;
                continue;
            }
        };
        let Some(ready) = ready else {
            return WatchEnd::Error(WatchError::Lost("the stream ended".to_owned()));
        };
        let came = Stopwatch::start();
        let now = core.clock.monotonic();
        let (mut end, mut has_come) = (None, false);
        {
            let mut state = core.state.borrow_mut();
            for batch in ready {
                match batch {
                    Ok(batch) => {
                        has_come = true;
                        state.apply(batch, now);
                    }
                    Err(error) => end = Some(error),
                }
            }
            state.judge(now);
        }
        if has_come {
            has_brought = true;
            stands(core);
        }
        let step = core.state.borrow_mut().step();
        publish(core, step, Some(came)).await;
        if let Some(error) = end {
            return WatchEnd::Error(error);
        }
    }
}

/// Logs that the watch works again, if it failed before.
fn stands(core: &WatchCore) {
    if core.trouble.is_over() {
        log::info!("the watch of the store works again, at revision {}", core.state.borrow().revision());
    }
}

/// Waits before the next try. Expiries that are due then pass, even without a watch.
async fn wait_and_judge(core: &WatchCore, pause: Duration) {
    tokio::time::sleep(pause).await;
    judge(core).await;
}

async fn judge(core: &WatchCore) {
    let now = core.clock.monotonic();
    let is_due = core.state.borrow().guard().next_due().is_some_and(|due| due <= now);
    if is_due {
        let step = {
            let mut state = core.state.borrow_mut();
            state.judge(now);
            state.step()
        };
        publish(core, step, None).await;
    }
}

/// Publishes the snapshot, then tells the hub. So a find shows a change before its event leaves. `came` is when the events of the
/// step came, if it has any.
async fn publish(core: &WatchCore, step: WatchStep, came: Option<Stopwatch>) {
    let now = core.clock.monotonic();
    for (at, fate) in step.fates {
        match fate {
            Fate::Gone => core.goodbyes.remember(at, now),
            Fate::Back => core.goodbyes.forget(&at),
        }
    }
    // Before the snapshot: who has loaded it then finds in the record how it came to be.
    tell_recorder(core, &step.changes, step.snapshot.revision);
    core.publisher.publish(Arc::clone(&step.snapshot));
    let published = Stopwatch::start();
    note_lost(core, &step.snapshot, &step.lost);
    if !step.changes.is_empty() || step.is_listing {
        core.unsent.borrow_mut().add(step.changes, published, step.snapshot.revision);
    }
    push(core, step.snapshot).await;
    if let Some(came) = came {
        metrics::SNAPSHOT_PUBLISH_TIME.observe(published.since(came));
        step.tally.done(published.since(came), came.elapsed());
    }
    let unsent = core.unsent.borrow().count;
    metrics::CHANGES_UNSENT.set(unsent);
    trees::unsent(unsent);
    metrics::HELD_NOW.set(core.state.borrow().guard().held_count());
}

fn tell_recorder(core: &WatchCore, changes: &[InstanceChange], revision: Revision) {
    let changes = core.state.borrow_mut().tellings().take(changes, &core.clock);
    let (time, begun) = (core.clock.unix_timestamp(), core.recorder.begun());
    core.recorder.note(Note::Seen(Step { time, revision, changes, begun }));
}

/// Notes that the consumers of lost providers look for them, because their dependencies are dropped now. Each node does this by
/// itself.
fn note_lost(core: &WatchCore, snapshot: &Snapshot, lost: &[LostProvider]) {
    for LostProvider { tenant, path, consumers } in lost {
        for key in consumers {
            for consumer in snapshot.services_of(key) {
                let consumer = (Tenant::from(key.tenant.as_str()), consumer.id.clone());
                let wanted = Wanted { consumer, tenant: tenant.clone(), path: Arc::clone(path) };
                core.interests.note(wanted, NotedBy::EveryNode);
            }
        }
    }
}

/// Sends waiting changes to the hub. If its mailbox is full, they wait here in order, and are sent with the next publish or
/// after [`PUSH_AGAIN`]. Readers get the next snapshot all the same.
async fn push(core: &WatchCore, snapshot: Arc<Snapshot>) {
    loop {
        let Some(first) = core.unsent.borrow_mut().first() else { return };
        let UnsentList { published, changes, up_to } = first;
        let message = SnapshotPublished { snapshot: Arc::clone(&snapshot), published, changes, up_to };
        let sent = match tell(&core.hub, message.clone()) {
            Err(Refused::Full) if core.unsent.borrow().count <= MAX_UNSENT => return,
            // Too many wait. From now on readers wait for the hub as well.
            Err(Refused::Full) => ask(&core.hub, message, HUB_LIMIT).await,
            sent => sent,
        };
        if let Err(refused) = sent {
            log::error!(
                "changes were not pushed to watchers, clients miss them until they list again: {refused}"
            );
        }
        core.unsent.borrow_mut().drop_first();
    }
}

async fn push_again(core: &WatchCore) {
    if core.unsent.borrow().count > 0 {
        let step = core.state.borrow_mut().step();
        publish(core, step, None).await;
    }
}

/// Changes that the hub has not taken yet: one list for each publish, with its time.
#[derive(Default)]
struct Unsent {
    lists: VecDeque<UnsentList>,
    /// How many changes all lists hold.
    count: usize,
}

/// The changes of one publish.
#[derive(Clone)]
struct UnsentList {
    published: Stopwatch,
    changes: Arc<[InstanceChange]>,
    up_to: Revision,
}

impl Unsent {
    fn add(&mut self, changes: Vec<InstanceChange>, published: Stopwatch, up_to: Revision) {
        self.count += changes.len();
        self.lists.push_back(UnsentList { published, changes: changes.into(), up_to });
    }

    fn first(&self) -> Option<UnsentList> {
        self.lists.front().cloned()
    }

    fn drop_first(&mut self) {
        self.count -= self.lists.pop_front().map_or(0, |list| list.changes.len());
    }
}
