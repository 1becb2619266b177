//! Decides up to which revision the history may go. Reads no clock and does no I/O: time is an argument.
//!
//! All nodes share one record in the store. It says which revision was current at which time, so it survives the end of the
//! node that wrote it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::json_object;
use crate::store::Revision;

/// How many samples are taken within the retention.
pub(super) const SAMPLES: u32 = 10;
/// How many samples a record keeps at most. There are more than [`SAMPLES`] only if nodes have different retentions.
const MAX_SAMPLES: usize = 100;
/// How long a node whose watch does not go on may hold the compaction back: this many retentions, but not less than
/// [`PATIENCE`].
const RETENTIONS_HELD: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// A record whose last sample is further away than the retention and this was written by a clock that is wrong, or long ago.
const LONGEST_GAP: Duration = Duration::from_secs(60);

json_object! {
    /// What the nodes of a cluster know together about the history of their store.
    pub struct CompactionRecord {
        /// Which revision was current at which time. The oldest comes first.
        "samples" => samples: Vec<RevisionSample>,
        /// Since when a node has been behind the revision up to which the history could go, by the id of its mark. In
        /// milliseconds since 1970.
        "behind" => behind: BTreeMap<String, i64>,
    }
}

json_object! {
    /// A revision, and a time at which it was current.
    pub struct RevisionSample {
        /// Milliseconds since 1970.
        "at" => at: i64,
        /// The revision.
        "revision" => revision: i64,
    }
}

json_object! {
    /// How far the watch of a node is.
    pub struct WatchMark {
        /// The host and the process.
        "node" => node: String,
        /// The node needs no history up to this revision. It shows all of that, or lists a later revision for the first time.
        "revision" => revision: i64,
    }
}

/// What one node does for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CompactionPlan {
    /// Replaces the record.
    pub record: CompactionRecord,
    /// The history up to this revision may go. `None`: nothing may go.
    pub up_to: Option<Revision>,
    /// The nodes that hold the compaction back, and those that have done so for too long.
    pub behind: Vec<BehindNode>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BehindNode {
    pub mark: WatchMark,
    pub patience: CompactionPatience,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CompactionPatience {
    /// The compaction waits for the node.
    Waits,
    /// The compaction goes on without the node.
    Over,
}

/// What to do at a time with a record, at the store's `current` revision. `None`: a node has done it a short time ago.
///
/// The history of the last `retention` stays, and so does everything that the watch of a node in `marks` has not brought yet.
///
/// If the last sample is too far ahead, a wrong clock wrote it, and its node may not come back: this node goes on with the record. If
/// it is too long ago, the clock may have jumped, so the patience with the nodes that are behind begins anew.
pub(super) fn plan(
    record: CompactionRecord,
    marks: &BTreeMap<String, WatchMark>,
    (now, current): (i64, Revision),
    retention: Duration,
) -> Option<CompactionPlan> {
    let CompactionRecord { mut samples, behind: mut former } = record;
    // A store that was set back has later revisions in front of it again.
    samples.retain(|sample| sample.revision <= current);
    let since_last = samples.last().map_or(i64::MAX, |last| now.saturating_sub(last.at));
    let longest_gap = millis(retention.max(LONGEST_GAP));
    if (-longest_gap..millis(retention / SAMPLES)).contains(&since_last) {
        return None;
    }
    if since_last > longest_gap {
        former.clear();
    }
    // The clock of another node may be ahead.
    samples.iter_mut().for_each(|sample| sample.at = sample.at.min(now));
    samples.push(RevisionSample { at: now, revision: current });
    let kept_since = now.saturating_sub(millis(retention));
    let old = samples.iter().rposition(|sample| sample.at <= kept_since);
    let wanted = old.and_then(|at| samples.get(at)).map(|sample| sample.revision);
    samples.drain(..old.unwrap_or(0).max(samples.len().saturating_sub(MAX_SAMPLES)));
    let patience = millis((retention * RETENTIONS_HELD).max(PATIENCE));
    let (mut up_to, mut nodes, mut behind) = (wanted, Vec::new(), BTreeMap::new());
    for (id, mark) in marks.iter().filter(|(_, mark)| wanted.is_some_and(|wanted| mark.revision < wanted)) {
        let since = former.get(id).map_or(now, |since| *since.min(&now));
        let is_over = now.saturating_sub(since) >= patience;
        if !is_over {
            up_to = up_to.map(|up_to| up_to.min(mark.revision));
        }
        behind.insert(id.clone(), since);
        // A node that starts is behind for a moment.
        if since < now {
            let patience = if is_over { CompactionPatience::Over } else { CompactionPatience::Waits };
            nodes.push(BehindNode { mark: mark.clone(), patience });
        }
    }
    let up_to = up_to.filter(|up_to| *up_to > 0);
    Some(CompactionPlan { record: CompactionRecord { samples, behind }, up_to, behind: nodes })
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: i64 = 60_000;
    /// Any time.
    const START: i64 = 1_700_000_000_000;

    fn marks(marks: &[(&str, Revision)]) -> BTreeMap<String, WatchMark> {
        let mark = |node: &str, revision| WatchMark { node: node.to_owned(), revision };
        marks.iter().map(|(id, revision)| ((*id).to_owned(), mark(id, *revision))).collect()
    }

    /// A record with a sample each six minutes: the revision grows by one each minute, from 1,000 at the start.
    fn after(minutes: i64) -> CompactionRecord {
        let mut record = CompactionRecord::default();
        for minute in (0..=minutes).step_by(6) {
            let next = plan(record, &marks(&[]), (START + minute * MINUTE, 1_000 + minute), HOUR);
            record = next.unwrap().record;
        }
        record
    }

    /// The revision up to which the history goes after so many minutes, with these marks.
    fn check(minutes: i64, nodes: &[(&str, Revision)], expected: Option<Revision>) {
        let now = minutes + 6;
        let next = plan(after(minutes), &marks(nodes), (START + now * MINUTE, 1_000 + now), HOUR).unwrap();
        assert_eq!(next.up_to, expected, "after {now} minutes, {nodes:?}");
    }

    #[test]
    fn the_history_of_the_retention_stays() {
        check(0, &[], None);
        check(48, &[], None);
        check(54, &[], Some(1_000));
        check(60, &[], Some(1_006));
        check(600, &[], Some(1_546));
    }

    #[test]
    fn no_living_watch_is_overtaken() {
        check(600, &[("a", 1_600), ("b", 1_605)], Some(1_546));
        check(600, &[("a", 1_546)], Some(1_546));
        check(600, &[("a", 1_600), ("b", 1_545)], Some(1_545));
        check(600, &[("a", 0), ("b", 1_600)], None);
    }

    #[test]
    fn a_record_stays_small() {
        let record = after(6_000);
        assert_eq!(record.samples.len(), 11);
        assert_eq!(record.samples.first().unwrap().revision, 6_940);
    }

    #[test]
    fn one_node_does_it_for_all() {
        let record = after(60);
        let at = |minutes: i64| plan(record.clone(), &marks(&[]), (START + minutes * MINUTE, 2_000), HOUR);
        assert_eq!(at(60), None);
        assert_eq!(at(65), None);
        assert!(at(66).is_some());
    }

    #[test]
    fn a_node_is_waited_for_until_patience_ends() {
        let (mut record, nodes) = (after(600), marks(&[("hangs", 1_200), ("b", 9_000)]));
        let mut steps = Vec::new();
        for step in 1..=42_i64 {
            let now = (START + (600 + 6 * step) * MINUTE, 1_600 + 6 * step);
            let next = plan(record, &nodes, now, HOUR).unwrap();
            record = next.record;
            let hangs = next.behind.iter().map(|node| node.patience).collect::<Vec<_>>();
            steps.push((next.up_to, hangs));
        }
        use CompactionPatience::{Over, Waits};
        assert_eq!(steps[0], (Some(1_200), vec![]), "it may go on at once");
        assert_eq!(steps[1], (Some(1_200), vec![Waits]));
        assert_eq!(
            steps[39],
            (Some(1_200), vec![Waits]),
            "four hours after the first step, less six minutes"
        );
        assert_eq!(steps[40], (Some(1_786), vec![Over]));
        // It goes on.
        let now = (START + 900 * MINUTE, 1_900);
        let next = plan(record, &marks(&[("hangs", 1_899)]), now, HOUR).unwrap();
        assert!(next.behind.is_empty() && next.record.behind.is_empty(), "{next:?}");
    }

    /// The clock of the node that compacts is set forward while another node is behind.
    #[test]
    fn a_clock_that_jumps_ends_no_patience() {
        let nodes = marks(&[("slow", 1_200)]);
        let first = plan(after(600), &nodes, (START + 606 * MINUTE, 1_606), HOUR).unwrap();
        let jumped = plan(first.record, &nodes, (START + 6_000 * MINUTE, 1_612), HOUR).unwrap();
        assert_eq!(jumped.up_to, Some(1_200));
        let mut record = jumped.record;
        for step in 1..=40_i64 {
            let now = (START + (6_000 + 6 * step) * MINUTE, 1_612 + step);
            let next = plan(record, &nodes, now, HOUR).unwrap();
            assert_eq!(next.up_to == Some(1_200), step < 40, "step {step}");
            record = next.record;
        }
    }

    #[test]
    fn a_short_retention_has_patience_too() {
        let retention = Duration::from_secs(1);
        let (mut record, nodes) = (CompactionRecord::default(), marks(&[("slow", 5)]));
        for step in 0..600 {
            let next = plan(record, &nodes, (START + step * 1_000, 10 + step), retention).unwrap();
            assert_eq!(next.up_to, (step > 0).then_some(5), "second {step}");
            record = next.record;
        }
    }

    #[test]
    fn clocks_and_revisions_may_go_back() {
        // The clock of the node that wrote the record was ahead: its samples count from now on.
        let ahead = after(60);
        let now = (START - 600 * MINUTE, 2_000);
        let next = plan(ahead.clone(), &marks(&[]), now, HOUR).unwrap();
        assert_eq!((next.up_to, next.record.samples.last().unwrap().at), (None, now.0));
        let later = |minutes: i64| (now.0 + minutes * MINUTE, 3_000);
        assert_eq!(plan(next.record.clone(), &marks(&[]), later(5), HOUR), None);
        assert_eq!(plan(next.record, &marks(&[]), later(60), HOUR).unwrap().up_to, Some(2_000));
        let slightly = (START + 30 * MINUTE, 2_000);
        assert_eq!(plan(ahead.clone(), &marks(&[]), slightly, HOUR), None, "clocks of nodes differ");
        // A backup of etcd was restored.
        let restored = plan(ahead, &marks(&[]), (START + 120 * MINUTE, 1_030), HOUR).unwrap();
        assert_eq!(restored.record.samples.last().unwrap().revision, 1_030);
        assert_eq!(
            restored.up_to,
            Some(1_030),
            "of the last sample that exists: half an hour after the start"
        );
    }
}
