//! Providers that consumers look for and that do not exist yet. When the first instance of such a provider appears, the HubActor
//! tells the watches of these consumers, although no dependency is recorded.
//!
//! A handler notes a find that fails, the WatchActor notes the consumers of a provider that is deleted, and the ConsumerActor
//! brings what other nodes have noted. An interest ends when a dependency on the provider is recorded, or when it is the oldest
//! and there are too many. Then the next find that fails notes it again.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::cache::find::Wanted;
use crate::domain::{ServiceId, Tenant};
use crate::metrics;

/// A consumer: its tenant and its id.
pub type ConsumerAt = (Tenant, ServiceId);

/// How many interests are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterestLimits {
    /// Of all consumers. 0: none.
    pub all: usize,
    pub per_consumer: usize,
}

impl Default for InterestLimits {
    fn default() -> Self {
        Self { all: 20_000, per_consumer: 100 }
    }
}

/// Where an interest was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotedBy {
    /// This node alone: other nodes must learn it.
    ThisNode,
    /// Another node, or each node by itself.
    EveryNode,
}

/// The interests that this node knows. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Interests(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    limits: InterestLimits,
    /// The number of interests, so that a push need not take the lock while there are none.
    count: AtomicUsize,
    table: Mutex<InterestTable>,
}

#[derive(Debug, Default)]
struct InterestTable {
    /// Each with the numbers that it was noted under.
    by_consumer: HashMap<ConsumerAt, Vec<(ProviderAt, u64)>>,
    by_provider: HashMap<ProviderAt, BTreeSet<ConsumerAt>>,
    /// In the order of their numbers. Those that have ended are dropped when they come to the front.
    in_order: VecDeque<(u64, Wanted)>,
    last: u64,
    count: usize,
    /// Noted by this node, not yet told to the others.
    new: Vec<Wanted>,
}

/// A tenant and a name path.
type ProviderAt = (Tenant, Arc<str>);

impl Interests {
    pub fn new(limits: InterestLimits) -> Self {
        Self(Arc::new(Shared { limits, count: AtomicUsize::new(0), table: Mutex::default() }))
    }

    /// Notes that a consumer looks for a provider, and returns whether that is new. A known interest stays as it is.
    pub fn note(&self, wanted: Wanted, by: NotedBy) -> bool {
        let limits = self.0.limits;
        if limits.all == 0 || limits.per_consumer == 0 {
            return false;
        }
        let mut table = self.0.table.lock();
        let provider = (wanted.tenant.clone(), Arc::clone(&wanted.path));
        let of_consumer = table.by_consumer.entry(wanted.consumer.clone()).or_default();
        if of_consumer.iter().any(|(known, _)| *known == provider) {
            return false;
        }
        let oldest = (of_consumer.len() >= limits.per_consumer).then(|| of_consumer.first().cloned());
        if let Some((oldest, _)) = oldest.flatten() {
            table.end(&wanted.consumer, &oldest);
            metrics::INTERESTS_DROPPED.add(1);
        }
        table.add(wanted.clone(), provider);
        if by == NotedBy::ThisNode && table.new.len() < limits.all {
            table.new.push(wanted);
        }
        while table.count > limits.all {
            table.drop_oldest();
        }
        table.forget_ended();
        self.publish(&table);
        true
    }

    /// The consumers that look for a provider.
    pub fn of(&self, tenant: &Tenant, path: &Arc<str>) -> Vec<ConsumerAt> {
        if self.0.count.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let table = self.0.table.lock();
        let consumers = table.by_provider.get(&(tenant.clone(), Arc::clone(path)));
        consumers.into_iter().flatten().cloned().collect()
    }

    /// Ends an interest, because a dependency on the provider is recorded, or because the consumer is gone.
    pub fn end(&self, consumer: &ConsumerAt, tenant: &Tenant, path: &Arc<str>) {
        let mut table = self.0.table.lock();
        table.end(consumer, &(tenant.clone(), Arc::clone(path)));
        self.publish(&table);
    }

    /// Takes what this node has noted since the last call, at most so many.
    pub fn take_new(&self, most: usize) -> Vec<Wanted> {
        let mut table = self.0.table.lock();
        let taken = table.new.len().min(most);
        table.new.drain(..taken).collect()
    }

    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    fn publish(&self, table: &InterestTable) {
        self.0.count.store(table.count, Ordering::Relaxed);
        metrics::INTERESTS.set(table.count);
    }
}

impl InterestTable {
    fn add(&mut self, wanted: Wanted, provider: ProviderAt) {
        self.last += 1;
        self.by_consumer.entry(wanted.consumer.clone()).or_default().push((provider.clone(), self.last));
        self.by_provider.entry(provider).or_default().insert(wanted.consumer.clone());
        self.in_order.push_back((self.last, wanted));
        self.count += 1;
    }

    fn end(&mut self, consumer: &ConsumerAt, provider: &ProviderAt) {
        let Some(providers) = self.by_consumer.get_mut(consumer) else { return };
        let before = providers.len();
        providers.retain(|(known, _)| known != provider);
        self.count -= before - providers.len();
        if providers.is_empty() {
            self.by_consumer.remove(consumer);
        }
        if let Some(consumers) = self.by_provider.get_mut(provider) {
            consumers.remove(consumer);
            if consumers.is_empty() {
                self.by_provider.remove(provider);
            }
        }
    }

    /// Whether the interest with this number has ended. It may have been noted again under another number.
    fn has_ended(&self, number: u64, wanted: &Wanted) -> bool {
        let of_consumer = self.by_consumer.get(&wanted.consumer).into_iter().flatten();
        !of_consumer.into_iter().any(|(_, known)| *known == number)
    }

    fn drop_oldest(&mut self) {
        let Some((number, wanted)) = self.in_order.pop_front() else { return };
        if !self.has_ended(number, &wanted) {
            self.end(&wanted.consumer, &(wanted.tenant, wanted.path));
            metrics::INTERESTS_DROPPED.add(1);
        }
    }

    /// Keeps the order as short as the interests that live, up to a factor of two.
    fn forget_ended(&mut self) {
        if self.in_order.len() > 2 * self.count + 64 {
            let in_order = std::mem::take(&mut self.in_order);
            let alive = in_order.into_iter().filter(|(number, wanted)| !self.has_ended(*number, wanted));
            self.in_order = alive.collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(consumer: &str, provider: &str) -> Wanted {
        let tenant = Tenant::default_tenant();
        Wanted { consumer: (tenant.clone(), ServiceId::from(consumer)), tenant, path: provider.into() }
    }

    fn interests(all: usize, per_consumer: usize) -> Interests {
        Interests::new(InterestLimits { all, per_consumer })
    }

    /// Notes these pairs (`c:p`), and returns who looks for each of these providers.
    fn check(interests: &Interests, pairs: &str, expected: &[(&str, &[&str])]) {
        for pair in pairs.split_whitespace() {
            let (consumer, provider) = pair.split_once(':').unwrap_or_default();
            interests.note(wanted(consumer, provider), NotedBy::ThisNode);
        }
        for (provider, consumers) in expected {
            let found = interests.of(&Tenant::default_tenant(), &Arc::from(*provider));
            let found: Vec<&str> = found.iter().map(|(_, id)| id.as_str()).collect();
            assert_eq!(found, *consumers, "{provider}");
        }
    }

    #[test]
    fn each_interest_is_noted_once_and_told_once() {
        let interests = interests(10, 10);
        check(&interests, "c:p d:p c:q c:p", &[("p", &["c", "d"]), ("q", &["c"]), ("r", &[])]);
        assert_eq!(interests.count(), 3);
        assert_eq!(interests.take_new(2), [wanted("c", "p"), wanted("d", "p")]);
        assert_eq!(interests.take_new(2), [wanted("c", "q")]);
        assert_eq!(interests.take_new(2), []);
        assert!(interests.note(wanted("e", "p"), NotedBy::EveryNode));
        assert!(!interests.note(wanted("e", "p"), NotedBy::ThisNode));
        assert_eq!(interests.take_new(2), [], "the others know it");
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let all = interests(3, 10);
        check(&all, "c:p c:q d:p d:q", &[("p", &["d"]), ("q", &["c", "d"])]);
        let of_one = interests(10, 2);
        check(&of_one, "c:p d:p c:q c:r", &[("p", &["d"]), ("q", &["c"]), ("r", &["c"])]);
        check(&interests(0, 10), "c:p", &[("p", &[])]);
    }

    #[test]
    fn what_has_ended_can_be_noted_again() {
        let interests = interests(2, 10);
        check(&interests, "c:p d:p", &[("p", &["c", "d"])]);
        let tenant = Tenant::default_tenant();
        interests.end(&(tenant.clone(), "c".into()), &tenant, &"p".into());
        assert_eq!(interests.count(), 1);
        // Its first number is the oldest, but ended; `d:p` is the oldest that lives.
        check(&interests, "c:p e:p", &[("p", &["c", "e"])]);
    }

    #[test]
    fn what_has_ended_takes_no_memory() {
        let (interests, tenant) = (interests(100, 100), Tenant::default_tenant());
        for number in 0..10_000 {
            let provider = format!("p{number}");
            check(&interests, &format!("c:{provider}"), &[]);
            interests.end(&(tenant.clone(), "c".into()), &tenant, &provider.as_str().into());
        }
        let table = interests.0.table.lock();
        assert!(table.in_order.len() < 200 && table.by_provider.is_empty() && table.by_consumer.is_empty());
        assert!(table.new.len() <= 100);
    }
}
