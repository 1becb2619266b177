//! Counts who has learned of the change of an instance. Pure: no I/O, no clock.
//!
//! Each node makes a [`NodeReceipt`] of what it knows. The node that was asked joins the receipts of all nodes. A process that has
//! a watch on one node and asks another one counts once, by its [`ProcessKey`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use super::messages::{DrainReceipt, MOST_MISSING, MissingConsumer};
use super::records::{ProcessRecord, ReceiptRecord, joined, split};
use crate::actors::hub::messages::{SubscriptionId, WatchProgress};
use crate::actors::pollers::ProcessKey;
use crate::domain::event::Revision;
use crate::domain::{ServiceId, Tenant};

/// How many processes a receipt in the store names in each list. With more, the node counts them all, and names some.
const MOST_NAMED: usize = 2000;
/// How many keys a receipt in the store has in each list.
const MOST_KEYS: usize = 16_384;

/// A process of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub key: ProcessKey,
    pub tenant: Tenant,
    pub consumer: ServiceId,
    pub client: Option<IpAddr>,
    /// Unix time, milliseconds.
    pub last: Option<i64>,
}

/// What one node knows of a drain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeReceipt {
    /// 0: the node has not pushed the change yet.
    pub revision: Revision,
    /// The watches that were sent the change.
    pub told: Vec<ProcessKey>,
    /// The watches that were not.
    pub owed: Vec<Process>,
    /// How many they are; `owed` may hold fewer.
    pub owed_count: usize,
    /// The processes that asked before.
    pub polled: Vec<Process>,
    /// Further ones, of another node that has not named them all.
    pub polled_more: Vec<ProcessKey>,
    /// The processes that have asked since.
    pub asked: Vec<ProcessKey>,
}

/// The watches on this node that the change is for, as they were when it was pushed.
#[derive(Debug, Default)]
pub(super) struct WatchTally {
    /// `None` until the change is pushed.
    expected: Option<HashMap<SubscriptionId, (Process, bool)>>,
}

impl WatchTally {
    /// Takes in the state of the watches. `is_pushed`: the hub has pushed the change.
    pub fn take_in(&mut self, watches: Vec<WatchProgress>, is_pushed: bool) {
        if !is_pushed {
            return;
        }
        match &mut self.expected {
            None => {
                let first = watches.into_iter().map(|watch| (watch.id, (process(&watch), !watch.owes)));
                self.expected = Some(first.collect());
            }
            // A watch that began later lists the instances afterwards. One that has ended stays as it was.
            Some(expected) => {
                for watch in watches {
                    if let Some((known, is_told)) = expected.get_mut(&watch.id) {
                        *is_told |= !watch.owes;
                        known.last = watch.last;
                    }
                }
            }
        }
    }

    pub fn is_pushed(&self) -> bool {
        self.expected.is_some()
    }

    fn told_and_owed(&self) -> (Vec<ProcessKey>, Vec<Process>) {
        let (mut told, mut owed) = (Vec::new(), Vec::new());
        for (process, is_told) in self.expected.iter().flat_map(HashMap::values) {
            match is_told {
                true => told.push(process.key),
                false => owed.push(process.clone()),
            }
        }
        told.sort();
        owed.sort_by_key(|process| process.key);
        (told, owed)
    }

    /// The receipt of this node.
    pub fn receipt(&self, revision: Revision, polled: &[Process], asked: Vec<ProcessKey>) -> NodeReceipt {
        let (told, owed) = self.told_and_owed();
        let revision = if self.is_pushed() { revision } else { 0 };
        let (owed_count, mut asked) = (owed.len(), asked);
        asked.sort();
        let (polled, polled_more) = (polled.to_vec(), Vec::new());
        NodeReceipt { revision, told, owed, owed_count, polled, polled_more, asked }
    }
}

fn process(watch: &WatchProgress) -> Process {
    let (tenant, consumer, client) = (watch.tenant.clone(), watch.consumer.clone(), watch.client);
    let key = ProcessKey::new(tenant.as_str(), consumer.as_str(), client);
    Process { key, tenant, consumer, client, last: watch.last }
}

/// Joins the receipts of all nodes, by their names. `silent` are the nodes without a receipt.
pub(super) fn join(
    revision: Revision,
    receipts: &BTreeMap<String, NodeReceipt>,
    mut silent: Vec<String>,
) -> DrainReceipt {
    let late = receipts.iter().filter(|(_, receipt)| receipt.revision < revision || receipt.revision == 0);
    silent.extend(late.map(|(node, _)| node.clone()));
    silent.sort();
    let all = || receipts.values();
    let asked: HashSet<ProcessKey> = all().flat_map(|receipt| &receipt.asked).copied().collect();
    let told: HashSet<ProcessKey> = all().flat_map(|receipt| &receipt.told).copied().collect();
    let owed: HashSet<ProcessKey> =
        all().flat_map(|receipt| &receipt.owed).map(|process| process.key).collect();
    let mut of = all().map(|receipt| receipt.told.len() + receipt.owed_count).sum::<usize>();
    let mut seen = all().map(|receipt| receipt.told.len()).sum::<usize>();
    let mut missing = Vec::new();
    let mut counted = HashSet::new();
    for (node, receipt) in receipts {
        let (learned, owed): (Vec<_>, Vec<_>) =
            receipt.owed.iter().partition(|process| asked.contains(&process.key));
        seen += learned.len();
        missing.extend(owed.into_iter().map(|process| named(node, process)));
    }
    // A process with a watch is counted there.
    let is_counted = |key: &ProcessKey| told.contains(key) || owed.contains(key);
    for (node, receipt) in receipts {
        for process in receipt.polled.iter().filter(|process| !is_counted(&process.key)) {
            if !counted.insert(process.key) {
                continue;
            }
            of += 1;
            match asked.contains(&process.key) {
                true => seen += 1,
                false => missing.push(named(node, process)),
            }
        }
    }
    for key in all().flat_map(|receipt| &receipt.polled_more).filter(|key| !is_counted(key)) {
        if counted.insert(*key) {
            of += 1;
            seen += usize::from(asked.contains(key));
        }
    }
    missing.sort();
    missing.truncate(MOST_MISSING);
    DrainReceipt { revision, of, seen, missing, silent, nodes: Vec::new() }
}

fn named(node: &str, process: &Process) -> MissingConsumer {
    MissingConsumer {
        tenant: process.tenant.clone(),
        consumer: process.consumer.clone(),
        client: process.client,
        node: node.to_owned(),
        last: process.last,
    }
}

impl From<&NodeReceipt> for ReceiptRecord {
    fn from(receipt: &NodeReceipt) -> Self {
        let keys = |keys: &[ProcessKey]| joined(keys.iter().copied().take(MOST_KEYS));
        let asked: HashSet<&ProcessKey> = receipt.asked.iter().collect();
        let mut polled: Vec<&Process> = receipt.polled.iter().collect();
        // Those that have not asked again come first, because an answer may have to name them.
        polled.sort_by_key(|process| asked.contains(&process.key));
        let more = polled.split_off(polled.len().min(MOST_NAMED));
        Self {
            revision: receipt.revision,
            told: keys(&receipt.told),
            owed: i64::try_from(receipt.owed_count).unwrap_or(i64::MAX),
            waiting: receipt.owed.iter().take(MOST_NAMED).map(ProcessRecord::from).collect(),
            polled: polled.into_iter().map(ProcessRecord::from).collect(),
            polled_more: joined(more.into_iter().map(|process| process.key).take(MOST_KEYS)),
            asked: keys(&receipt.asked),
        }
    }
}

impl From<ReceiptRecord> for NodeReceipt {
    fn from(record: ReceiptRecord) -> Self {
        let processes = |all: Vec<ProcessRecord>| all.into_iter().filter_map(Process::read).collect();
        Self {
            revision: record.revision,
            told: split(&record.told).collect(),
            owed: processes(record.waiting),
            owed_count: usize::try_from(record.owed).unwrap_or_default(),
            polled: processes(record.polled),
            polled_more: split(&record.polled_more).collect(),
            asked: split(&record.asked).collect(),
        }
    }
}

impl From<&Process> for ProcessRecord {
    fn from(process: &Process) -> Self {
        Self {
            key: joined([process.key]),
            tenant: process.tenant.as_str().to_owned(),
            consumer: process.consumer.as_str().to_owned(),
            client: process.client.map(|client| client.to_string()).unwrap_or_default(),
            last: process.last.unwrap_or_default(),
        }
    }
}

impl Process {
    fn read(record: ProcessRecord) -> Option<Self> {
        Some(Self {
            key: split(&record.key).next()?,
            tenant: Tenant::from(record.tenant.as_str()),
            consumer: ServiceId::from(record.consumer),
            client: record.client.parse().ok(),
            last: (record.last != 0).then_some(record.last),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(number: u64) -> Process {
        let (tenant, client) = (Tenant::default_tenant(), "10.0.0.1".parse().ok());
        let consumer = ServiceId::from(format!("c{number}"));
        Process { key: ProcessKey(number), tenant, consumer, client, last: Some(5) }
    }

    fn keys(numbers: &[u64]) -> Vec<ProcessKey> {
        numbers.iter().copied().map(ProcessKey).collect()
    }

    fn receipt(told: &[u64], owed: &[u64], polled: &[u64], asked: &[u64]) -> NodeReceipt {
        let processes = |numbers: &[u64]| numbers.iter().copied().map(process).collect();
        NodeReceipt {
            revision: 9,
            told: keys(told),
            owed: processes(owed),
            owed_count: owed.len(),
            polled: processes(polled),
            polled_more: Vec::new(),
            asked: keys(asked),
        }
    }

    /// Joins the receipts of nodes n0, n1, … and compares how many have seen the change, of how many, and who is missing.
    fn check(receipts: &[NodeReceipt], expected: (usize, usize, &[&str])) {
        let named = receipts.iter().enumerate().map(|(at, receipt)| (format!("n{at}"), receipt.clone()));
        let joined = join(9, &named.collect(), Vec::new());
        let missing: Vec<String> =
            joined.missing.iter().map(|missing| format!("{}@{}", missing.consumer, missing.node)).collect();
        assert_eq!(
            (joined.seen, joined.of, missing),
            (expected.0, expected.1, expected.2.iter().map(|m| (*m).to_owned()).collect())
        );
    }

    #[test]
    fn each_process_counts_once() {
        check(&[], (0, 0, &[]));
        check(&[receipt(&[1, 2], &[3], &[], &[])], (2, 3, &["c3@n0"]));
        // Two processes behind one address have a watch each.
        check(&[receipt(&[1, 1], &[], &[], &[])], (2, 2, &[]));
        // It polls one node, and watches another one.
        check(&[receipt(&[1], &[], &[], &[]), receipt(&[], &[], &[1], &[])], (1, 1, &[]));
        check(&[receipt(&[], &[1], &[], &[]), receipt(&[], &[], &[1], &[])], (0, 1, &["c1@n0"]));
        // It polled two nodes, and asked one of them.
        check(&[receipt(&[], &[], &[4, 5], &[]), receipt(&[], &[], &[4], &[4])], (1, 2, &["c5@n0"]));
        // It is owed a change, but has asked.
        check(&[receipt(&[], &[1], &[], &[]), receipt(&[], &[], &[], &[1])], (1, 1, &[]));
        // A new consumer that asks is none of those that knew the instance.
        check(&[receipt(&[], &[], &[], &[7])], (0, 0, &[]));
    }

    #[test]
    fn a_node_that_has_not_pushed_the_change_is_silent() {
        let behind = NodeReceipt { revision: 0, ..receipt(&[], &[], &[], &[]) };
        let receipts = [("a".to_owned(), receipt(&[1], &[], &[], &[])), ("b".to_owned(), behind)];
        let joined = join(9, &receipts.into(), vec!["c".to_owned()]);
        assert_eq!(joined.silent, ["b", "c"]);
        assert!(!joined.is_complete());
        let receipts = [("a".to_owned(), receipt(&[1], &[], &[], &[]))];
        assert!(join(9, &receipts.into(), Vec::new()).is_complete());
    }

    #[test]
    fn a_receipt_is_read_as_it_was_written() {
        let receipt = receipt(&[1, 2], &[3], &[4, 5], &[6]);
        assert_eq!(NodeReceipt::from(ReceiptRecord::from(&receipt)), receipt);
        let many: Vec<u64> = (0..20_000).collect();
        let large = ReceiptRecord::from(&self::receipt(&many, &many, &many, &many));
        let size = crate::domain::json::encode(&large).len();
        assert!(size < 1_400_000, "etcd takes 1.5 MiB: {size}");
    }

    #[test]
    fn processes_that_are_not_named_count() {
        let polled: Vec<u64> = (0..3000).collect();
        let written = |asked: &[u64]| ReceiptRecord::from(&receipt(&[], &[], &polled, asked));
        let joined = |record| join(9, &[("n".to_owned(), NodeReceipt::from(record))].into(), Vec::new());
        let (last, all) = (joined(written(&polled[..2999])), joined(written(&polled)));
        assert_eq!((last.seen, last.of, last.missing.len()), (2999, 3000, 1), "the last is named");
        assert_eq!((all.seen, all.of, all.is_complete()), (3000, 3000, true));
        let none = joined(written(&[]));
        assert_eq!((none.seen, none.of), (0, 3000));
    }

    fn watch(id: SubscriptionId, owes: bool) -> WatchProgress {
        let (tenant, consumer) = (Tenant::default_tenant(), ServiceId::from("c"));
        WatchProgress { id, tenant, consumer, client: None, owes, last: None }
    }

    #[test]
    fn watches_count_as_they_were_when_the_change_was_pushed() {
        let [a, b, later] = [(); 3].map(|()| SubscriptionId::next());
        let counts = |tally: &WatchTally| {
            let receipt = tally.receipt(9, &[], Vec::new());
            (receipt.revision, receipt.told.len(), receipt.owed.len())
        };
        let mut tally = WatchTally::default();
        tally.take_in(vec![watch(a, false)], false);
        assert_eq!(counts(&tally), (0, 0, 0), "nothing is pushed yet");
        tally.take_in(vec![watch(a, true), watch(b, true)], true);
        assert_eq!(counts(&tally), (9, 0, 2));
        tally.take_in(vec![watch(a, false), watch(b, true), watch(later, true)], true);
        assert_eq!(counts(&tally), (9, 1, 1));
        tally.take_in(vec![watch(a, true)], true);
        assert_eq!(counts(&tally), (9, 1, 1), "a later change is owed; b has ended before it was told");
    }
}
