//! Consumers that find providers: who asked for what, and when last. A drain waits for those that ask without a watch.
//!
//! While nothing drains, a find costs two hashes and the load of one slot, unless it is the first of its consumer for its provider
//! within a second.
//! While an instance drains, finds of its service are noted too: who asked after the change.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::domain::event::Revision;
use crate::domain::{ServiceId, Tenant};

/// How many slots say which finds were noted within this second. A power of two.
const SLOTS: usize = 8192;
/// How many pairs of a consumer and a provider are remembered. Further ones are not waited for.
pub const MOST_POLLERS: usize = 65_536;
/// How many consumers that asked after its change a drain remembers.
pub const MOST_ASKED: usize = 16_384;
/// The part of a slot that holds the second.
const SECOND: u64 = (1 << 20) - 1;

/// A process of a consumer, as far as a node can tell processes apart: by the consumer's tenant and id, and the client's address.
/// All nodes derive the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessKey(pub u64);

impl ProcessKey {
    pub fn new(tenant: &str, consumer: &str, client: Option<IpAddr>) -> Self {
        let [low, high] = halves(bits(client));
        let mut hash = mix(mix(1, low), high);
        for text in [tenant, consumer] {
            hash = mix(hash, u64::try_from(text.len()).unwrap_or(u64::MAX));
            for word in text.as_bytes().chunks(8) {
                hash = mix(hash, word.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte)));
            }
        }
        Self(hash)
    }
}

fn bits(client: Option<IpAddr>) -> u128 {
    match client {
        None => 0,
        Some(IpAddr::V4(address)) => u128::from(u32::from(address)),
        Some(IpAddr::V6(address)) => u128::from(address),
    }
}

fn halves(word: u128) -> [u64; 2] {
    [word, word >> 64].map(|half| u64::try_from(half & u128::from(u64::MAX)).unwrap_or_default())
}

/// A hash that costs a few nanoseconds: of the end of the consumer's id, where ids differ, and of the client's address.
fn quick(consumer: &str, client: Option<IpAddr>, provider: u64) -> u64 {
    let bytes = consumer.as_bytes();
    let end = bytes.last_chunk::<16>().map_or_else(
        || bytes.iter().fold(0, |word, byte| (word << 8) | u128::from(*byte)),
        |end| u128::from_le_bytes(*end),
    );
    let [low, high] = halves(end ^ (bits(client) << 32));
    mix(mix(low, high), provider)
}

/// A hash of a provider by its tenant, its application, and its name or alias. It costs a few nanoseconds.
fn provider_hash(tenant: &str, app_id: &str, name: &str) -> u64 {
    let mut hash = 1;
    for text in [tenant, app_id, name] {
        hash = mix(hash, u64::try_from(text.len()).unwrap_or(u64::MAX));
        let (words, rest) = text.as_bytes().as_chunks::<8>();
        hash = words.iter().fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)));
        hash = mix(hash, rest.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte)));
    }
    hash
}

/// Mixes a word into a hash. Not against attackers: two processes with one key are told apart less well.
fn mix(hash: u64, word: u64) -> u64 {
    let [low, high] = halves(u128::from(hash.rotate_left(25) ^ word ^ ODD) * u128::from(PRIME));
    low ^ high
}

const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
const PRIME: u64 = 0xD6E8_FEB8_6659_FD93;

/// A process of a consumer that found a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poller {
    pub key: ProcessKey,
    pub tenant: Tenant,
    pub consumer: ServiceId,
    pub client: Option<IpAddr>,
    /// When it asked last: seconds since the node started.
    pub last: u32,
}

/// A find that showed something.
#[derive(Clone, Copy, Debug)]
pub struct PollerFind<'a> {
    pub tenant: &'a Tenant,
    pub consumer: &'a str,
    pub client: Option<IpAddr>,
    /// The tenant of the provider.
    pub target: &'a Tenant,
    pub app_id: &'a str,
    /// The name or the alias that the find named.
    pub name: &'a str,
    /// The revision of the snapshot that answered.
    pub revision: Revision,
}

impl PollerFind<'_> {
    fn key(&self) -> ProcessKey {
        ProcessKey::new(self.tenant.as_str(), self.consumer, self.client)
    }

    fn provider(&self) -> u64 {
        provider_hash(self.target.as_str(), self.app_id, self.name)
    }
}

/// Shared by handlers and the ConsumerActor. Clones share it.
#[derive(Clone, Debug)]
pub struct Pollers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    slots: Box<[AtomicU64]>,
    /// Seconds since the node started, set by the ConsumerActor.
    now: AtomicU32,
    /// By process, and by the hash of the provider that it found.
    table: Mutex<HashMap<(ProcessKey, u64), Poller>>,
    /// The number of drains below.
    draining: AtomicUsize,
    drained: Mutex<HashMap<u64, DrainedService>>,
}

/// A service of which an instance drains.
#[derive(Debug)]
pub struct DrainedService {
    /// The hashes of its name and of its alias.
    providers: Vec<u64>,
    /// Who has asked, and the revision of the last answer.
    asked: HashMap<ProcessKey, Revision>,
}

impl DrainedService {
    pub fn new(tenant: &Tenant, app_id: &str, name: &str, alias: &str) -> Self {
        let names = std::iter::once(name).chain(Some(alias).filter(|alias| !alias.is_empty()));
        let providers = names.map(|name| provider_hash(tenant.as_str(), app_id, name)).collect();
        Self { providers, asked: HashMap::new() }
    }
}

impl Default for Pollers {
    fn default() -> Self {
        let shared = Shared {
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            now: AtomicU32::new(1),
            table: Mutex::default(),
            draining: AtomicUsize::new(0),
            drained: Mutex::default(),
        };
        Self(Arc::new(shared))
    }
}

impl Pollers {
    /// Notes a find. Without a consumer there is nobody to wait for.
    pub fn found(&self, find: &PollerFind<'_>) {
        if find.consumer.is_empty() {
            return;
        }
        let provider = find.provider();
        let hash = quick(find.consumer, find.client, provider);
        let now = self.0.now.load(Ordering::Relaxed);
        let stamp = (hash & !SECOND) | (u64::from(now) & SECOND);
        let slot = usize::try_from(hash).ok().and_then(|at| self.0.slots.get(at % SLOTS));
        if slot.is_none_or(|slot| slot.load(Ordering::Relaxed) != stamp) {
            if let Some(slot) = slot {
                slot.store(stamp, Ordering::Relaxed);
            }
            self.note(find, provider, now);
        }
        if self.0.draining.load(Ordering::Acquire) > 0 {
            self.ask(find, provider);
        }
    }

    #[cold]
    fn note(&self, find: &PollerFind<'_>, provider: u64, now: u32) {
        let key = find.key();
        let mut table = self.0.table.lock();
        if let Some(known) = table.get_mut(&(key, provider)) {
            known.last = now;
        } else if table.len() < MOST_POLLERS {
            let (tenant, consumer) = (find.tenant.clone(), ServiceId::from(find.consumer));
            let poller = Poller { key, tenant, consumer, client: find.client, last: now };
            table.insert((key, provider), poller);
        }
    }

    #[cold]
    fn ask(&self, find: &PollerFind<'_>, provider: u64) {
        let key = find.key();
        let mut all = self.0.drained.lock();
        for drained in all.values_mut().filter(|drained| drained.providers.contains(&provider)) {
            if drained.asked.len() < MOST_ASKED || drained.asked.contains_key(&key) {
                let last = drained.asked.entry(key).or_default();
                *last = find.revision.max(*last);
            }
        }
    }

    /// Sets the time, in seconds since the node started, and forgets who has not asked for `keep` seconds.
    pub fn tick(&self, now: u32, keep: u32) {
        self.0.now.store(now, Ordering::Relaxed);
        self.0.table.lock().retain(|_, poller| now.saturating_sub(poller.last) <= keep);
    }

    /// Who has found the service of a drain within so many seconds. Each process is there once.
    pub fn recent(&self, within: u32, id: u64) -> Vec<Poller> {
        let providers = self.0.drained.lock().get(&id).map(|drained| drained.providers.clone());
        let (providers, now) = (providers.unwrap_or_default(), self.0.now.load(Ordering::Relaxed));
        let mut recent = HashMap::new();
        for ((key, provider), poller) in &*self.0.table.lock() {
            // A second more, because times are whole seconds.
            let is_recent = now.saturating_sub(poller.last) <= within.saturating_add(1);
            if is_recent && providers.contains(provider) {
                recent.insert(*key, poller.clone());
            }
        }
        recent.into_values().collect()
    }

    /// From now on, finds of this service are noted.
    pub fn drain(&self, id: u64, service: DrainedService) {
        let mut drained = self.0.drained.lock();
        drained.insert(id, service);
        self.0.draining.store(drained.len(), Ordering::Release);
    }

    pub fn end_drain(&self, id: u64) {
        let mut drained = self.0.drained.lock();
        drained.remove(&id);
        self.0.draining.store(drained.len(), Ordering::Release);
    }

    /// Who has been answered from this revision or a later one.
    pub fn asked_since(&self, id: u64, revision: Revision) -> Vec<ProcessKey> {
        let drained = self.0.drained.lock();
        let asked = drained.get(&id).into_iter().flat_map(|drained| &drained.asked);
        asked.filter(|(_, of)| **of >= revision).map(|(key, _)| *key).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn find<'a>(tenant: &'a Tenant, consumer: &'a str, address: &str, revision: Revision) -> PollerFind<'a> {
        let client = address.parse().ok();
        PollerFind { tenant, consumer, client, target: tenant, app_id: "app", name: "provider", revision }
    }

    fn who(pollers: &[Poller]) -> Vec<String> {
        let shown =
            |poller: &Poller| format!("{} {:?}", poller.consumer, poller.client.map(|ip| ip.to_string()));
        let mut who: Vec<String> = pollers.iter().map(shown).collect();
        who.sort();
        who
    }

    #[test]
    fn each_process_is_known_with_its_last_find() {
        let (pollers, tenant) = (Pollers::default(), Tenant::default_tenant());
        pollers.drain(1, DrainedService::new(&tenant, "app", "provider", "alias"));
        pollers.tick(100, 60);
        pollers.found(&find(&tenant, "c", "10.0.0.1", 1));
        pollers.found(&find(&tenant, "c", "10.0.0.2", 1));
        pollers.found(&PollerFind { name: "alias", ..find(&tenant, "c", "10.0.0.2", 1) });
        pollers.found(&find(&tenant, "", "10.0.0.2", 1));
        assert_eq!(who(&pollers.recent(30, 1)), [r#"c Some("10.0.0.1")"#, r#"c Some("10.0.0.2")"#]);
        pollers.tick(125, 60);
        pollers.found(&find(&tenant, "d", "::1", 1));
        pollers.found(&find(&tenant, "c", "10.0.0.2", 1));
        pollers.tick(140, 60);
        assert_eq!(who(&pollers.recent(30, 1)), [r#"c Some("10.0.0.2")"#, r#"d Some("::1")"#]);
        pollers.tick(186, 60);
        assert!(pollers.recent(1000, 1).is_empty(), "forgotten");
    }

    #[test]
    fn a_process_counts_for_the_providers_that_it_found() {
        let (pollers, tenant, caller) = (Pollers::default(), Tenant::default_tenant(), Tenant::new("d", "p"));
        let of = |tenant: &Tenant, app: &str, name: &str| {
            pollers.drain(1, DrainedService::new(tenant, app, name, ""));
            who(&pollers.recent(30, 1)).len()
        };
        let mut found = find(&tenant, "c", "10.0.0.1", 1);
        pollers.found(&found);
        found.name = "other-provider";
        pollers.found(&found);
        assert_eq!((of(&tenant, "app", "provider"), of(&tenant, "app", "other-provider")), (1, 1));
        assert_eq!((of(&tenant, "app", "third"), of(&tenant, "app2", "provider")), (0, 0));
        // A find of a shared service, in another tenant than that of the consumer.
        pollers.found(&PollerFind { tenant: &caller, name: "shared", ..found });
        assert_eq!((of(&tenant, "app", "shared"), of(&caller, "app", "shared")), (1, 0));
        // It goes on with one of them.
        pollers.tick(40, 60);
        pollers.found(&found);
        assert_eq!((of(&tenant, "app", "provider"), of(&tenant, "app", "other-provider")), (0, 1));
    }

    #[test]
    fn a_drain_learns_who_asked_after_the_change() {
        let (pollers, tenant) = (Pollers::default(), Tenant::default_tenant());
        pollers.drain(1, DrainedService::new(&tenant, "app", "provider", ""));
        pollers.drain(2, DrainedService::new(&tenant, "app", "other", "provider"));
        pollers.drain(3, DrainedService::new(&tenant, "app", "other", ""));
        pollers.found(&find(&tenant, "c", "10.0.0.1", 6));
        pollers.found(&find(&tenant, "d", "10.0.0.1", 5));
        pollers.found(&find(&tenant, "c", "10.0.0.1", 4));
        let key = ProcessKey::new(tenant.as_str(), "c", "10.0.0.1".parse().ok());
        for drain in [1, 2] {
            assert_eq!(pollers.asked_since(drain, 6), [key]);
            assert_eq!(pollers.asked_since(drain, 5).len(), 2);
        }
        assert_eq!(pollers.asked_since(3, 0), []);
        pollers.end_drain(1);
        assert_eq!(pollers.asked_since(1, 0), []);
    }

    #[test]
    fn keys_differ_in_each_part() {
        let address = |text: &str| text.parse().ok();
        let keys = [
            ProcessKey::new("d/p", "c", address("10.0.0.1")),
            ProcessKey::new("d/p", "c", address("10.0.0.2")),
            ProcessKey::new("d/p", "c", address("::1")),
            ProcessKey::new("d/p", "c", None),
            ProcessKey::new("d/p", "cc", address("10.0.0.1")),
            ProcessKey::new("d/pc", "", address("10.0.0.1")),
            ProcessKey::new("d/p", "0123456789abcdef", address("10.0.0.1")),
            ProcessKey::new("d/p", "0123456789abcdeg", address("10.0.0.1")),
        ];
        assert_eq!(HashSet::from(keys).len(), keys.len());
        assert_eq!(keys[0], ProcessKey::new("d/p", "c", address("10.0.0.1")), "the same on all nodes");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (pollers, tenant) = (Pollers::default(), Tenant::default_tenant());
        pollers.drain(1, DrainedService::new(&tenant, "app", "provider", ""));
        for number in 0..MOST_POLLERS + 10 {
            pollers.found(&find(&tenant, &number.to_string(), "10.0.0.1", 1));
        }
        assert!(pollers.0.table.lock().len() <= MOST_POLLERS);
        assert_eq!(pollers.asked_since(1, 1).len(), MOST_ASKED);
    }
}
