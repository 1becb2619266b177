//! What this node knows of the other nodes: their last summaries, when these came, and whether the digests agree. Reads no clock and
//! does no I/O: time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::messages::{Agreement, SeenNode};
use super::summary::NodeSummary;
use crate::clock::Monotonic;

/// A summary comes late by the time that the store and the network take, which is never negative. So the largest of the last offsets is
/// the best one: its summary took the least time.
const OFFSETS: usize = 12;
/// How many other nodes are remembered. A cluster has a handful.
const MOST: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct OtherNodes(BTreeMap<Arc<str>, OtherNode>);

#[derive(Debug)]
pub(super) struct OtherNode {
    pub summary: NodeSummary,
    came: Monotonic,
    /// Milliseconds by which its clock was ahead, for each of the last summaries.
    offsets: VecDeque<i64>,
    agreement: Agreement,
}

/// How a summary came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It was there already, and nobody knows since when.
    Listed,
    /// The watch brought it at once. The wall clock of this node said so many milliseconds since 1970.
    Watched { unix_millis: i64 },
}

impl OtherNodes {
    pub fn note(&mut self, process: Arc<str>, summary: NodeSummary, arrival: Arrival, now: Monotonic) {
        if self.0.len() >= MOST && !self.0.contains_key(&process) {
            return;
        }
        let (offsets, agreement) = match self.0.remove(&process) {
            Some(known) if known.summary.started == summary.started => (known.offsets, known.agreement),
            _ => (VecDeque::new(), Agreement::default()),
        };
        let mut node = OtherNode { came: now, offsets, agreement, summary };
        if let Arrival::Watched { unix_millis } = arrival {
            if node.offsets.len() >= OFFSETS {
                node.offsets.pop_front();
            }
            node.offsets.push_back(node.summary.time.saturating_sub(unix_millis));
        }
        self.0.insert(process, node);
    }

    pub fn remove(&mut self, process: &str) {
        self.0.remove(process);
    }

    /// Removes all nodes but these.
    pub fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.0.retain(|process, _| is_there(process));
    }

    pub fn summary(&self, process: &str) -> Option<&NodeSummary> {
        self.0.get(process).map(|node| &node.summary)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &OtherNode)> {
        self.0.iter()
    }

    /// Notes the outcome of a comparison. Returns what it was before.
    pub fn compared(&mut self, process: &str, agreement: Agreement) -> Option<Agreement> {
        let node = self.0.get_mut(process)?;
        Some(std::mem::replace(&mut node.agreement, agreement))
    }

    /// The nodes whose digest differs from that of this node.
    pub fn differing(&self) -> impl Iterator<Item = &NodeSummary> {
        let differing = self.0.values().filter(|node| node.agreement == Agreement::Differ);
        differing.map(|node| &node.summary)
    }
}

impl OtherNode {
    pub fn seen(&self, now: Monotonic) -> SeenNode {
        let offset = self.offsets.iter().max().map(|millis| seconds(*millis));
        SeenNode {
            age_seconds: now.saturating_sub(self.came).as_secs_f64(),
            clock_offset_seconds: offset,
            agreement: self.agreement,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "offsets are far below 2^52 ms")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Monotonic = Duration::from_secs(1000);

    fn summary(time: i64) -> NodeSummary {
        NodeSummary { node: "other".to_owned(), started: 5, time, ..NodeSummary::default() }
    }

    fn note(nodes: &mut OtherNodes, time: i64, arrival: Arrival) -> SeenNode {
        nodes.note("p".into(), summary(time), arrival, NOW);
        nodes.iter().next().unwrap().1.seen(NOW + Duration::from_millis(1500))
    }

    /// The store takes 40, 3 and 900 ms for the summaries of a node whose clock is 2 s ahead.
    #[test]
    fn the_offset_of_a_clock_is_that_of_the_quickest_summary() {
        let mut nodes = OtherNodes::default();
        let seen = note(&mut nodes, 12_000, Arrival::Listed);
        assert_eq!((seen.age_seconds, seen.clock_offset_seconds), (1.5, None), "nobody knows how old it is");
        let expected = [1.96, 1.997, 1.997];
        for (index, (delay, expected)) in [40, 3, 900].into_iter().zip(expected).enumerate() {
            let written = 20_000 + 10_000 * i64::try_from(index).unwrap();
            let seen = note(&mut nodes, written + 2_000, Arrival::Watched { unix_millis: written + delay });
            assert_eq!(seen.clock_offset_seconds, Some(expected));
        }
        // It is set to the time of this node: the former offsets count no longer once they are old.
        for _ in 0..OFFSETS {
            note(&mut nodes, 100_000, Arrival::Watched { unix_millis: 100_010 });
        }
        let seen = note(&mut nodes, 100_000, Arrival::Watched { unix_millis: 100_010 });
        assert_eq!(seen.clock_offset_seconds, Some(-0.01));
    }

    #[test]
    fn a_new_process_of_a_node_begins_anew() {
        let mut nodes = OtherNodes::default();
        note(&mut nodes, 1, Arrival::Watched { unix_millis: 0 });
        assert_eq!(nodes.compared("p", Agreement::Differ), Some(Agreement::Unknown));
        assert_eq!(note(&mut nodes, 2, Arrival::Watched { unix_millis: 0 }).agreement, Agreement::Differ);
        assert_eq!(nodes.differing().count(), 1);
        nodes.note("p".into(), NodeSummary { started: 6, ..summary(3) }, Arrival::Listed, NOW);
        assert_eq!(nodes.differing().count(), 0);
        nodes.keep(|_| false);
        assert_eq!(nodes.compared("p", Agreement::Agree), None);
    }
}
