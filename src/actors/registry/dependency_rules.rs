//! From dependency requests to the rules of consumers and providers, many requests a round: what is needed is read at once,
//! the requests are applied in memory in their order, and what they change is written in as few transactions as the store's
//! limits allow. Each transaction holds whole requests, and compares all that they looked at; of one that alone is too large
//! only what it writes is compared.
//!
//! It knows no queue and no lock: what has to hold, and what goes with a request, is given to it.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::core::RegistryCore;
use crate::clock::Monotonic;
use crate::domain::dependency::{
    ALL_VERSIONS, Dependency, Partners, merged_providers, same_name, same_partner,
};
use crate::domain::event::{Revision, ServiceName};
use crate::domain::json;
use crate::domain::{ServiceKey, Tenant};
use crate::error::{Code, Error};
use crate::store::{Compare, Entry, Key, Op, Txn, keys};

/// Operations of one transaction, and compares, below the store's limit of 128.
const MAX_OPS: usize = 120;
/// Bytes of one transaction, below the store's limit of 1.5 MiB; a single larger rule goes alone.
const MAX_BYTES: usize = 1_000_000;
/// Rules read at once: each may have a megabyte.
const READ_AT_ONCE: usize = 40;
/// Consumers and providers of the requests looked at together.
const WINDOW: usize = 400;
/// Bytes of rules that are remembered from one transaction to the next.
const MAX_KNOWN_BYTES: usize = 16 << 20;
/// A rough size of what surrounds the texts of a partner in JSON.
const PARTNER_FRAME: usize = 100;

/// A request, and what waits for it.
pub(super) struct Request {
    /// The request; without a consumer it changes nothing.
    pub dependency: Dependency,
    /// What is compared with and deleted in the transaction that applies it: the key it waits under. If that is another
    /// one by then, the request is passed over.
    pub entry: Option<Entry>,
}

/// A rule as stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Rule {
    /// Of the last write; `None` if there is none.
    revision: Option<Revision>,
    /// The partners in it.
    pub partners: Vec<ServiceKey>,
    bytes: usize,
}

impl Rule {
    /// That it is as it was read.
    fn compare(&self, key: &Key) -> Compare {
        let key = Key::clone(key);
        match self.revision {
            Some(mod_revision) => Compare::Unchanged { key, mod_revision },
            None => Compare::Absent(key),
        }
    }

    fn new(stored: Option<Entry>) -> Self {
        let Some(entry) = stored else { return Self::default() };
        // What cannot be read holds nobody; it is written anew.
        let partners = json::decode::<Partners>(&entry.value).unwrap_or_default().keys;
        Self { revision: Some(entry.mod_revision), partners, bytes: entry.value.len() }
    }

    /// The write that leaves these partners, with its compare; `None` if they are what is there.
    pub fn become_partners(&self, key: &Key, partners: &[ServiceKey]) -> Option<(Compare, Op)> {
        if self.partners == partners {
            return None;
        }
        let op = if partners.is_empty() {
            Op::Delete(Key::clone(key))
        } else {
            let value = Bytes::from(json::encode(&Partners { keys: partners.to_vec() }));
            Op::Put { key: Key::clone(key), value, lease: None }
        };
        Some((self.compare(key), op))
    }
}

pub(super) fn name_of(key: &ServiceKey) -> ServiceName {
    ServiceName::new(Tenant::from(key.tenant.as_str()), &key.environment, &key.app_id, &key.service_name)
}

fn consumer_key(consumer: &ServiceKey) -> Key {
    keys::consumer_rule(&name_of(consumer), &consumer.version)
}

fn provider_key(provider: &ServiceKey) -> Key {
    keys::provider_rule(&name_of(provider), ALL_VERSIONS)
}

/// Reads rules, in the order of their keys.
pub(super) async fn read_rules(core: &RegistryCore, rule_keys: &[Key]) -> Result<Vec<Rule>, Error> {
    let chunks = rule_keys.chunks(READ_AT_ONCE).map(|chunk| {
        let gets = chunk.iter().map(|key| Op::Get(Key::clone(key))).collect();
        core.read(gets)
    });
    let found = try_join_all(chunks).await?.into_iter().flatten();
    Ok(found.map(|mut entries| Rule::new(entries.pop())).collect())
}

/// Writes in as few transactions as the limits allow, each under the fences, `last` with the last one; `None` if a compare
/// failed, else the revision of each write, in order.
pub(super) async fn write(
    core: &RegistryCore,
    writes: Vec<(Compare, Op)>,
    fences: &[Compare],
    last: &[Op],
) -> Result<Option<Vec<Revision>>, Error> {
    let mut revisions = Vec::with_capacity(writes.len());
    let room = MAX_OPS.saturating_sub(fences.len().max(last.len()));
    let mut writes = writes.into_iter().peekable();
    let mut is_first = true;
    while writes.peek().is_some() || (is_first && !(fences.is_empty() && last.is_empty())) {
        is_first = false;
        let mut txn = Txn { compares: fences.to_vec(), ..Txn::default() };
        let mut bytes = 0;
        while let Some((_, op)) = writes.peek() {
            let size = if let Op::Put { key, value, .. } = op { key.len() + value.len() } else { 0 };
            if !txn.then.is_empty() && (txn.then.len() >= room || bytes + size > MAX_BYTES) {
                break;
            }
            bytes += size;
            let Some((compare, op)) = writes.next() else { break };
            txn.compares.push(compare);
            txn.then.push(op);
        }
        let count = txn.then.len();
        if writes.peek().is_none() {
            txn.then.extend_from_slice(last);
        }
        let outcome = core.commit(txn).await?;
        if !outcome.succeeded {
            return Ok(None);
        }
        // One where only what goes with the last was written; none where there are only compares.
        let count = count.max(usize::from(outcome.changed));
        revisions.extend(std::iter::repeat_n(outcome.revision, count));
    }
    Ok(Some(revisions))
}

/// Applies requests, and remembers the rules it has read and written.
pub(super) struct Rules<'a> {
    core: &'a RegistryCore,
    /// What must hold with every write.
    fence: Option<Compare>,
    known: HashMap<Key, Rule>,
    known_bytes: usize,
}

/// Requests applied in memory that fit into one transaction, or a single one.
#[derive(Default)]
struct Group {
    /// The partners of each rule they change, in the order of the first change.
    partners: HashMap<Key, Vec<ServiceKey>>,
    order: Vec<Key>,
    /// Rules they looked at, those included.
    touched: HashSet<Key>,
    bytes: usize,
    /// How many requests.
    requests: usize,
    /// Keys they waited under.
    entries: Vec<(Key, Revision)>,
}

/// What a request does to rules.
struct Edits {
    consumer: ServiceKey,
    own: Option<(Key, Vec<ServiceKey>)>,
    add_to: Vec<Key>,
    remove_from: Vec<Key>,
    /// All it looks at.
    touched: HashSet<Key>,
}

/// How a group fared.
enum Written {
    At(Option<Revision>),
    /// Others have written the same rules.
    Not,
    /// These no longer wait as they were read.
    Overtaken(Vec<Key>),
}

impl<'a> Rules<'a> {
    /// Over a store; `fence` is compared with each write.
    pub fn new(core: &'a RegistryCore, fence: Option<Compare>) -> Self {
        Self { core, fence, known: HashMap::new(), known_bytes: 0 }
    }

    /// Applies requests in their order, `last` with the last one. One outcome for each, in order: a revision at which it is
    /// done, or why it is not. There are fewer if the time is over, or if the store fails: then the last one says why. A
    /// request the store refuses as it is (its rules are too large) fails alone.
    pub async fn apply(
        &mut self,
        requests: &[Request],
        last: &[Op],
        until: Option<Monotonic>,
    ) -> Vec<Result<Option<Revision>, Error>> {
        let mut outcomes = Vec::with_capacity(requests.len());
        let mut overtaken = HashSet::new();
        let mut deadline = self.core.deadline();
        // How many are to be applied one by one, since together they were refused.
        let mut alone = 0_usize;
        while let Some(rest) = requests.get(outcomes.len()..).filter(|rest| !rest.is_empty()) {
            if until.is_some_and(|until| self.core.clock.monotonic() >= until) {
                break;
            }
            if let Err(error) = deadline.check() {
                outcomes.push(Err(error));
                break;
            }
            let most = if alone > 0 { 1 } else { rest.len() };
            let (group, written) = match self.apply_some(rest, most, last, &overtaken).await {
                Ok(done) => done,
                Err(error) => {
                    outcomes.push(Err(error));
                    break;
                }
            };
            match written {
                Ok(Written::At(revision)) => {
                    outcomes.extend(std::iter::repeat_n(Ok(revision), group));
                    alone = alone.saturating_sub(group);
                    deadline = self.core.deadline();
                }
                Ok(Written::Not) => self.forget(),
                Ok(Written::Overtaken(keys)) => overtaken.extend(keys),
                Err(error) if error.code == Code::Internal && group > 1 => alone = group,
                Err(error) if error.code == Code::Internal => {
                    self.forget();
                    outcomes.push(Err(error));
                    alone = alone.saturating_sub(1);
                }
                Err(error) => {
                    outcomes.push(Err(error));
                    break;
                }
            }
        }
        outcomes
    }

    /// Nothing that was read counts any more.
    pub fn forget(&mut self) {
        self.known.clear();
        self.known_bytes = 0;
    }

    /// Applies as many of the first as fit: how many, and what became of them.
    async fn apply_some(
        &mut self,
        rest: &[Request],
        most: usize,
        last: &[Op],
        overtaken: &HashSet<Key>,
    ) -> Result<(usize, Result<Written, Error>), Error> {
        let window = rest.get(..window(rest).min(most)).unwrap_or(rest);
        match self.learn(window).await {
            Err(error) if error.code == Code::Internal => return Ok((window.len(), Err(error))),
            learned => learned?,
        }
        let mut group = Group::default();
        for request in window {
            let entry = request.entry.as_ref();
            if entry.is_none_or(|entry| !overtaken.contains(&entry.key)) {
                let edits = request.dependency.consumer.as_ref();
                let edits = edits.map(|consumer| self.edits(&group, consumer, &request.dependency));
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

    /// Reads what these requests touch and is not known.
    async fn learn(&mut self, requests: &[Request]) -> Result<(), Error> {
        if self.known_bytes > MAX_KNOWN_BYTES {
            self.forget();
        }
        let consumers = || requests.iter().filter_map(|request| request.dependency.consumer.as_ref());
        self.read(consumers().map(consumer_key).collect()).await?;
        let mut providers: HashSet<Key> = HashSet::new();
        for request in requests.iter().filter(|request| request.dependency.consumer.is_some()) {
            providers.extend(request.dependency.providers.iter().map(provider_key));
        }
        for rule in consumers().filter_map(|consumer| self.known.get(&consumer_key(consumer))) {
            providers.extend(rule.partners.iter().map(provider_key));
        }
        self.read(providers).await
    }

    async fn read(&mut self, rule_keys: HashSet<Key>) -> Result<(), Error> {
        let missing: Vec<Key> = rule_keys.into_iter().filter(|key| !self.known.contains_key(key)).collect();
        let rules = read_rules(self.core, &missing).await?;
        for (key, rule) in missing.into_iter().zip(rules) {
            self.known_bytes += rule.bytes;
            self.known.insert(key, rule);
        }
        Ok(())
    }

    /// The partners of a rule after the group.
    fn partners<'b>(&'b self, group: &'b Group, key: &Key) -> &'b [ServiceKey] {
        let known = || self.known.get(key).map_or(&[][..], |rule| rule.partners.as_slice());
        group.partners.get(key).map_or_else(known, Vec::as_slice)
    }

    fn edits(&self, group: &Group, consumer: &ServiceKey, request: &Dependency) -> Edits {
        let own_key = consumer_key(consumer);
        let own = self.partners(group, &own_key);
        let wanted = merged_providers(own, &request.providers, request.replace);
        let is_in = |key: &Key| self.partners(group, key).iter().any(|known| same_partner(known, consumer));
        // One that goes on in another version stays: a provider has one rule for all of them.
        let gone = own.iter().filter(|old| !wanted.iter().any(|key| same_name(key, old)));
        let mut touched: HashSet<Key> = own.iter().chain(&wanted).map(provider_key).collect();
        touched.insert(Key::clone(&own_key));
        let remove_from = gone.map(provider_key).filter(&is_in).collect();
        let add_to = wanted.iter().map(provider_key).filter(|key| !is_in(key)).collect();
        let own = (own != wanted).then_some((own_key, wanted));
        Edits { consumer: consumer.clone(), own, add_to, remove_from, touched }
    }

    /// Adds a request to the group; `false` if it does not fit beside those in it.
    fn take(&self, group: &mut Group, edits: Option<Edits>, entry: Option<&Entry>, last: usize) -> bool {
        let touched = edits.iter().flat_map(|edits| &edits.touched);
        let fresh: Vec<&Key> = touched.filter(|key| !group.touched.contains(*key)).collect();
        let mut bytes = entry.map_or(0, |entry| entry.key.len());
        for key in &fresh {
            // As if each were written.
            bytes += 2 * key.len() + self.known.get(*key).map_or(0, |rule| rule.bytes);
        }
        if let Some(edits) = &edits {
            bytes += edits.own.iter().flat_map(|(_, wanted)| wanted).map(size).sum::<usize>();
            bytes += edits.add_to.len() * size(&edits.consumer);
        }
        // Beside them the fence.
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
        // After what it names: cut in between, it is applied again.
        if let Some((key, wanted)) = own {
            *self.staged(group, &key) = wanted;
        }
        true
    }

    fn staged<'b>(&self, group: &'b mut Group, key: &Key) -> &'b mut Vec<ServiceKey> {
        if !group.partners.contains_key(key) {
            group.order.push(Key::clone(key));
        }
        let known = || self.known.get(key).map(|rule| rule.partners.clone()).unwrap_or_default();
        group.partners.entry(Key::clone(key)).or_insert_with(known)
    }

    async fn write_group(&mut self, group: Group, last: &[Op]) -> Result<Written, Error> {
        let Group { mut partners, order, entries, touched, .. } = group;
        let unknown = Rule::default();
        let writes: Vec<(Key, (Compare, Op))> = order
            .into_iter()
            .filter_map(|key| {
                let rule = self.known.get(&key).unwrap_or(&unknown);
                let write = rule.become_partners(&key, partners.get(&key)?)?;
                Some((key, write))
            })
            .collect();
        let (changed, writes): (Vec<Key>, Vec<_>) = writes.into_iter().unzip();
        let mut fences: Vec<Compare> = self.fence.iter().cloned().collect();
        fences.extend(entries.iter().map(|(key, mod_revision)| Compare::Unchanged {
            key: Key::clone(key),
            mod_revision: *mod_revision,
        }));
        let unwritten = touched
            .iter()
            .filter(|key| !changed.contains(key))
            .map(|key| self.known.get(key).unwrap_or(&unknown).compare(key));
        if touched.len() + fences.len() <= MAX_OPS {
            fences.extend(unwritten);
        }
        if writes.is_empty() && entries.is_empty() && last.is_empty() && self.fence.is_none() {
            return Ok(Written::At(None));
        }
        let closing: Vec<Op> = entries.iter().map(|(key, _)| Op::Delete(Key::clone(key))).collect();
        let ends = [&closing, last].concat();
        let Some(revisions) = write(self.core, writes, &fences, &ends).await? else {
            return self.why_not(&entries).await;
        };
        for (key, revision) in changed.into_iter().zip(&revisions) {
            let partners = partners.remove(&key).unwrap_or_default();
            let bytes = partners.iter().map(size).sum();
            self.known_bytes += bytes;
            let revision = Some(*revision).filter(|_| !partners.is_empty());
            self.known.insert(key, Rule { revision, partners, bytes });
        }
        Ok(Written::At(revisions.into_iter().max()))
    }

    /// A compare failed: the fence, a key they waited under, or a rule.
    async fn why_not(&self, entries: &[(Key, Revision)]) -> Result<Written, Error> {
        if let Some(Compare::ValueIs { key, value }) = &self.fence {
            let held = self.core.read(vec![Op::Get(Key::clone(key))]).await?;
            if held.into_iter().flatten().next().is_none_or(|entry| entry.value != *value) {
                return Err(Error::new(Code::Unavailable, "another node has taken the lock"));
            }
        }
        let gets = entries.iter().map(|(key, _)| Op::Get(Key::clone(key))).collect();
        let found = if entries.is_empty() { Vec::new() } else { self.core.read(gets).await? };
        let found = found.into_iter().map(|mut found| found.pop().map(|entry| entry.mod_revision));
        let overtaken: Vec<Key> = entries
            .iter()
            .zip(found)
            .filter(|((_, read), found)| *found != Some(*read))
            .map(|((key, _), _)| Key::clone(key))
            .collect();
        Ok(if overtaken.is_empty() { Written::Not } else { Written::Overtaken(overtaken) })
    }
}

/// How many of the first are looked at together.
fn window(requests: &[Request]) -> usize {
    let mut rules = 0;
    let fitting = requests.iter().take_while(|request| {
        rules += 1 + request.dependency.providers.len();
        rules <= WINDOW
    });
    fitting.count().max(1)
}

/// About the bytes of a partner in a rule.
fn size(key: &ServiceKey) -> usize {
    let texts = [&key.tenant, &key.environment, &key.app_id, &key.service_name, &key.alias, &key.version];
    PARTNER_FRAME + texts.into_iter().map(String::len).sum::<usize>()
}

#[cfg(test)]
mod tests;
