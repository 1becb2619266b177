//! The texts of a service's instances that searches look at, one behind the other. To read them from the JSON of each instance takes ten
//! times as long. They are made by the first search that needs them, and kept until an instance of the service changes or no search
//! has come for a while.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;

use super::raw_instance::RawInstance;
use crate::cache::instances::InstanceEntry;
use crate::cache::statuses::InstanceStatus;
use crate::domain::event::Revision;

/// Ends a text. No text has this byte, because it is in no UTF-8.
const END: u8 = 0xff;
/// Ends the name of a property.
const NAME_END: u8 = 0xfe;
/// Begins the port of an endpoint.
const PORT: u8 = 0xfd;
/// Most bytes of the texts of all services that are kept. Others are made anew for each search.
const MOST_KEPT: usize = 64 * 1024 * 1024;

/// The texts of a service's instances, in the order of their ids.
#[derive(Debug, Default)]
pub struct ServiceTexts {
    /// Of each instance: id, host name and endpoints, each with [`END`].
    texts: Vec<u8>,
    /// Of each instance: [`END`], then name, [`NAME_END`], value and [`END`] of each property, then [`PORT`], number and [`END`] of each
    /// port.
    marks: Vec<u8>,
    rows: Vec<Row>,
    kept: Option<Kept>,
}

/// Where the texts of an instance are, and what else a list is sorted by.
#[derive(Clone, Copy, Debug)]
struct Row {
    host: u32,
    endpoints: u32,
    end: u32,
    marks_end: u32,
    status: InstanceStatus,
    changed: Revision,
}

/// The texts of one instance.
#[derive(Clone, Copy, Debug)]
pub struct InstanceTexts<'a> {
    of: &'a ServiceTexts,
    row: Row,
    start: u32,
    marks_start: u32,
}

/// How many bytes of texts the process keeps. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct KeptTexts(Arc<AtomicUsize>);

/// The bytes that the texts of a service take, until they are dropped.
#[derive(Debug)]
struct Kept {
    of_all: KeptTexts,
    bytes: usize,
}

impl KeptTexts {
    /// The bytes of all texts that are kept.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// `None` if too much is kept already.
    fn take(&self, bytes: usize) -> Option<Kept> {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        let kept = Kept { of_all: self.clone(), bytes };
        (before + bytes <= MOST_KEPT).then_some(kept)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.of_all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The place where a service keeps its texts. A clone has none, because a service is cloned only to be changed.
#[derive(Debug, Default)]
pub struct TextsCell(ArcSwapOption<ServiceTexts>);

impl Clone for TextsCell {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl TextsCell {
    pub fn load(&self) -> Option<Arc<ServiceTexts>> {
        self.0.load_full()
    }

    /// Keeps the texts, unless too much is kept already.
    pub fn keep(&self, mut texts: ServiceTexts, of_all: &KeptTexts) -> Arc<ServiceTexts> {
        texts.kept = of_all.take(texts.bytes());
        let texts = Arc::new(texts);
        if texts.kept.is_some() {
            self.0.store(Some(Arc::clone(&texts)));
        }
        texts
    }

    pub fn forget(&self) {
        self.0.store(None);
    }
}

fn offset(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn part(bytes: &[u8], from: u32, to: u32) -> &[u8] {
    bytes.get(from as usize..to as usize).unwrap_or_default()
}

impl ServiceTexts {
    /// Adds instances. They come in the order of their ids, `all` in all.
    pub fn add(&mut self, instances: &[&Arc<InstanceEntry>], all: usize) {
        let is_first = self.rows.is_empty();
        for entry in instances {
            self.add_one(entry);
        }
        if is_first && !instances.is_empty() {
            // Others are about as long, unless these are very long.
            let more = all.saturating_sub(instances.len());
            let room = |texts: &[u8]| (texts.len() / instances.len() * more).min(MOST_KEPT / 4);
            self.texts.reserve_exact(room(&self.texts));
            self.marks.reserve_exact(room(&self.marks));
            self.rows.reserve_exact(more);
        }
    }

    fn add_one(&mut self, entry: &InstanceEntry) {
        let json = entry.json();
        let instance = RawInstance::read(&json);
        let texts = &mut self.texts;
        let mut put = |text: &[u8]| {
            texts.extend_from_slice(text);
            texts.push(END);
            offset(texts)
        };
        let host = put(entry.id().as_str().as_bytes());
        let endpoints = put(&instance.host.plain());
        let end = instance.endpoints().map(|endpoint| put(&endpoint.plain())).last().unwrap_or(endpoints);
        self.marks.push(END);
        for [name, value] in instance.properties() {
            self.marks.extend_from_slice(&property(&name.plain(), Some(&*value.plain()))[1..]);
        }
        for port in instance.endpoints().filter_map(|endpoint| port_of(&endpoint.plain())) {
            self.marks.extend_from_slice(&self::port(port)[1..]);
        }
        let (status, changed) = (InstanceStatus::of_instance(&instance), entry.mod_revision);
        let marks_end = offset(&self.marks);
        self.rows.push(Row { host, endpoints, end, marks_end, status, changed });
    }

    /// How many instances there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.texts.capacity()
            + self.marks.capacity()
            + self.rows.capacity() * size_of::<Row>()
    }

    /// Reads the beginnings, so that they are in the cache of the processor.
    pub(super) fn touch(&self) -> usize {
        let text = self.texts.first().copied().unwrap_or_default();
        usize::from(text) ^ self.rows.first().map_or(0, |row| row.end as usize)
    }

    pub fn instance(&self, index: usize) -> Option<InstanceTexts<'_>> {
        let row = *self.rows.get(index)?;
        let before = index.checked_sub(1).and_then(|before| self.rows.get(before));
        let (start, marks_start) = before.map_or((0, 0), |before| (before.end, before.marks_end));
        Some(InstanceTexts { of: self, row, start, marks_start })
    }

    /// The first of some instances whose texts have something. `find` finds it in the texts of all of them.
    pub fn first_with(
        &self,
        instances: Range<usize>,
        find: impl FnOnce(&[u8]) -> Option<usize>,
    ) -> Option<usize> {
        let start = self.instance(instances.start)?.start;
        let rows = self.rows.get(instances.clone())?;
        let found = start as usize + find(part(&self.texts, start, rows.last()?.end))?;
        rows.iter().position(|row| row.end as usize > found).map(|position| instances.start + position)
    }
}

impl<'a> InstanceTexts<'a> {
    pub fn id(&self) -> &'a [u8] {
        part(&self.of.texts, self.start, self.row.host - 1)
    }

    pub fn host(&self) -> &'a [u8] {
        part(&self.of.texts, self.row.host, self.row.endpoints - 1)
    }

    /// All endpoints, with a byte that is in no text behind each.
    pub fn endpoints(&self) -> &'a [u8] {
        part(&self.of.texts, self.row.endpoints, self.row.end)
    }

    /// In which [`property`] and [`port`] are found.
    pub fn marks(&self) -> &'a [u8] {
        part(&self.of.marks, self.marks_start, self.row.marks_end)
    }

    pub fn status(&self) -> InstanceStatus {
        self.row.status
    }

    /// The revision of the last write.
    pub fn changed(&self) -> Revision {
        self.row.changed
    }
}

/// What [`InstanceTexts::marks`] has if the instance has this property, with any value or with this one.
pub fn property(name: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = [&[END], name, &[NAME_END]].concat();
    if let Some(value) = value {
        bytes.extend_from_slice(value);
        bytes.push(END);
    }
    bytes
}

/// What [`InstanceTexts::marks`] has if an endpoint of the instance has this port.
pub fn port(number: u16) -> Vec<u8> {
    [&[END, PORT], number.to_string().as_bytes(), &[END]].concat()
}

/// The port of an endpoint, `[scheme://]host:port[/…]`.
fn port_of(endpoint: &[u8]) -> Option<u16> {
    let endpoint = std::str::from_utf8(endpoint).ok()?;
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once(':')?.1.parse().ok()
}
