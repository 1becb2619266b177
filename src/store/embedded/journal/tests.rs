//! Journals on a disk in memory: damaged ends, full disks, room.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::super::faulty_disk::{DiskFault, FaultyDisk};
use super::*;

const ROOM: u64 = 64 << 10;

fn open(disk: &FaultyDisk) -> Journal {
    Journal::on(Box::new(disk.clone()), ROOM).unwrap()
}

fn read(journal: &mut Journal) -> (Vec<String>, usize) {
    let mut found = Vec::new();
    let damaged = journal.read(u64::MAX, |payload| found.push(String::from_utf8(payload.to_vec()).unwrap()));
    (found, damaged.unwrap())
}

fn texts(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("frame {number}")).collect()
}

fn append(journal: &mut Journal, numbers: std::ops::Range<usize>) {
    for text in texts(numbers) {
        journal.append(text.as_bytes()).unwrap();
    }
}

#[test]
fn each_process_goes_on_where_the_last_one_ended() {
    let disk = FaultyDisk::new();
    let mut written = 0;
    for process in 0..4 {
        let mut journal = open(&disk);
        assert_eq!(read(&mut journal), (texts(0..written), 0));
        // The second process writes nothing.
        if process != 1 {
            append(&mut journal, written..written + 3);
            written += 3;
        }
    }
    assert_eq!(read(&mut open(&disk)), (texts(0..9), 0));
}

/// The end of a segment is cut at each of its bytes. What is before the cut is read, and so is what comes after it in later segments.
#[test]
fn a_torn_end_loses_only_itself() {
    let disk = FaultyDisk::new();
    let mut journal = open(&disk);
    append(&mut journal, 0..3);
    journal.sync().unwrap();
    append(&mut journal, 3..5);
    for kept in 0..60 {
        let cut = disk.after_power_cut(kept);
        let mut journal = open(&cut);
        let (found, damaged) = read(&mut journal);
        let whole = kept / (super::super::format::FRAME_HEADER + "frame 3".len());
        assert_eq!(found, texts(0..3 + whole.min(2)), "{kept} bytes are kept");
        assert!(damaged <= 1);
        append(&mut journal, 7..8);
        let (after, _) = read(&mut open(&cut));
        assert_eq!(after, [found, texts(7..8)].concat(), "{kept} bytes are kept");
    }
}

#[test]
fn a_failing_disk_costs_frames_and_nothing_else() {
    for fault in [DiskFault::Writes, DiskFault::NoSpaceAfter(10), DiskFault::WritesAndTruncations] {
        let disk = FaultyDisk::new();
        let mut journal = open(&disk);
        append(&mut journal, 0..2);
        disk.fail(fault);
        journal.append(b"lost").unwrap_err();
        journal.append(b"lost, too").unwrap_err();
        disk.fail(DiskFault::None);
        append(&mut journal, 2..4);
        assert_eq!(read(&mut open(&disk)).0, texts(0..4), "{fault:?}");
    }
}

#[test]
fn the_oldest_segments_make_room() {
    let disk = FaultyDisk::new();
    let mut journal = open(&disk);
    for round in 0..40 {
        for number in 0..50 {
            journal.append(format!("{:100}", round * 50 + number).as_bytes()).unwrap();
            assert!(journal.bytes() <= ROOM + 200, "{} bytes", journal.bytes());
        }
        if round % 7 == 0 {
            journal = open(&disk);
        }
    }
    let (found, damaged) = read(&mut open(&disk));
    let numbers: Vec<usize> = found.iter().map(|text| text.trim().parse().unwrap()).collect();
    let first = *numbers.first().unwrap();
    assert_eq!((numbers, damaged), ((first..2000).collect(), 0));
    assert!((1400..1700).contains(&first), "{first}");
    let mut least = 0;
    open(&disk).read(ROOM / 4, |_| least += 1).unwrap();
    assert!((130..300).contains(&least), "only the newest segments are read: {least} frames");
}

#[test]
fn foreign_files_are_left_alone() {
    let disk = FaultyDisk::new();
    append(&mut open(&disk), 0..1);
    for name in ["events-00000000000000000002", "events-x", "other"] {
        disk.create(name).unwrap().write_all(b"something else").unwrap();
    }
    let mut journal = open(&disk);
    assert_eq!(read(&mut journal), (texts(0..1), 1));
    append(&mut journal, 1..2);
    assert_eq!(read(&mut open(&disk)), (texts(0..2), 1));
}

#[test]
fn many_starts_leave_few_files() {
    let disk = FaultyDisk::new();
    for number in 0..150 {
        append(&mut open(&disk), number..number + 1);
    }
    assert_eq!(disk.list().unwrap().len(), MAX_SEGMENTS);
    assert_eq!(read(&mut open(&disk)).0, texts(150 - MAX_SEGMENTS..150));
}

#[test]
fn a_disk_that_fails_for_long_gathers_no_files() {
    for fault in [DiskFault::Writes, DiskFault::Syncs, DiskFault::RenamesTo(PREFIX)] {
        let disk = FaultyDisk::new();
        let mut journal = open(&disk);
        disk.fail(fault);
        (0..10).for_each(|_| drop(journal.append(b"lost").unwrap_err()));
        let left = disk.list().unwrap();
        assert!(left.is_empty(), "{fault:?}: {left:?}");
        disk.fail(DiskFault::None);
        append(&mut journal, 0..2);
        assert_eq!(read(&mut open(&disk)), (texts(0..2), 0), "{fault:?}");
    }
}

#[test]
fn a_segment_that_somebody_else_has_removed_stops_nothing() {
    let disk = FaultyDisk::new();
    let mut journal = open(&disk);
    (0..200).for_each(|_| journal.append(&[0; 100]).unwrap());
    disk.remove(&segment(1)).unwrap();
    (0..1000).for_each(|_| journal.append(&[0; 100]).unwrap());
}

#[test]
fn segments_whose_names_may_be_lost_count() {
    let disk = FaultyDisk::new();
    let mut journal = open(&disk);
    disk.fail(DiskFault::FolderSyncs);
    (0..3 * MAX_SEGMENTS).for_each(|_| drop(journal.append(b"lost").unwrap_err()));
    assert_eq!(disk.list().unwrap().len(), MAX_SEGMENTS);
    disk.fail(DiskFault::None);
    append(&mut journal, 0..2);
    assert_eq!(read(&mut open(&disk)), (texts(0..2), 0));
}
