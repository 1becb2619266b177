//! RetireActor: deletes unused items at set times: old service versions, empty services and schema contents. It chooses the
//! items. The RegistryActor deletes them, and checks each choice again inside the transaction.
//!
//! If there are several nodes, the node that gets the lock of a job in the store does the job.

mod empty;
mod empty_store;
mod lock;
pub mod messages;
mod schedule;
mod selection;

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, ResponseFuture};
use futures_util::stream::{self, StreamExt};

pub use self::schedule::LocalZone;

use self::empty::{EmptyMarks, EmptyService};
use self::lock::JobLock;
use self::messages::{
    ListRetirements, LookForUse, PlannedRetirement, PlannedRetirements, RetireJob, RetireNow, Retired,
    RetirementReason,
};
use self::selection::References;
use super::freshness::Freshness;
use super::mailbox::{Mailbox, Refused, Resident, Work, ask, run_until_end};
use super::registry::RegistryActor;
use super::registry::messages::{RetireEmptyService, RetireSchemaContents, RetireService};
use crate::cache::SnapshotReader;
use crate::clock::Clock;
use crate::config::Cron;
use crate::domain::{ServiceId, Tenant};
use crate::error::{Code, Error};
use crate::metrics::{self, Counter, Depth};
use crate::store::{Store, StoreError, keys};
use crate::trouble::Trouble;

pub const MAILBOX: usize = 4;
static DEPTH: Depth = Depth::new("RetireActor");
/// How many items are deleted between two renewals of the lock. With [`MAX_IN_FLIGHT`] at once and [`LIMIT`] for each, they
/// take less than the TTL of the lock.
const CHUNK: usize = 32;
/// How many services are deleted at once. Few, because clients write at the same time.
const MAX_IN_FLIGHT: usize = 8;
/// How long the RegistryActor may take for one message.
const LIMIT: Duration = Duration::from_secs(10);
/// How many contents one run deletes at most. The next run deletes the rest.
const MAX_CONTENTS: usize = 100_000;
/// How often each node looks whether services that are marked as empty are used, in minutes.
const LOOK_EVERY: u64 = 10;

/// When the jobs run, and what they keep.
#[derive(Clone, Debug)]
pub struct RetireRules {
    /// When old versions are deleted. `None`: never.
    pub services: Option<Cron>,
    /// How many of the newest versions of a name always stay.
    pub reserve: usize,
    /// How long a service may be empty before it is deleted, at the same times as old versions. `None`: it stays.
    pub empty_after: Option<Duration>,
    /// When unreferenced schema contents are deleted. `None`: never.
    pub schema_contents: Option<Cron>,
    /// The time zone of both.
    pub zone: LocalZone,
}

pub struct RetireActor {
    core: Rc<RetireCore>,
}

pub struct RetireCore {
    /// Holds the locks and the schema contents. No snapshot holds the contents.
    pub store: Arc<dyn Store>,
    pub registry: Mailbox<RegistryActor>,
    pub reader: SnapshotReader,
    /// Makes the reader's snapshot catch up.
    pub freshness: Freshness,
    pub clock: Clock,
    pub rules: RetireRules,
    /// Names this process in the locks (`<host>-<pid>`).
    pub owner: String,
}

impl RetireActor {
    pub fn new(core: RetireCore) -> Self {
        Self { core: Rc::new(core) }
    }
}

impl Resident for RetireActor {
    const MAILBOX: usize = MAILBOX;
    const DEPTH: &'static Depth = &DEPTH;
}

impl Actor for RetireActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        run_until_end(ctx, work(Rc::clone(&self.core)));
    }
}

impl Handler<Work<RetireNow>> for RetireActor {
    type Result = ResponseFuture<Result<Retired, Error>>;

    fn handle(&mut self, retire: Work<RetireNow>, _: &mut Self::Context) -> Self::Result {
        let core = Rc::clone(&self.core);
        Box::pin(async move {
            let _place = retire.place;
            run(&core, retire.message.job).await
        })
    }
}

impl Handler<Work<LookForUse>> for RetireActor {
    type Result = ResponseFuture<Result<(), Error>>;

    fn handle(&mut self, work: Work<LookForUse>, _: &mut Self::Context) -> Self::Result {
        let core = Rc::clone(&self.core);
        Box::pin(async move {
            let _place = work.place;
            look_for_use(&core).await
        })
    }
}

impl Handler<Work<ListRetirements>> for RetireActor {
    type Result = ResponseFuture<Result<PlannedRetirements, Error>>;

    fn handle(&mut self, work: Work<ListRetirements>, _: &mut Self::Context) -> Self::Result {
        let core = Rc::clone(&self.core);
        Box::pin(async move {
            let _place = work.place;
            planned(&core).await
        })
    }
}

async fn work(core: Rc<RetireCore>) {
    let trouble = Trouble::default();
    let mut judged = core.clock.unix_seconds() / 60;
    loop {
        let into_minute = Duration::from_millis(core.clock.unix_millis() % 60_000);
        tokio::time::sleep(Duration::from_secs(60).saturating_sub(into_minute)).await;
        let now = core.clock.unix_seconds() / 60;
        if now / LOOK_EVERY != judged / LOOK_EVERY {
            match look_for_use(&core).await {
                Ok(()) => drop(trouble.is_over()),
                Err(error) => {
                    if trouble.fails(&error.to_string()) {
                        log::warn!(
                            "the marks of empty services were not checked, the next try follows: {error}"
                        );
                    }
                }
            }
        }
        for (job, cron) in [
            (RetireJob::Services, &core.rules.services),
            (RetireJob::EmptyServices, &core.rules.services),
            (RetireJob::SchemaContents, &core.rules.schema_contents),
        ] {
            if job == RetireJob::EmptyServices && core.rules.empty_after.is_none() {
                continue;
            }
            if cron.as_ref().is_some_and(|cron| core.rules.zone.is_due(cron, judged, now)) {
                match run(&core, job).await {
                    Ok(Retired::Deleted(0)) => {}
                    Ok(Retired::Deleted(count)) => log::info!("deleted {count} {}", things(job)),
                    Ok(Retired::HeldElsewhere) => log::debug!("another node deletes {}", things(job)),
                    Err(error) => {
                        log::warn!("not all {} were deleted, the next run tries again: {error}", things(job))
                    }
                }
            }
        }
        judged = now;
    }
}

fn things(job: RetireJob) -> &'static str {
    match job {
        RetireJob::Services => "old service versions",
        RetireJob::EmptyServices => "empty services",
        RetireJob::SchemaContents => "unused schema contents",
    }
}

async fn run(core: &RetireCore, job: RetireJob) -> Result<Retired, Error> {
    // The choice must not come from an old snapshot.
    core.freshness.try_catch_up().await?;
    let key = match job {
        RetireJob::Services => keys::RETIRE_SERVICES_LOCK,
        RetireJob::EmptyServices => keys::RETIRE_EMPTY_LOCK,
        RetireJob::SchemaContents => keys::RETIRE_SCHEMAS_LOCK,
    };
    let owner = format!("{}-{}", core.owner, core.clock.unix_millis());
    let held = lock::try_take(&core.store, key, owner).await.map_err(|error| unavailable(&error))?;
    let Some(held) = held else { return Ok(Retired::HeldElsewhere) };
    let retired = match job {
        RetireJob::Services => retire_services(core, &held).await,
        RetireJob::EmptyServices => retire_empty_services(core, &held).await,
        RetireJob::SchemaContents => retire_schema_contents(core, &held).await,
    };
    held.release().await;
    retired.map(Retired::Deleted)
}

async fn retire_services(core: &RetireCore, held: &JobLock) -> Result<usize, Error> {
    let old = selection::old_versions(&core.reader.load_full(), core.rules.reserve);
    let retire =
        |(tenant, service): &(Tenant, ServiceId)| retire_service(core, tenant.clone(), service.clone());
    retire_each(&old, held, &metrics::RETIRED_SERVICES, retire).await
}

/// Deletes the services of a list, and counts those that are deleted.
async fn retire_each<'s, S, F>(
    services: &'s [S],
    held: &JobLock,
    counter: &Counter,
    retire: impl Fn(&'s S) -> F,
) -> Result<usize, Error>
where
    F: Future<Output = Result<usize, Error>>,
{
    let mut deleted = 0;
    for chunk in services.chunks(CHUNK) {
        still_held(held).await?;
        let mut running = stream::iter(chunk).map(&retire).buffer_unordered(MAX_IN_FLIGHT);
        while let Some(outcome) = running.next().await {
            let count = outcome?;
            deleted += count;
            counter.add(count);
        }
    }
    Ok(deleted)
}

/// 1 if the service is deleted. 0 if it is in use, gone already, or this node's own service.
async fn retire_service(core: &RetireCore, tenant: Tenant, service: ServiceId) -> Result<usize, Error> {
    let message = RetireService { tenant: tenant.clone(), service: service.clone() };
    match answer(ask(&core.registry, message, LIMIT).await) {
        Ok(_) => {
            log::info!("service {service} of {tenant} is deleted: it is an old version without instances");
            Ok(1)
        }
        Err(error) if error.code == Code::Unavailable => Err(error),
        Err(error) => {
            log::debug!("old service version {service} of {tenant} is not deleted: {error}");
            Ok(0)
        }
    }
}

/// Marks the services that are empty, and deletes those whose time is over.
async fn retire_empty_services(core: &RetireCore, held: &JobLock) -> Result<usize, Error> {
    let Some(empty_after) = core.rules.empty_after else { return Ok(0) };
    look_for_use(core).await?;
    // One time for the whole choice: the clock may be set meanwhile.
    let now = core.clock.unix_time();
    let empty = choose_empty(core, empty_after, now).await?;
    empty_store::mark(core, &empty).await?;
    let over: Vec<EmptyService> =
        empty.into_iter().filter(|empty| empty.marked.is_some() && empty.due <= now).collect();
    retire_each(&over, held, &metrics::RETIRED_EMPTY_SERVICES, |empty| retire_empty_service(core, empty))
        .await
}

/// 1 if the service is deleted. 0 if it is in use or gone already.
async fn retire_empty_service(core: &RetireCore, empty: &EmptyService) -> Result<usize, Error> {
    let EmptyService { tenant, service, marked: Some(marked), since, .. } = empty else { return Ok(0) };
    let message = RetireEmptyService {
        tenant: tenant.clone(),
        service: service.id.clone(),
        empty_at: marked.mark.revision,
        marked_at: marked.put_at,
    };
    let (id, path) = (&service.id, &service.versioned_path);
    match answer(ask(&core.registry, message, LIMIT).await) {
        Ok(_) => {
            log::info!(
                "service {id} of {tenant} (\"{path}\") is deleted: it has been empty since {}",
                schedule::shown(*since)
            );
            Ok(1)
        }
        Err(error) if error.code == Code::Unavailable => Err(error),
        Err(error) => {
            log::info!("service {id} of {tenant} (\"{path}\") stays: {error}");
            Ok(0)
        }
    }
}

/// Removes the marks of services that are used, and notes that a node looks.
async fn look_for_use(core: &RetireCore) -> Result<(), Error> {
    if core.rules.empty_after.is_none() {
        return Ok(());
    }
    let now = core.clock.unix_time();
    empty_store::note_look(core, now).await?;
    let marks = empty_store::read(core, now).await?;
    core.freshness.try_catch_up().await?;
    let snapshot = core.reader.load_full();
    let ended = on_another_thread(move || {
        let ended = marks.ended(&snapshot);
        ended.map(|(at, stored)| (at.clone(), stored.put_at)).collect()
    });
    empty_store::remove(core, ended.await?).await
}

/// The empty services of the snapshot, which must be current.
async fn choose_empty(
    core: &RetireCore,
    empty_after: Duration,
    now: i64,
) -> Result<Vec<EmptyService>, Error> {
    let marks: EmptyMarks = empty_store::read(core, now).await?;
    core.freshness.try_catch_up().await?;
    let snapshot = core.reader.load_full();
    on_another_thread(move || empty::empty_services(&snapshot, &marks, empty_after, now)).await
}

/// A choice looks at each service, which would keep the actor's thread from its other actors.
async fn on_another_thread<T: Send + 'static>(
    choose: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(choose).await {
        Ok(chosen) => Ok(chosen),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Error::new(Code::Unavailable, error.to_string())),
        },
    }
}

/// What the runs would delete, by the code that chooses for them.
async fn planned(core: &RetireCore) -> Result<PlannedRetirements, Error> {
    let Some(cron) = core.rules.services else {
        return Ok(PlannedRetirements { next_run: None, retirements: Vec::new() });
    };
    let now = core.clock.unix_time();
    let empty = match core.rules.empty_after {
        Some(empty_after) => choose_empty(core, empty_after, now).await?,
        None => Vec::new(),
    };
    core.freshness.try_catch_up().await?;
    let snapshot = core.reader.load_full();
    let (reserve, zone) = (core.rules.reserve, core.rules.zone.clone());
    on_another_thread(move || {
        let old = selection::old_versions(&snapshot, reserve);
        let old_ids: HashSet<(Tenant, ServiceId)> = old.iter().cloned().collect();
        let mut retirements: Vec<PlannedRetirement> = old
            .into_iter()
            .filter_map(|(tenant, id)| {
                let service = Arc::clone(snapshot.service(&tenant, id.as_str())?);
                Some(PlannedRetirement { tenant, service, reason: RetirementReason::OldVersion, due: now })
            })
            .collect();
        retirements.sort_by(|a, b| {
            (&a.tenant, &a.service.versioned_path).cmp(&(&b.tenant, &b.service.versioned_path))
        });
        let empty = empty
            .into_iter()
            .filter(|empty| !old_ids.contains(&(empty.tenant.clone(), empty.service.id.clone())));
        retirements.extend(empty.map(|empty| {
            let since = empty.marked.map(|_| empty.since);
            let reason = RetirementReason::Empty { since };
            PlannedRetirement { tenant: empty.tenant, service: empty.service, reason, due: empty.due }
        }));
        let minute = u64::try_from(now).unwrap_or(0) / 60;
        let next_run = zone.next(&cron, minute).and_then(|minute| i64::try_from(minute * 60).ok());
        PlannedRetirements { next_run, retirements }
    })
    .await
}

async fn retire_schema_contents(core: &RetireCore, held: &JobLock) -> Result<usize, Error> {
    let unused = unused_contents(core).await?;
    let mut deleted = 0;
    // They are in key order, so the contents of a tenant are adjacent.
    for of_tenant in unused.chunk_by(|(one, _), (next, _)| one == next) {
        for chunk in of_tenant.chunks(CHUNK) {
            let Some((tenant, _)) = chunk.first() else { continue };
            still_held(held).await?;
            let hashes = chunk.iter().map(|(_, hash)| Arc::clone(hash)).collect();
            let message = RetireSchemaContents { tenant: tenant.clone(), hashes };
            let count = answer(ask(&core.registry, message, LIMIT).await)?.value;
            deleted += count;
            metrics::RETIRED_SCHEMA_CONTENTS.add(count);
        }
    }
    Ok(deleted)
}

/// The contents that no schema of the snapshot refers to.
async fn unused_contents(core: &RetireCore) -> Result<Vec<(Tenant, Arc<str>)>, Error> {
    let references = References::of(&core.reader.load_full());
    let mut unused = Vec::new();
    let mut pages = core.store.list(&[keys::SCHEMA_CONTENTS]);
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| unavailable(&error))?;
        let contents = page.entries.iter().filter_map(|entry| keys::parse_schema_content(&entry.key));
        unused.extend(contents.filter(|(tenant, hash)| !references.contains(tenant, hash)));
        if unused.len() >= MAX_CONTENTS {
            unused.truncate(MAX_CONTENTS);
            break;
        }
    }
    Ok(unused)
}

async fn still_held(held: &JobLock) -> Result<(), Error> {
    if held.renew().await {
        return Ok(());
    }
    Err(Error::new(Code::Unavailable, "the lock of the job is lost"))
}

fn unavailable(error: &StoreError) -> Error {
    Error::new(Code::Unavailable, error.to_string())
}

fn answer<T>(answer: Result<Result<T, Error>, Refused>) -> Result<T, Error> {
    answer.unwrap_or_else(|refused| Err(Error::new(Code::Unavailable, refused.to_string())))
}
