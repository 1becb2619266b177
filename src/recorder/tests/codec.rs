//! What is written is read again, and bytes that are cut or changed do no harm.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::codec::{StoredRecord, decode, encode_event, encode_revision, encode_told};
use super::super::delivery::Told;
use super::*;

fn text_of(record: &StoredRecord) -> String {
    match record {
        StoredRecord::Event(seq, parts) => format!("{seq} {parts:?}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn records_are_read_as_they_were_written() {
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    for (number, kind) in EventKind::ALL.iter().enumerate() {
        let mut parts = any_parts(*kind, 1000 - i64::try_from(number).unwrap(), number * 37);
        if number % 6 == 5 {
            parts.cause = Cause::Rule { rule: "share".into(), until: -1 };
        }
        let seq = 1 << number;
        encode_event(&mut bytes, &Event::new(seq, parts.clone()));
        expected.push(text_of(&StoredRecord::Event(seq, parts)));
    }
    let told = Told {
        consumers: 300,
        sent: 200,
        waiting: 1,
        replaced: 9,
        lost: 90,
        first_sent: Some(7),
        last_sent: None,
    };
    encode_told(&mut bytes, 5, &told);
    expected.push(text_of(&StoredRecord::Told(5, told)));
    encode_revision(&mut bytes, 99);
    expected.push(text_of(&StoredRecord::Revision(99)));
    let found: Vec<String> = decode(&bytes).map(|record| text_of(&record.unwrap())).collect();
    assert_eq!(found, expected);
}

#[test]
fn damaged_bytes_are_no_records() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut bytes = Vec::new();
    for number in 0..20 {
        let kind = EventKind::ALL[number % EventKind::ALL.len()];
        encode_event(&mut bytes, &Event::new(number as u64, any_parts(kind, 1, number)));
    }
    for _ in 0..2000 {
        let mut damaged = bytes[..rng.random_range(0..bytes.len())].to_vec();
        for _ in 0..rng.random_range(0..3) {
            let place = rng.random_range(0..=damaged.len());
            if let Some(byte) = damaged.get_mut(place) {
                *byte = rng.random();
            }
        }
        // A record that cannot be read is the last one.
        let records: Vec<bool> = decode(&damaged).map(|record| record.is_some()).collect();
        assert!(records.iter().rev().skip(1).all(|is_read| *is_read));
    }
}
