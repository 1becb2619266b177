//! The format of the files: headers, frames with checksums, and the two kinds of payload (groups of the log, blocks of a
//! snapshot). Pure: bytes in, bytes out. Numbers are little-endian; counts and lengths are LEB128.
//!
//! ```text
//! file     header frame*
//! header   magic[8] format:u32 store id[16] number:u64 crc32:u32
//! frame    length:u32 crc32:u32 number:u64 payload[length]
//! ```
//! A frame's checksum covers the file's magic, the store's id, the number and the payload. So a frame of another store,
//! another kind of file or another place is not accepted.

use std::num::NonZeroI64;
use std::sync::Arc;

use super::super::port::{LeaseId, Revision};
use super::item::{Item, ItemValue};
use super::key::{Folders, KeyReader, KeyText};
use super::keyspace::{KeyspaceStep, ReadBlock, ReadGroup, ReadStep};
use crate::packed::{Fields, put_bytes, put_number};

/// The format this version writes and reads.
pub(super) const FORMAT: u32 = 1;

pub(super) const HEADER: usize = 40;
pub(super) const FRAME_HEADER: usize = 16;

/// Random, chosen when the store is created. Every file of the store has it.
pub(super) type StoreId = [u8; 16];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// Only a header with the store's id.
    Identity,
    /// A segment of the log. Its number is the number of its first group.
    Log,
    /// Its number is the number of the last group it holds.
    Snapshot,
    /// A segment of a journal. Its number is the number of its first frame.
    Events,
}

impl FileKind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Identity => b"scstore\n",
            Self::Log => b"sclog\r\n\x1a",
            Self::Snapshot => b"scsnap\n\x1a",
            Self::Events => b"scevts\n\x1a",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub store: StoreId,
    pub number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// Damaged, or of another kind of file.
    Damaged,
    /// Written in another format.
    Format(u32),
}

pub(super) fn header(kind: FileKind, header: FileHeader) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER);
    bytes.extend_from_slice(kind.magic());
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&header.store);
    bytes.extend_from_slice(&header.number.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

pub(super) fn read_header(kind: FileKind, bytes: &[u8]) -> Result<FileHeader, BadHeader> {
    let mut reader = Fields(bytes);
    if reader.take(8) != Some(kind.magic()) {
        return Err(BadHeader::Damaged);
    }
    // Checked before the checksum, because the header of another format may have another length.
    match reader.array().map(u32::from_le_bytes) {
        Some(FORMAT) => {}
        Some(format) => return Err(BadHeader::Format(format)),
        None => return Err(BadHeader::Damaged),
    }
    let read =
        (reader.array(), reader.array().map(u64::from_le_bytes), reader.array().map(u32::from_le_bytes));
    match (read, bytes.get(..HEADER - 4)) {
        ((Some(store), Some(number), Some(checksum)), Some(covered))
            if crc32fast::hash(covered) == checksum =>
        {
            Ok(FileHeader { store, number })
        }
        _ => Err(BadHeader::Damaged),
    }
}

/// Makes and checks the checksums of a file's frames.
#[derive(Clone, Debug)]
pub(super) struct Seal(crc32fast::Hasher);

impl Seal {
    pub(super) fn new(kind: FileKind, store: StoreId) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(kind.magic());
        hasher.update(&store);
        Self(hasher)
    }

    fn checksum(&self, number: u64, payload: &[u8]) -> u32 {
        let mut hasher = self.0.clone();
        hasher.update(&number.to_le_bytes());
        hasher.update(payload);
        hasher.finalize()
    }

    /// Clears the buffer and starts a frame. The caller appends the payload.
    pub(super) fn start(frame: &mut Vec<u8>) {
        frame.clear();
        frame.resize(FRAME_HEADER, 0);
    }

    /// Fills in the header of a frame. `None`: the payload is over 4 GiB.
    pub(super) fn finish(&self, frame: &mut [u8], number: u64) -> Option<()> {
        let (header, payload) = frame.split_at_mut_checked(FRAME_HEADER)?;
        let length = u32::try_from(payload.len()).ok()?;
        let checksum = self.checksum(number, payload);
        let fields = [&length.to_le_bytes()[..], &checksum.to_le_bytes(), &number.to_le_bytes()];
        header.copy_from_slice(&fields.concat());
        Some(())
    }

    /// The length of the frame that starts here, if it is whole and its number is between `number` and `number + above`.
    pub(super) fn check(&self, bytes: &[u8], number: u64, above: u64) -> Option<usize> {
        let mut reader = Fields(bytes);
        let length = u32::from_le_bytes(reader.array()?);
        let checksum = u32::from_le_bytes(reader.array()?);
        let found = u64::from_le_bytes(reader.array()?);
        if !(number..=number.saturating_add(above)).contains(&found) {
            return None;
        }
        let length = usize::try_from(length).ok()?;
        let payload = reader.take(length)?;
        (self.checksum(found, payload) == checksum).then_some(FRAME_HEADER + length)
    }
}

// A group has the revision before it, then records. Each record starts with one of these bytes.
const NEXT_REVISION: u8 = 1;
const PUT: u8 = 2;
const PUT_LEASED: u8 = 3;
const DELETE: u8 = 4;

/// Appends the changes of keys. The end of a lease needs no record: the deletions of its keys have theirs, and a lease without
/// keys does not outlive the process.
pub(super) fn encode_group(
    out: &mut Vec<u8>,
    revision_before: Revision,
    steps: &[KeyspaceStep],
    ttl: impl Fn(LeaseId) -> i64,
) {
    out.extend_from_slice(&revision_before.to_le_bytes());
    let mut current = revision_before;
    for step in steps {
        let KeyspaceStep::Key { revision, before, after } = step else { continue };
        while current < *revision {
            current += 1;
            out.push(NEXT_REVISION);
        }
        match (after, before) {
            (Some(item), _) => {
                out.push(if item.lease().is_some() { PUT_LEASED } else { PUT });
                put_key(out, &item.key);
                put_value(out, &item.value);
                if let Some(lease) = item.lease_id() {
                    out.extend_from_slice(&lease.0.to_le_bytes());
                    put_number(out, ttl(lease).unsigned_abs());
                }
            }
            (None, Some(item)) => {
                out.push(DELETE);
                put_key(out, &item.key);
            }
            (None, None) => {}
        }
    }
}

/// Reads a group. The error says what was expected; it means that a group with a valid checksum is wrong.
pub(super) fn read_group(payload: &[u8], folders: &Folders) -> Result<ReadGroup, &'static str> {
    let (mut reader, mut keys) = (Fields(payload), KeyReader::new(folders));
    let revision_before = reader.signed().ok_or("a revision")?;
    let (mut revision, mut steps) = (revision_before, Vec::new());
    while let Some(tag) = reader.byte() {
        match tag {
            NEXT_REVISION => revision += 1,
            PUT | PUT_LEASED => {
                let key = keys.key(reader.text().ok_or("a key")?);
                let value = ItemValue::new(reader.bytes().ok_or("a value")?, &key);
                let (lease, ttl_seconds) = match tag {
                    PUT_LEASED => reader.lease().ok_or("a lease")?,
                    _ => (LeaseId(0), 0),
                };
                let item = Item::new(key, value, NonZeroI64::new(lease.0), (revision, revision, 1));
                steps.push(ReadStep::Put { item: Arc::new(item), ttl_seconds });
            }
            DELETE => steps.push(ReadStep::Delete(keys.key(reader.text().ok_or("a key")?))),
            _ => return Err("a known kind of record"),
        }
    }
    Ok(ReadGroup { revision_before, steps, revision })
}

// A block of a snapshot has one of these bytes, then its contents.
const LEASES: u8 = 1;
const ITEMS: u8 = 2;
const END: u8 = 3;

pub(super) fn encode_leases(out: &mut Vec<u8>, leases: &[(LeaseId, i64)]) {
    out.push(LEASES);
    for (lease, ttl_seconds) in leases {
        out.extend_from_slice(&lease.0.to_le_bytes());
        put_number(out, ttl_seconds.unsigned_abs());
    }
}

/// Appends items to a block. A key is stored as the number of bytes it shares with the key before it, and the rest.
#[derive(Debug)]
pub(super) struct ItemsEncoder {
    key: Vec<u8>,
    previous: Vec<u8>,
}

impl ItemsEncoder {
    pub(super) fn start(out: &mut Vec<u8>) -> Self {
        out.push(ITEMS);
        Self { key: Vec::new(), previous: Vec::new() }
    }

    pub(super) fn push(&mut self, out: &mut Vec<u8>, item: &Item) {
        self.key.clear();
        item.key.append_to(&mut self.key);
        let shared = self.key.iter().zip(&self.previous).take_while(|(one, other)| one == other).count();
        put_number(out, shared as u64);
        put_bytes(out, self.key.get(shared..).unwrap_or_default());
        put_value(out, &item.value);
        out.extend_from_slice(&item.lease().map_or(0, NonZeroI64::get).to_le_bytes());
        put_number(out, item.create_revision().unsigned_abs());
        put_number(out, item.mod_revision().unsigned_abs());
        put_number(out, item.version().unsigned_abs());
        std::mem::swap(&mut self.key, &mut self.previous);
    }
}

/// Appends the last block of a snapshot.
pub(super) fn encode_end(out: &mut Vec<u8>, revision: Revision, items: usize) {
    out.push(END);
    out.extend_from_slice(&revision.to_le_bytes());
    put_number(out, items as u64);
}

/// Reads a block. The error says what was expected.
pub(super) fn read_block(payload: &[u8], folders: &Folders) -> Result<ReadBlock, &'static str> {
    let mut reader = Fields(payload);
    match reader.byte() {
        Some(LEASES) => {
            let mut leases = Vec::new();
            while !reader.0.is_empty() {
                leases.push(reader.lease().ok_or("a lease")?);
            }
            Ok(ReadBlock::Leases(leases))
        }
        Some(ITEMS) => read_items(reader, folders).map(ReadBlock::Items).ok_or("an item"),
        Some(END) => {
            let revision = reader.signed().ok_or("a revision")?;
            let items = reader.number().ok_or("a number of keys")?;
            Ok(ReadBlock::End { revision, items })
        }
        _ => Err("a known kind of block"),
    }
}

fn read_items(mut reader: Fields<'_>, folders: &Folders) -> Option<Vec<Arc<Item>>> {
    let (mut key, mut keys, mut items) = (Vec::new(), KeyReader::new(folders), Vec::new());
    while !reader.0.is_empty() {
        let shared = reader.size()?;
        let rest = reader.bytes()?;
        if shared > key.len() {
            return None;
        }
        key.truncate(shared);
        key.extend_from_slice(rest);
        let key = keys.key(std::str::from_utf8(&key).ok()?);
        let value = ItemValue::new(reader.bytes()?, &key);
        let lease = NonZeroI64::new(reader.signed()?);
        let puts = (reader.positive()?, reader.positive()?, reader.positive()?);
        items.push(Arc::new(Item::new(key, value, lease, puts)));
    }
    Some(items)
}

fn put_key(out: &mut Vec<u8>, key: &KeyText) {
    put_number(out, key.len() as u64);
    key.append_to(out);
}

fn put_value(out: &mut Vec<u8>, value: &ItemValue) {
    put_number(out, value.length() as u64);
    value.append_to(out);
}

/// Forms of a number that only these files have.
impl Fields<'_> {
    fn positive(&mut self) -> Option<i64> {
        i64::try_from(self.number()?).ok()
    }

    fn lease(&mut self) -> Option<(LeaseId, i64)> {
        Some((LeaseId(self.signed()?), self.positive()?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::store::embedded::keyspace::Keyspace;
    use crate::store::embedded::lease::LoadingLeases;

    const STORE: StoreId = [7; 16];

    #[test]
    fn a_header_is_known_by_every_byte() {
        let good = header(FileKind::Log, FileHeader { store: STORE, number: 9 });
        assert_eq!(good.len(), HEADER);
        assert_eq!(read_header(FileKind::Log, &good), Ok(FileHeader { store: STORE, number: 9 }));
        assert_eq!(read_header(FileKind::Snapshot, &good), Err(BadHeader::Damaged));
        for at in 0..HEADER {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(read_header(FileKind::Log, &bad).is_err(), "byte {at}");
            assert!(read_header(FileKind::Log, &good[..at]).is_err(), "cut at {at}");
        }
        let mut newer = good;
        newer[8] = 2;
        assert_eq!(read_header(FileKind::Log, &newer), Err(BadHeader::Format(2)));
    }

    #[test]
    fn a_frame_is_known_by_every_byte() {
        let seal = Seal::new(FileKind::Log, STORE);
        let mut frame = Vec::new();
        Seal::start(&mut frame);
        frame.extend_from_slice(b"payload");
        seal.finish(&mut frame, 5).unwrap();
        assert_eq!(seal.check(&frame, 5, 0), Some(frame.len()));
        assert_eq!(seal.check(&frame, 3, 10), Some(frame.len()), "a range of numbers");
        assert_eq!(seal.check(&frame, 4, 0), None, "another place");
        assert_eq!(Seal::new(FileKind::Snapshot, STORE).check(&frame, 5, 0), None, "another kind");
        assert_eq!(Seal::new(FileKind::Log, [8; 16]).check(&frame, 5, 0), None, "another store");
        for at in 0..frame.len() {
            let mut bad = frame.clone();
            bad[at] ^= 1;
            assert_eq!(seal.check(&bad, 5, 0), None, "byte {at}");
            assert_eq!(seal.check(&frame[..at], 5, 0), None, "cut at {at}");
        }
    }

    #[test]
    fn nonsense_with_a_right_checksum_is_refused() {
        let folders = Folders::default();
        let leases = &mut LoadingLeases::start().unwrap();
        let mut replay = |payload: &[u8]| Keyspace::new().replay(read_group(payload, &folders)?, leases);
        let revision = 1i64.to_le_bytes();
        for records in
            [&[9u8][..], &[PUT], &[PUT, 1], &[PUT, 1, b'k', 5, 1], &[DELETE, 1, b'k'], &[PUT, 1, 0xff, 0]]
        {
            let payload = [&revision[..], records].concat();
            assert!(replay(&payload).is_err(), "{records:?}");
        }
        assert!(replay(&2i64.to_le_bytes()).is_err(), "another revision");
        assert!(replay(&[1]).is_err());
        let mut restore = |payload: &[u8]| Keyspace::new().restore(read_block(payload, &folders)?, leases);
        for block in [&[][..], &[9], &[ITEMS, 1, 0], &[ITEMS, 0], &[LEASES, 1], &[END, 1]] {
            assert!(restore(block).is_err(), "{block:?}");
        }
    }
}
