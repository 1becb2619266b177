//! Failed logins, and the locks that they cause.
//!
//! The store holds two records of an account and an address: the count of failures, which only nodes of this server read, and the lock,
//! which nodes of the original read and write, too. They are written together, under compares. So the failures are counted for all nodes
//! together, and a restart forgets none. Both records end by a time that they carry. The next login of the pair and a job that runs each
//! minute on every node delete ended records.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;

use super::core::{AccountCore, put, unchanged_since};
use super::messages::{LoginFailed, RemoveEndedLock};
use crate::actors::outcome::{committed, store_error, unchanged};
use crate::actors::registry::messages::{Committed, WriteReply};
use crate::domain::account::AccountLock;
use crate::domain::{json, validate};
use crate::error::Error;
use crate::rbac::attempts::{Attempts, LockStatus};
use crate::store::{Compare, Entry, Key, Op, StoreError, Txn, keys};

/// How many locks may exist before failures with names of no account are no longer recorded. Anybody can make up names, and every node
/// holds the locks in memory.
pub(super) const MAX_LOCKS: usize = 10_000;
/// How many locks may exist before no further failure is recorded. Each lock of an account takes a client an address of its own.
const MAX_LOCKS_OF_ACCOUNTS: usize = 100_000;
/// How often ended records are deleted.
const CLEAN_EVERY: Duration = Duration::from_secs(60);
/// How many records one batch deletes.
const BATCH: usize = 100;

/// The keys of the two records of an account and an address.
struct LoginKeys {
    count: Key,
    lock: Key,
}

impl LoginKeys {
    fn of(key: &str) -> Self {
        Self { count: keys::failed_logins(key), lock: keys::account_lock(key) }
    }
}

/// The stored records of an account and an address.
struct LoginRecords {
    count: Option<Entry>,
    lock: Option<Entry>,
}

async fn read(core: &AccountCore, keys: &LoginKeys) -> Result<LoginRecords, Error> {
    let then = vec![Op::Get(Key::clone(&keys.count)), Op::Get(Key::clone(&keys.lock))];
    let outcome = core.commit(Txn { then, ..Txn::default() }).await.map_err(|error| store_error(&error))?;
    let mut reads = outcome.reads.into_iter().map(|entries| entries.into_iter().next());
    Ok(LoginRecords { count: reads.next().flatten(), lock: reads.next().flatten() })
}

/// The key is as it was read.
fn as_read(key: &Key, entry: Option<&Entry>) -> Compare {
    entry.map_or_else(|| Compare::Absent(Key::clone(key)), unchanged_since)
}

/// Counts a failed login and writes its lock.
pub(super) async fn failed(core: Rc<AccountCore>, message: LoginFailed) -> WriteReply<()> {
    let LoginFailed { account, address } = message;
    let key = AccountLock::key_of(&account, &address);
    if !is_recorded(&core, &account, &key) {
        return Ok(unchanged(()));
    }
    let keys = LoginKeys::of(&key);
    let _turn = core.turn(&keys.count).await?;
    let mut tries = core.tries();
    let mut sent: Option<Bytes> = None;
    loop {
        tries.check()?;
        let records = read(&core, &keys).await?;
        let is_done = tries.is_unsure && records.count.as_ref().map(|entry| &entry.value) == sent.as_ref();
        if let Some(own) = records.lock.as_ref().filter(|_| is_done) {
            return Ok(Committed { value: (), revision: Some(own.mod_revision) });
        }
        let now = now(&core);
        // A count that cannot be read counts nothing, and is replaced.
        let former: Attempts =
            records.count.as_ref().and_then(|entry| json::decode(&entry.value).ok()).unwrap_or_default();
        let (attempts, status) = former.failed(now);
        let kept_for = match status {
            LockStatus::Attempted => core.rules.keep_attempts,
            LockStatus::Banned => core.rules.release_after,
        };
        let lock = AccountLock {
            key: key.clone(),
            status: status.name().to_owned(),
            release_at: now.saturating_add(seconds(kept_for)),
        };
        // A ban by a node of the original, which counts on its own, stays.
        let is_banned = |entry: &&Entry| {
            json::decode::<AccountLock>(&entry.value).is_ok_and(|lock| lock.rejects(now))
                && status == LockStatus::Attempted
        };
        let lock = match records.lock.as_ref().filter(is_banned) {
            Some(ban) => ban.value.clone(),
            None => Bytes::from(json::encode(&lock)),
        };
        let count = Bytes::from(json::encode(&attempts));
        sent = Some(count.clone());
        let compares =
            vec![as_read(&keys.count, records.count.as_ref()), as_read(&keys.lock, records.lock.as_ref())];
        let then = vec![put(&keys.count, count), put(&keys.lock, lock)];
        let outcome = core.commit(Txn { compares, then, otherwise: Vec::new() }).await;
        if let Some(outcome) = tries.judge(outcome)?.filter(|outcome| outcome.succeeded) {
            if status == LockStatus::Banned {
                log::warn!(
                    "too many failed logins: account \"{account}\" is locked for the address {address}"
                );
            }
            return Ok(committed((), &outcome));
        }
    }
}

/// Whether a failure is recorded. The number of records has a limit, and a name that no account can have needs no lock.
fn is_recorded(core: &AccountCore, account: &str, key: &str) -> bool {
    if !validate::account::is_name(account) {
        return false;
    }
    let snapshot = core.reader.load();
    let locks = snapshot.access.locks().len();
    let limit = match snapshot.access.account(account) {
        Some(_) => MAX_LOCKS_OF_ACCOUNTS,
        None => MAX_LOCKS,
    };
    let has_room = locks < limit || snapshot.access.lock(key).is_some();
    if has_room {
        core.crowd.is_over();
    } else if core.crowd.fails(if limit == MAX_LOCKS { "unknown accounts" } else { "accounts" }) {
        log::warn!("failed logins are not recorded now, because {locks} accounts and addresses have some");
    }
    has_room
}

/// Deletes the lock with this key if it has ended, and the count if it says nothing any more.
pub(super) async fn remove_ended(core: Rc<AccountCore>, message: RemoveEndedLock) -> WriteReply<()> {
    let keys = LoginKeys::of(&message.key);
    let records = read(&core, &keys).await?;
    let now = now(&core);
    let count = records.count.filter(|entry| has_ended(entry, now));
    let lock = records.lock.filter(|entry| has_ended(entry, now));
    let deletions: Vec<Txn> = [&lock, &count].into_iter().flatten().map(deletion).collect();
    let mut outcomes = core.store.batch(deletions).await.into_iter();
    // Only the lock comes through the watch.
    let Some(outcome) = lock.and_then(|_| outcomes.next()) else { return Ok(unchanged(())) };
    Ok(committed((), &outcome.map_err(|error| store_error(&error))?))
}

/// Deletes ended records each minute, as long as the actor lives.
pub(super) async fn clean(core: Rc<AccountCore>) {
    loop {
        tokio::time::sleep(CLEAN_EVERY).await;
        match clean_once(&core).await {
            Ok(_) => drop(core.cleaning.is_over()),
            Err(error) => {
                if core.cleaning.fails(&error.to_string()) {
                    log::warn!(
                        "ended locks of accounts were not deleted, the next try is in a minute: {error}"
                    );
                }
            }
        }
    }
}

/// Deletes ended records. Returns how many.
pub(super) async fn clean_once(core: &AccountCore) -> Result<usize, StoreError> {
    let mut pages = core.store.list(&[keys::ACCOUNT_LOCKS, keys::LOGINS]);
    let now = now(core);
    let mut deleted = 0;
    while let Some(page) = pages.next().await {
        let entries = page?.entries;
        let ended: Vec<Txn> = entries.iter().filter(|entry| has_ended(entry, now)).map(deletion).collect();
        for batch in ended.chunks(BATCH) {
            for outcome in core.store.batch(batch.to_vec()).await {
                deleted += usize::from(outcome?.changed);
            }
        }
    }
    Ok(deleted)
}

/// Deletes a record, unless it was written again.
fn deletion(entry: &Entry) -> Txn {
    let then = vec![Op::Delete(Key::clone(&entry.key))];
    Txn { compares: vec![unchanged_since(entry)], then, otherwise: Vec::new() }
}

/// Whether a record has ended. A lock that cannot be read never ends: somebody else has written it. A count is ours, and one that
/// cannot be read says nothing.
fn has_ended(entry: &Entry, now: i64) -> bool {
    if entry.key.starts_with(keys::LOGINS) {
        return json::decode::<Attempts>(&entry.value).map_or(true, |attempts| attempts.is_over(now));
    }
    json::decode::<AccountLock>(&entry.value).is_ok_and(|lock| lock.release_at <= now)
}

fn now(core: &AccountCore) -> i64 {
    i64::try_from(core.clock.unix_seconds()).unwrap_or(i64::MAX)
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
