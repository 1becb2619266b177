//! Turns dependency requests into rules of consumers and providers, many requests at once.
//!
//! It reads all needed rules, applies the requests in memory in their order, and writes the changed rules in as few
//! transactions as the limits of the store allow. Each transaction holds whole requests and compares all rules that they looked
//! at. A single request that is too large for one transaction compares only the rules that it writes.
//!
//! This file knows nothing of the queue and the lock. Its caller passes the compares and the deletions that belong to a
//! request.

use std::collections::{HashMap, HashSet};

use super::core::RegistryCore;
use super::dependency_store::{
    MAX_BYTES, MAX_OPS, StoredRule, consumer_key, provider_key, read_rules, write,
};
use super::failure::DependencyFailure;
use crate::clock::Monotonic;
use crate::domain::ServiceKey;
use crate::domain::dependency::{self, Dependency, merged_providers, same_partner};
use crate::domain::event::Revision;
use crate::error::{Code, Error};
use crate::store::{Compare, Entry, Key, Op};

/// How many rules the requests that are applied together may look at.
const WINDOW: usize = 400;
/// How many bytes of rules are remembered between transactions.
const MAX_KNOWN_BYTES: usize = 16 << 20;
/// The approximate size of the JSON around the texts of a partner.
const PARTNER_FRAME: usize = 100;

/// A dependency request with its queue entry.
pub(super) struct DependencyRequest {
    /// The request. Without a consumer it changes nothing.
    pub dependency: Dependency,
    /// The queue entry. The transaction that applies the request compares it and deletes it. If the entry has changed, the
    /// request is skipped.
    pub entry: Option<Entry>,
}

/// Applies requests and remembers the rules that it has read and written.
pub(super) struct RuleWriter<'a> {
    core: &'a RegistryCore,
    /// Compared with every write.
    fence: Option<Compare>,
    known: HashMap<Key, StoredRule>,
    known_bytes: usize,
}

/// Requests applied in memory that fit into one transaction, or a single larger request.
#[derive(Default)]
struct RequestGroup {
    /// The new partners of each changed rule.
    partners: HashMap<Key, Vec<ServiceKey>>,
    /// The changed rules, in the order of the first change.
    order: Vec<Key>,
    /// All rules that the requests looked at, the changed ones included.
    touched: HashSet<Key>,
    bytes: usize,
    requests: usize,
    /// The queue entries, with their revisions.
    entries: Vec<(Key, Revision)>,
}

/// What a request does to rules.
struct Edits {
    consumer: ServiceKey,
    own: Option<(Key, Vec<ServiceKey>)>,
    add_to: Vec<Key>,
    remove_from: Vec<Key>,
    /// All rules that the request looks at.
    touched: HashSet<Key>,
}

/// The outcome of writing a group.
enum GroupOutcome {
    /// Written at this revision. `None` if there was nothing to write.
    At(Option<Revision>),
    /// Not written, because others have written the same rules.
    Not,
    /// Not written, because these queue entries have changed.
    Overtaken(Vec<Key>),
}

impl<'a> RuleWriter<'a> {
    /// `fence` is compared with each write.
    pub fn new(core: &'a RegistryCore, fence: Option<Compare>) -> Self {
        Self { core, fence, known: HashMap::new(), known_bytes: 0 }
    }

    /// Applies requests in their order, with the operations `last` in the last transaction. Returns one outcome for each
    /// request: the revision at which it is applied, or the error. There are fewer outcomes if the time is over or the store
    /// fails. Then the last outcome is the error. A request that the store rejects, because its rules are too large, fails
    /// alone.
    pub async fn apply(
        &mut self,
        requests: &[DependencyRequest],
        last: &[Op],
        until: Option<Monotonic>,
    ) -> Vec<Result<Option<Revision>, DependencyFailure>> {
        let mut outcomes = Vec::with_capacity(requests.len());
        let mut overtaken = HashSet::new();
        let mut deadline = self.core.deadline();
        // How many requests are applied one by one, because the store rejected them together.
        let mut alone = 0_usize;
        while let Some(rest) = requests.get(outcomes.len()..).filter(|rest| !rest.is_empty()) {
            if until.is_some_and(|until| self.core.clock.monotonic() >= until) {
                break;
            }
            if let Err(error) = deadline.check() {
                outcomes.push(Err(DependencyFailure::Later(error)));
                break;
            }
            let most = if alone > 0 { 1 } else { rest.len() };
            let (group, written) = match self.apply_some(rest, most, last, &overtaken).await {
                Ok(done) => done,
                Err(failure) => {
                    outcomes.push(Err(failure));
                    break;
                }
            };
            match written {
                Ok(GroupOutcome::At(revision)) => {
                    outcomes.extend(std::iter::repeat_n(Ok(revision), group));
                    alone = alone.saturating_sub(group);
                    deadline = self.core.deadline();
                }
                Ok(GroupOutcome::Not) => self.forget(),
                Ok(GroupOutcome::Overtaken(keys)) => overtaken.extend(keys),
                Err(failure) if failure.is_final() && group > 1 => alone = group,
                Err(failure) if failure.is_final() => {
                    self.forget();
                    outcomes.push(Err(failure));
                    alone = alone.saturating_sub(1);
                }
                Err(failure) => {
                    outcomes.push(Err(failure));
                    break;
                }
            }
        }
        outcomes
    }

    /// Forgets all rules, so that they are read again.
    pub fn forget(&mut self) {
        self.known.clear();
        self.known_bytes = 0;
    }

    /// Applies as many of the first requests as fit. Returns how many, and the outcome.
    async fn apply_some(
        &mut self,
        rest: &[DependencyRequest],
        most: usize,
        last: &[Op],
        overtaken: &HashSet<Key>,
    ) -> Result<(usize, Result<GroupOutcome, DependencyFailure>), DependencyFailure> {
        let window = rest.get(..window(rest).min(most)).unwrap_or(rest);
        let window = match self.learn(window).await {
            Err(failure) if failure.is_final() => return Ok((window.len(), Err(failure))),
            learned => window.get(..learned?).unwrap_or(window),
        };
        let mut group = RequestGroup::default();
        for request in window {
            let entry = request.entry.as_ref();
            if entry.is_none_or(|entry| !overtaken.contains(&entry.key)) {
                let edits = request.dependency.consumer.as_ref();
                let edits = edits.map(|consumer| self.edits(&group, consumer, &request.dependency));
                let edits = match edits.transpose() {
                    Ok(edits) => edits,
                    Err(failure) if group.requests == 0 => return Ok((1, Err(failure))),
                    // The requests before this one are written first.
                    Err(_) => break,
                };
                if !self.take(&mut group, edits, entry, last.len()) {
                    break;
                }
            }
            group.requests += 1;
        }
        let last = if group.requests == rest.len() { last } else { &[] };
        let count = group.requests;
        Ok((count, self.write_group(group, last).await))
    }

    /// Reads the rules that requests touch and that are not known. Returns for how many requests. Providers that a consumer
    /// keeps are not read, because their rules have the consumer already.
    async fn learn(&mut self, requests: &[DependencyRequest]) -> Result<usize, DependencyFailure> {
        if self.known_bytes > MAX_KNOWN_BYTES {
            self.forget();
        }
        let consumers = requests.iter().filter_map(|request| request.dependency.consumer.as_ref());
        self.read(consumers.map(consumer_key).collect()).await?;
        let mut providers: HashSet<Key> = HashSet::new();
        let mut count = 0;
        for request in requests {
            // Even a single consumer that replaces many providers may fill the window.
            if count > 0 && providers.len() > WINDOW {
                break;
            }
            count += 1;
            let Some(consumer) = &request.dependency.consumer else { continue };
            let own = self.known.get(&consumer_key(consumer)).map(|rule| rule.partners.as_slice());
            let left = own.unwrap_or_default().iter();
            let left = left.filter(|old| request.dependency.replace || !self.connects(consumer, old));
            providers.extend(left.chain(&request.dependency.providers).map(provider_key));
        }
        self.read(providers).await?;
        Ok(count)
    }

    /// Whether a consumer may have this provider.
    fn connects(&self, consumer: &ServiceKey, provider: &ServiceKey) -> bool {
        self.core.rules.cross_domain.connects(&consumer.tenant, &provider.tenant)
    }

    async fn read(&mut self, rule_keys: HashSet<Key>) -> Result<(), DependencyFailure> {
        let missing: Vec<Key> = rule_keys.into_iter().filter(|key| !self.known.contains_key(key)).collect();
        let rules = read_rules(self.core, &missing).await?;
        for (key, rule) in missing.into_iter().zip(rules) {
            self.known_bytes += rule.bytes;
            self.known.insert(key, rule);
        }
        Ok(())
    }

    /// The partners of a rule after the group.
    fn partners<'b>(&'b self, group: &'b RequestGroup, key: &Key) -> &'b [ServiceKey] {
        let known = || self.known.get(key).map_or(&[][..], |rule| rule.partners.as_slice());
        group.partners.get(key).map_or_else(known, Vec::as_slice)
    }

    fn edits(
        &self,
        group: &RequestGroup,
        consumer: &ServiceKey,
        request: &Dependency,
    ) -> Result<Edits, DependencyFailure> {
        let own_key = consumer_key(consumer);
        let own = self.partners(group, &own_key);
        let mut wanted = merged_providers(own, &request.providers, request.replace);
        // Drops providers that another node has added under other settings.
        wanted.retain(|provider| self.connects(consumer, provider));
        let quota = self.core.rules.quotas.dependencies;
        dependency::check_quota(quota, own, &wanted).map_err(DependencyFailure::Request)?;
        let is_in = |key: &Key| self.partners(group, key).iter().any(|known| same_partner(known, consumer));
        // A provider whose version changes stays, because a provider has one rule for all versions.
        let names: HashSet<[&str; 4]> = wanted.iter().map(dependency::name).collect();
        let gone = own.iter().filter(|old| !names.contains(&dependency::name(old)));
        let remove_from: Vec<Key> = gone.map(provider_key).collect();
        let named = request.providers.iter().filter(|provider| self.connects(consumer, provider));
        let add_to: Vec<Key> = named.map(provider_key).collect();
        let mut touched: HashSet<Key> = remove_from.iter().chain(&add_to).cloned().collect();
        touched.insert(Key::clone(&own_key));
        let remove_from = remove_from.into_iter().filter(&is_in).collect();
        let add_to = add_to.into_iter().filter(|key| !is_in(key)).collect();
        let own = (own != wanted).then_some((own_key, wanted));
        Ok(Edits { consumer: consumer.clone(), own, add_to, remove_from, touched })
    }

    /// Adds a request to the group. `false` if it does not fit.
    fn take(
        &self,
        group: &mut RequestGroup,
        edits: Option<Edits>,
        entry: Option<&Entry>,
        last: usize,
    ) -> bool {
        let touched = edits.iter().flat_map(|edits| &edits.touched);
        let fresh: Vec<&Key> = touched.filter(|key| !group.touched.contains(*key)).collect();
        let mut bytes = entry.map_or(0, |entry| entry.key.len());
        for key in &fresh {
            // Counts each rule as if it were written.
            bytes += 2 * key.len() + self.known.get(*key).map_or(0, |rule| rule.bytes);
        }
        if let Some(edits) = &edits {
            bytes += edits.own.iter().flat_map(|(_, wanted)| wanted).map(size).sum::<usize>();
            bytes += edits.add_to.len() * size(&edits.consumer);
        }
        // `<` leaves room for the fence.
        let ops = group.touched.len() + fresh.len() + group.entries.len() + usize::from(entry.is_some());
        let fits = ops + last < MAX_OPS && group.bytes + bytes <= MAX_BYTES;
        if !fits && group.requests > 0 {
            return false;
        }
        group.bytes += bytes;
        group.entries.extend(entry.map(|entry| (Key::clone(&entry.key), entry.mod_revision)));
        let Some(Edits { consumer, own, add_to, remove_from, touched }) = edits else { return true };
        group.touched.extend(touched);
        for key in add_to {
            let consumers = self.staged(group, &key);
            if !consumers.iter().any(|known| same_partner(known, &consumer)) {
                consumers.push(consumer.clone());
            }
        }
        for key in remove_from {
            self.staged(group, &key).retain(|known| !same_partner(known, &consumer));
        }
        // The consumer's rule is changed after the providers' rules. If the writes are interrupted, the request is applied
        // again.
        if let Some((key, wanted)) = own {
            *self.staged(group, &key) = wanted;
        }
        true
    }

    fn staged<'b>(&self, group: &'b mut RequestGroup, key: &Key) -> &'b mut Vec<ServiceKey> {
        if !group.partners.contains_key(key) {
            group.order.push(Key::clone(key));
        }
        let known = || self.known.get(key).map(|rule| rule.partners.clone()).unwrap_or_default();
        group.partners.entry(Key::clone(key)).or_insert_with(known)
    }

    async fn write_group(
        &mut self,
        group: RequestGroup,
        last: &[Op],
    ) -> Result<GroupOutcome, DependencyFailure> {
        let RequestGroup { mut partners, order, entries, touched, .. } = group;
        let unknown = StoredRule::default();
        let (changed, writes): (Vec<(Key, Vec<ServiceKey>)>, Vec<_>) = order
            .into_iter()
            .filter_map(|key| {
                let partners = partners.remove(&key)?;
                let write = self.known.get(&key).unwrap_or(&unknown).become_partners(&key, &partners)?;
                Some(((key, partners), write))
            })
            .unzip();
        let mut fences: Vec<Compare> = self.fence.iter().cloned().collect();
        fences.extend(entries.iter().map(|(key, mod_revision)| Compare::Unchanged {
            key: Key::clone(key),
            mod_revision: *mod_revision,
        }));
        let written: HashSet<&Key> = changed.iter().map(|(key, _)| key).collect();
        let unwritten = touched
            .iter()
            .filter(|key| !written.contains(key))
            .map(|key| self.known.get(key).unwrap_or(&unknown).compare(key));
        if touched.len() + fences.len() <= MAX_OPS {
            fences.extend(unwritten);
        }
        if writes.is_empty() && entries.is_empty() && last.is_empty() && self.fence.is_none() {
            return Ok(GroupOutcome::At(None));
        }
        let closing: Vec<Op> = entries.iter().map(|(key, _)| Op::Delete(Key::clone(key))).collect();
        let ends = [&closing, last].concat();
        let Some(revisions) = write(self.core, writes, &fences, &ends).await? else {
            return self.why_not(&entries).await;
        };
        for ((key, partners), revision) in changed.into_iter().zip(&revisions) {
            let bytes = partners.iter().map(size).sum();
            self.known_bytes += bytes;
            let revision = Some(*revision).filter(|_| !partners.is_empty());
            self.known.insert(key, StoredRule { revision, partners, bytes });
        }
        Ok(GroupOutcome::At(revisions.into_iter().max()))
    }

    /// Finds out which compare failed: the fence, a queue entry, or a rule.
    async fn why_not(&self, entries: &[(Key, Revision)]) -> Result<GroupOutcome, DependencyFailure> {
        if let Some(Compare::ValueIs { key, value }) = &self.fence {
            let held = self.core.try_read(vec![Op::Get(Key::clone(key))]).await?;
            if held.into_iter().flatten().next().is_none_or(|entry| entry.value != *value) {
                let error = Error::new(Code::Unavailable, "another node has taken the lock");
                return Err(DependencyFailure::Later(error));
            }
        }
        let gets = entries.iter().map(|(key, _)| Op::Get(Key::clone(key))).collect();
        let found = if entries.is_empty() { Vec::new() } else { self.core.try_read(gets).await? };
        let found = found.into_iter().map(|mut found| found.pop().map(|entry| entry.mod_revision));
        let overtaken: Vec<Key> = entries
            .iter()
            .zip(found)
            .filter(|((_, read), found)| *found != Some(*read))
            .map(|((key, _), _)| Key::clone(key))
            .collect();
        Ok(if overtaken.is_empty() { GroupOutcome::Not } else { GroupOutcome::Overtaken(overtaken) })
    }
}

/// How many of the first requests have few enough rules to be applied together. The providers that they replace are not known
/// yet.
fn window(requests: &[DependencyRequest]) -> usize {
    let mut rules = 0;
    let fitting = requests.iter().take_while(|request| {
        rules += 1 + request.dependency.providers.len();
        rules <= WINDOW
    });
    fitting.count().max(1)
}

/// The approximate number of bytes of a partner in a rule.
fn size(key: &ServiceKey) -> usize {
    let texts = [&key.tenant, &key.environment, &key.app_id, &key.service_name, &key.alias, &key.version];
    PARTNER_FRAME + texts.into_iter().map(String::len).sum::<usize>()
}

#[cfg(test)]
mod tests;
