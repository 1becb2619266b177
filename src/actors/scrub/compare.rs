//! Compares the snapshot with the store.
//!
//! 1. It reads all trees of the store, and adds up the hashes of the entries of each unit. The sums are those of the snapshot, unless
//!    something differs or has just changed.
//! 2. It looks at the units whose sums differ: it reads the unit at one revision, waits until the snapshot holds that revision, and
//!    compares entry by entry.
//! 3. What differs is looked at once more. Only what differs in both looks in the same way counts: an entry that has changed meanwhile
//!    differs in one look, or differently.

use std::collections::{BTreeMap, HashMap};

use futures_util::stream::StreamExt as _;

use super::messages::{Difference, DifferenceKind};
use super::pace::ScrubPace;
use super::shown::{self, Entries, EntryFacts};
use super::{ScrubCore, ScrubError};
use crate::cache::Snapshot;
use crate::cache::digest::{self, Unit};
use crate::domain::event::Revision;
use crate::store::codec::{self, Decoded};
use crate::store::keys;
use crate::store::{Entry, Key};

/// Units that have no service, and that may differ although the store has no entry of them.
const OF_ALL: [Unit; 4] = [Unit::Names, Unit::Rules, Unit::Tenants, Unit::Access];
/// After how many services of the snapshot the comparison rests.
const SERVICES_AT_ONCE: usize = 2_000;

/// What a comparison has found.
pub(super) struct Compared {
    /// The last revision at which the snapshot was compared.
    pub revision: Revision,
    /// How many entries of the store were read.
    pub entries: usize,
    /// In the order of their keys.
    pub differences: Vec<Difference>,
    /// The units to which they belong.
    pub units: Vec<Unit>,
}

/// An entry on both sides.
type Pair = (Option<EntryFacts>, Option<EntryFacts>);

pub(super) async fn compare(core: &ScrubCore, pace: &mut ScrubPace) -> Result<Compared, ScrubError> {
    let (sums, entries) = sums(core, pace).await?;
    let snapshot = core.current().await?;
    let mut compared =
        Compared { revision: snapshot.revision, entries, differences: Vec::new(), units: Vec::new() };
    let suspects = suspects(&snapshot, &sums, pace).await;
    drop((snapshot, sums));
    for unit in suspects {
        let (differences, revision) = examine(core, &unit, pace).await?;
        compared.revision = revision;
        if !differences.is_empty() {
            compared.differences.extend(differences);
            compared.units.push(unit);
        }
    }
    compared.differences.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(compared)
}

/// The sum of the hashes of each unit, and the number of entries. The trees are read one after another, so that a comparison that rests
/// keeps at most a few answers of the store in memory. Each tree is read at a revision of its own.
async fn sums(core: &ScrubCore, pace: &mut ScrubPace) -> Result<(HashMap<Unit, u64>, usize), ScrubError> {
    let mut sums: HashMap<Unit, u64> = HashMap::new();
    let mut entries = 0;
    for tree in keys::READ_MODEL {
        let mut pages = core.store.list(&[tree]);
        while let Some(page) = pages.next().await {
            let page = page?;
            entries += page.entries.len();
            for (unit, hash) in page.entries.iter().filter_map(hashed) {
                let sum = sums.entry(unit).or_default();
                *sum = sum.wrapping_add(hash);
            }
            pace.rest().await;
        }
    }
    Ok((sums, entries))
}

/// The unit and the hash of an entry. `None` for an entry that cannot be read, or does not count.
fn hashed(entry: &Entry) -> Option<(Unit, u64)> {
    match codec::decode_put(entry) {
        Decoded::Event(event) => digest::of_put(&event),
        _ => None,
    }
}

/// The units whose sums differ from those of the snapshot.
async fn suspects(snapshot: &Snapshot, sums: &HashMap<Unit, u64>, pace: &mut ScrubPace) -> Vec<Unit> {
    let mut suspects: Vec<Unit> = Vec::new();
    let differs = |unit: &Unit| sums.get(unit).copied().unwrap_or(0) != snapshot.digest_of(unit);
    suspects.extend(OF_ALL.into_iter().filter(differs));
    let mut looked_at = 0;
    for (tenant, view) in snapshot.tenants() {
        for (id, _) in view.nodes() {
            let unit = Unit::Service(tenant.clone(), id.clone());
            if differs(&unit) {
                suspects.push(unit);
            }
            looked_at += 1;
            if looked_at % SERVICES_AT_ONCE == 0 {
                pace.rest().await;
            }
        }
    }
    let is_unknown = |unit: &&Unit| match unit {
        Unit::Service(tenant, id) => {
            snapshot.tenant(tenant).is_none_or(|view| view.node(id.as_str()).is_none())
        }
        _ => false,
    };
    suspects.extend(sums.keys().filter(is_unknown).cloned());
    suspects
}

/// Looks at the entries of a unit. Returns what differs, and the revision of the snapshot.
pub(super) async fn examine(
    core: &ScrubCore,
    unit: &Unit,
    pace: &mut ScrubPace,
) -> Result<(Vec<Difference>, Revision), ScrubError> {
    let (first, snapshot) = look(core, unit, pace).await?;
    if first.is_empty() {
        return Ok((Vec::new(), snapshot.revision));
    }
    let (mut differing, snapshot) = look(core, unit, pace).await?;
    differing.retain(|key, pair| first.get(key) == Some(pair));
    let differences = differing.into_iter().map(|(key, pair)| difference(key, pair));
    Ok((differences.collect(), snapshot.revision))
}

async fn look(
    core: &ScrubCore,
    unit: &Unit,
    pace: &mut ScrubPace,
) -> Result<(BTreeMap<Key, Pair>, std::sync::Arc<Snapshot>), ScrubError> {
    let prefixes = prefixes(unit);
    let prefixes: Vec<&str> = prefixes.iter().map(|prefix| &**prefix).collect();
    let mut pages = core.store.list(&prefixes);
    let mut stored = Entries::new();
    while let Some(page) = pages.next().await {
        for entry in page?.entries {
            // The keys of other services may begin alike.
            if let Some((_, hash)) = hashed(&entry).filter(|(of, _)| of == unit) {
                stored.insert(entry.key, EntryFacts { hash, revision: Some(entry.mod_revision) });
            }
        }
        pace.rest().await;
    }
    let snapshot = core.current().await?;
    let differing = differing(shown::entries(&snapshot, unit), stored);
    pace.rest().await;
    Ok((differing, snapshot))
}

/// The keys whose entries differ.
fn differing(shown: Entries, stored: Entries) -> BTreeMap<Key, Pair> {
    let mut differing: BTreeMap<Key, Pair> = BTreeMap::new();
    for (key, facts) in shown {
        differing.entry(key).or_default().0 = Some(facts);
    }
    for (key, facts) in stored {
        differing.entry(key).or_default().1 = Some(facts);
    }
    differing.retain(|_, (shown, stored)| {
        let hash = |facts: &Option<EntryFacts>| facts.map(|facts| facts.hash);
        hash(shown) != hash(stored)
    });
    differing
}

fn prefixes(unit: &Unit) -> Vec<Key> {
    match unit {
        Unit::Service(tenant, id) => {
            let id = id.as_str();
            vec![
                keys::service(tenant, id),
                keys::tags(tenant, id),
                keys::schema_ref(tenant, id, ""),
                keys::schema_summary(tenant, id, ""),
                keys::instance(tenant, id, ""),
                keys::lease(tenant, id, ""),
                keys::properties_override(tenant, id, ""),
            ]
        }
        Unit::Names => vec![keys::INDEXES.into(), keys::ALIASES.into()],
        Unit::Rules => vec![keys::DEPENDENCY_RULES.into()],
        Unit::Tenants => vec![keys::DOMAINS.into(), keys::PROJECTS.into()],
        Unit::Access => vec![keys::ACCOUNTS.into(), keys::ROLES.into(), keys::ACCOUNT_LOCKS.into()],
    }
}

fn difference(key: Key, (shown, stored): Pair) -> Difference {
    let kind = match (shown, stored) {
        (Some(_), None) => DifferenceKind::OnlyHere,
        (None, _) => DifferenceKind::OnlyThere,
        (Some(_), Some(_)) => DifferenceKind::Different,
    };
    let revision = |facts: Option<EntryFacts>| facts.and_then(|facts| facts.revision);
    Difference { key, kind, here: revision(shown), there: revision(stored) }
}
