//! LeaseActor: renews leases. It sends the leases queued in [`Beats`] as one batch, [`GATHER`] after the first heartbeat of the
//! batch. It tries unanswered renewals again, and has instances written again whose leases expired despite heartbeats.

pub mod messages;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, ResponseFuture};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Semaphore;

use self::messages::FlushBeats;
use super::beats::{Beat, Beats};
use super::freshness::Freshness;
use super::goodbyes::Goodbyes;
use super::mailbox::{Mailbox, Resident, Work, ask, run_until_end};
use super::registry::RegistryActor;
use super::registry::messages::RestoreInstance;
use crate::cache::SnapshotReader;
use crate::clock::{Clock, Stopwatch};
use crate::domain::instance::PropertiesFrom;
use crate::error::Code;
use crate::metrics::{self, Depth};
use crate::store::{KeepAlive, LeaseId, Store};
use crate::trouble::Trouble;

pub const MAILBOX: usize = 16;
static DEPTH: Depth = Depth::new("LeaseActor");
/// How long heartbeats gather before they are sent.
const GATHER: Duration = Duration::from_millis(100);
/// How many batches are sent at once, so that a batch with a slow lease does not hold up the others.
const MAX_IN_FLIGHT: usize = 16;
/// The pause before an unanswered renewal is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// The pause before an instance is tried again that could not be written again. A write costs the store more than a renewal.
const RESTORE_RETRY: Duration = Duration::from_secs(2);
/// How many instances are written again at once.
const MAX_RESTORES: usize = 64;
/// How long the RegistryActor may take to write an instance again.
const RESTORE_LIMIT: Duration = Duration::from_secs(5);
/// How long the actor waits for the snapshot to show an instance that was written again.
const SHOWN_LIMIT: Duration = Duration::from_secs(1);

pub struct LeaseActor {
    core: Rc<LeaseCore>,
}

pub struct LeaseCore {
    pub store: Arc<dyn Store>,
    /// The leases to renew.
    pub beats: Beats,
    /// Shows what became of an instance whose lease is gone.
    pub reader: SnapshotReader,
    /// Makes the reader's snapshot catch up.
    pub freshness: Freshness,
    /// Instances that must not be written again.
    pub goodbyes: Goodbyes,
    /// The actor that writes instances again.
    pub registry: Mailbox<RegistryActor>,
    pub clock: Clock,
    /// Logs once that instances wait to be written again.
    pub trouble: Trouble,
}

impl LeaseActor {
    pub fn new(core: LeaseCore) -> Self {
        Self { core: Rc::new(core) }
    }
}

impl Resident for LeaseActor {
    const MAILBOX: usize = MAILBOX;
    const DEPTH: &'static Depth = &DEPTH;
}

impl Actor for LeaseActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        run_until_end(ctx, work(Rc::clone(&self.core)));
    }
}

impl Handler<Work<FlushBeats>> for LeaseActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, flush: Work<FlushBeats>, _: &mut Self::Context) -> Self::Result {
        let core = Rc::clone(&self.core);
        Box::pin(async move {
            let _place = flush.place;
            renew(&core, core.beats.drain()).await;
        })
    }
}

async fn work(core: Rc<LeaseCore>) {
    let turns = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    loop {
        core.beats.wait().await;
        tokio::time::sleep(GATHER).await;
        // While all turns are taken, heartbeats gather in the queue. None is dropped.
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let batch = core.beats.drain();
        let core = Rc::clone(&core);
        actix::spawn(async move {
            renew(&core, batch).await;
            drop(turn);
        });
    }
}

async fn renew(core: &Rc<LeaseCore>, batch: Vec<Beat>) {
    if batch.is_empty() {
        return;
    }
    let sent = core.clock.monotonic();
    batch.iter().for_each(|beat| beat.mark.sent(sent));
    let leases = batch.iter().map(|beat| LeaseId(beat.mark.lease())).collect();
    let began = Stopwatch::start();
    let answers = core.store.keep_alive(leases).await;
    let took = began.elapsed();
    let asked = batch.len();
    let (mut unanswered, mut lost) = (Vec::new(), Vec::new());
    for (beat, answer) in batch.into_iter().zip(answers) {
        match answer {
            KeepAlive::Renewed(ttl) => beat.mark.renewed(sent, ttl),
            KeepAlive::NotFound => lost.push(beat),
            KeepAlive::Unanswered(why) => {
                log::trace!("lease {}: {why}", beat.mark.lease());
                unanswered.push(beat);
            }
        }
    }
    let renewed = asked - unanswered.len() - lost.len();
    count_renewals(took, renewed, lost.len(), unanswered.len());
    try_again(core, unanswered, RETRY);
    if !lost.is_empty() {
        try_again(core, restore(core, lost).await, RESTORE_RETRY);
    }
}

fn count_renewals(took: Duration, renewed: usize, expired: usize, unanswered: usize) {
    metrics::LEASES_RENEWED.add(renewed);
    metrics::LEASES_EXPIRED.add(expired);
    metrics::LEASES_WITHOUT_ANSWER.add(unanswered);
    metrics::LEASES_UNANSWERED.add(unanswered);
    metrics::HEARTBEATS_DONE.add(renewed);
    metrics::HEARTBEATS_FAILED.add(expired + unanswered);
    metrics::HEARTBEAT_TIME.observe_many(took, renewed);
    metrics::HEARTBEAT_FAILURE_TIME.observe_many(took, expired + unanswered);
}

fn try_again(core: &Rc<LeaseCore>, beats: Vec<Beat>, pause: Duration) {
    if beats.is_empty() {
        return;
    }
    let core = Rc::clone(core);
    actix::spawn(async move {
        tokio::time::sleep(pause).await;
        beats.into_iter().for_each(|beat| core.beats.retry(beat));
    });
}

/// Has instances written again, with the same id and document, whose leases are gone although heartbeats came. Instances that
/// said goodbye or registered again are left out. Returns the leases to try again.
async fn restore(core: &Rc<LeaseCore>, lost: Vec<Beat>) -> Vec<Beat> {
    // A goodbye that the watch has not brought yet must not look like an expiry.
    if core.freshness.try_catch_up().await.is_err() {
        return lost;
    }
    let mut again = Vec::new();
    let mut waiting = lost.into_iter().filter(|beat| is_lost(core, beat));
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < MAX_RESTORES
            && let Some(beat) = waiting.next()
        {
            running.push(restore_one(core, beat));
        }
        match running.next().await {
            Some(Some(beat)) => again.push(beat),
            Some(None) => {}
            None => return again,
        }
    }
}

fn is_lost(core: &LeaseCore, beat: &Beat) -> bool {
    if core.goodbyes.contains(&beat.at) || is_stale(core, beat) {
        return false;
    }
    let snapshot = core.reader.load();
    match snapshot.instance(&beat.at.tenant, beat.at.service.as_str(), beat.at.instance.as_str()) {
        Some(entry) => entry.lease.as_ref().is_none_or(|mark| mark.lease() == beat.mark.lease()),
        // If a listing lacks the instance, it may have been unregistered through another node. The answer to its owner's next
        // heartbeat is then that it does not exist.
        None => beat.mark.surely_expired(snapshot.listing),
    }
}

/// Whether no heartbeat came for a whole TTL. Then the lease expired rightly, or the owner uses another node now.
fn is_stale(core: &LeaseCore, beat: &Beat) -> bool {
    let ttl = Duration::from_secs(u64::try_from(beat.entry.pace().ttl_seconds()).unwrap_or(0));
    beat.mark.was_silent_for(ttl, core.clock.monotonic())
}

/// The last document, and where its properties come from. The snapshot may show a newer document than the heartbeat had.
fn last_document(core: &LeaseCore, beat: &Beat) -> (Bytes, PropertiesFrom) {
    let snapshot = core.reader.load();
    let shown = snapshot.instance(&beat.at.tenant, beat.at.service.as_str(), beat.at.instance.as_str());
    (shown.unwrap_or(&beat.entry).json(), snapshot.properties_from(&beat.at))
}

async fn restore_one(core: &LeaseCore, beat: Beat) -> Option<Beat> {
    let (json, properties) = last_document(core, &beat);
    let message = RestoreInstance {
        tenant: beat.at.tenant.clone(),
        service: beat.at.service.clone(),
        instance: beat.at.instance.clone(),
        json,
        properties,
        former_lease: beat.mark.lease(),
    };
    match ask(&core.registry, message, RESTORE_LIMIT).await {
        // The instance is there already, or its owner said goodbye. The instance is shown as long as `beat` exists, so the
        // snapshot catches up first.
        Ok(Ok(committed)) if committed.revision.is_none() => {
            core.freshness.catch_up().await;
            None
        }
        Ok(Ok(committed)) => {
            if let Some(revision) = committed.revision {
                let _ = tokio::time::timeout(SHOWN_LIMIT, core.reader.wait_for(revision)).await;
            }
            metrics::INSTANCES_RESTORED.add(1);
            core.trouble.is_over();
            log::info!(
                "instance {}/{} was written again: its lease had ended although heartbeats came",
                beat.at.service,
                beat.at.instance
            );
            None
        }
        Ok(Err(error)) if error.code == Code::Unavailable => {
            has_to_wait(core, &error);
            Some(beat)
        }
        Ok(Err(error)) => {
            log::info!("instance {}/{} is not written again: {error}", beat.at.service, beat.at.instance);
            None
        }
        Err(refused) => {
            has_to_wait(core, &refused);
            Some(beat)
        }
    }
}

fn has_to_wait(core: &LeaseCore, why: &dyn std::fmt::Display) {
    if core.trouble.fails(&why.to_string()) {
        log::warn!(
            "instances that lost their leases although heartbeats came are not written again yet, trying until they are: {why}"
        );
    }
}
