//! The bytes of recorded events, on the disk and in memory. Pure: bytes in, bytes out. Numbers are little-endian, lengths are LEB128.
//!
//! A payload on the disk is a list of records. Each begins with its tag. A kind of event is written by its place in [`EventKind::ALL`], so a new kind
//! goes to the end of that list.

use std::net::IpAddr;
use std::sync::Arc;

use super::delivery::Told;
use super::event::{Cause, Event, EventKind, EventParts, InstanceFacts, Requester, ServiceFacts};
use super::id_hash::hash_of;
use super::shown::Shown;
use crate::domain::event::Revision;
use crate::domain::{InstanceId, ServiceId, Tenant};
use crate::packed::{Fields, put_bytes, put_number};
use crate::trace::RequestId;

const EVENT: u8 = 1;
const TOLD: u8 = 2;
const REVISION: u8 = 3;

// The members of an event that are there.
const SERVICE: u8 = 1;
const INSTANCE: u8 = 2;
const BEFORE: u8 = 4;
const DETAIL: u8 = 8;

const REQUEST: u8 = 1;
const LEASE: u8 = 2;
const OTHER_NODE: u8 = 3;
const NODE: u8 = 4;
const RULE: u8 = 5;
const UNKNOWN: u8 = 6;

/// A record as it is read back.
#[derive(Debug)]
pub enum StoredRecord {
    Event(u64, EventParts),
    /// Who was told of the event with this number.
    Told(u64, Told),
    /// All changes up to this revision come before.
    Revision(Revision),
}

pub fn encode_event(out: &mut Vec<u8>, event: &Event) {
    let Event { seq, time, revision, kind, service, .. } = event;
    out.push(EVENT);
    put_number(out, *seq);
    put_signed(out, *time);
    put_signed(out, *revision);
    out.push(*kind as u8);
    out.push(flags(event));
    if let Some(service) = service {
        let ServiceFacts { tenant, id, environment, app_id, name, version, is_registry, id_hash: _ } =
            &**service;
        for text in [tenant.as_str(), id.as_str(), environment, app_id, name, version] {
            put_text(out, text);
        }
        out.push(u8::from(*is_registry));
    }
    put_rest(out, event);
}

/// The bytes of an event in memory. Its number, time, revision, kind and service are kept beside them.
pub(super) fn pack(out: &mut Vec<u8>, event: &Event) {
    out.push(flags(event));
    put_rest(out, event);
}

fn flags(event: &Event) -> u8 {
    let Event { service, instance, before, detail, .. } = event;
    let flag = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
    flag(service.is_some(), SERVICE)
        | flag(instance.is_some(), INSTANCE)
        | flag(before.is_some(), BEFORE)
        | flag(detail.is_some(), DETAIL)
}

fn put_rest(out: &mut Vec<u8>, event: &Event) {
    let Event { instance, before, detail, cause, .. } = event;
    if let Some(InstanceFacts { id, shown }) = instance {
        put_text(out, id.as_str());
        put_text(out, shown.packed());
    }
    before.iter().for_each(|before| put_text(out, before.packed()));
    detail.iter().for_each(|detail| put_text(out, detail));
    put_cause(out, cause);
}

fn put_cause(out: &mut Vec<u8>, cause: &Cause) {
    match cause {
        Cause::Request(by) => {
            let Requester { account, client, request_id } = &**by;
            out.push(REQUEST);
            put_text(out, account.as_deref().unwrap_or_default());
            match client {
                None => out.push(0),
                Some(IpAddr::V4(address)) => {
                    out.push(4);
                    out.extend_from_slice(&address.octets());
                }
                Some(IpAddr::V6(address)) => {
                    out.push(16);
                    out.extend_from_slice(&address.octets());
                }
            }
            put_bytes(out, request_id.as_bytes());
        }
        Cause::Lease { lease, heartbeat_age } => {
            out.push(LEASE);
            put_signed(out, *lease);
            put_number(out, heartbeat_age.map_or(0, |age| age.saturating_add(1)));
        }
        Cause::OtherNode => out.push(OTHER_NODE),
        Cause::Node => out.push(NODE),
        Cause::Rule { rule, until } => {
            out.push(RULE);
            put_text(out, rule);
            put_signed(out, *until);
        }
        Cause::Unknown => out.push(UNKNOWN),
    }
}

pub fn encode_told(out: &mut Vec<u8>, seq: u64, told: &Told) {
    let Told { consumers, sent, waiting, replaced, lost, first_sent, last_sent } = told;
    out.push(TOLD);
    put_number(out, seq);
    for count in [consumers, sent, waiting, replaced, lost] {
        put_number(out, (*count).into());
    }
    for time in [first_sent, last_sent] {
        // No change was sent in 1970.
        put_signed(out, time.unwrap_or_default());
    }
}

pub fn encode_revision(out: &mut Vec<u8>, revision: Revision) {
    out.push(REVISION);
    put_signed(out, revision);
}

/// What [`pack`] has written. The cause is read only for an answer.
pub(super) struct Packed<'p> {
    pub(super) texts: Texts<'p>,
    cause: Fields<'p>,
}

/// The texts of an event.
pub(super) struct Texts<'p> {
    /// The id of the instance, and what it shows.
    pub(super) instance: Option<(&'p str, &'p str)>,
    /// What the instance showed before.
    pub(super) before: Option<&'p str>,
    detail: Option<&'p str>,
}

impl<'p> Packed<'p> {
    pub(super) fn read(bytes: &'p [u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let flags = fields.byte()?;
        Some(Self { texts: fields.texts(flags)?, cause: fields })
    }

    pub(super) fn parts(
        mut self,
        time: i64,
        revision: Revision,
        kind: EventKind,
        service: Option<Arc<ServiceFacts>>,
    ) -> Option<EventParts> {
        let cause = self.cause.cause()?;
        Some(self.texts.parts(time, revision, kind, service, cause))
    }
}

impl Texts<'_> {
    fn parts(
        self,
        time: i64,
        revision: Revision,
        kind: EventKind,
        service: Option<Arc<ServiceFacts>>,
        cause: Cause,
    ) -> EventParts {
        let instance = self
            .instance
            .map(|(id, shown)| InstanceFacts { id: InstanceId::from(id), shown: Shown::of_packed(shown) });
        let (before, detail) = (self.before.map(Shown::of_packed), self.detail.map(Arc::from));
        EventParts { time, revision, kind, service, instance, before, detail, cause }
    }
}

/// Reads the records of a payload. `None` at one that has no known form: the rest cannot be read.
pub fn decode(payload: &[u8]) -> impl Iterator<Item = Option<StoredRecord>> {
    let mut fields = Fields(payload);
    std::iter::from_fn(move || {
        if fields.0.is_empty() {
            return None;
        }
        let record = fields.record();
        if record.is_none() {
            fields.0 = &[];
        }
        Some(record)
    })
}

fn put_signed(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

impl<'a> Fields<'a> {
    fn texts(&mut self, flags: u8) -> Option<Texts<'a>> {
        let has = |flag: u8| flags & flag != 0;
        let instance = if has(INSTANCE) { Some((self.text()?, self.text()?)) } else { None };
        let before = if has(BEFORE) { Some(self.text()?) } else { None };
        let detail = if has(DETAIL) { Some(self.text()?) } else { None };
        Some(Texts { instance, before, detail })
    }

    fn record(&mut self) -> Option<StoredRecord> {
        match self.byte()? {
            EVENT => self.event(),
            TOLD => {
                let seq = self.number()?;
                let mut count = || u32::try_from(self.number()?).ok();
                let (consumers, sent, waiting) = (count()?, count()?, count()?);
                let (replaced, lost) = (count()?, count()?);
                let mut time = || Some(Some(self.signed()?).filter(|time| *time != 0));
                let (first_sent, last_sent) = (time()?, time()?);
                let told = Told { consumers, sent, waiting, replaced, lost, first_sent, last_sent };
                Some(StoredRecord::Told(seq, told))
            }
            REVISION => Some(StoredRecord::Revision(self.signed()?)),
            _ => None,
        }
    }

    fn event(&mut self) -> Option<StoredRecord> {
        let (seq, time, revision) = (self.number()?, self.signed()?, self.signed()?);
        let kind = *EventKind::ALL.get(usize::from(self.byte()?))?;
        let flags = self.byte()?;
        let service = if flags & SERVICE != 0 { Some(Arc::new(self.service()?)) } else { None };
        let texts = self.texts(flags)?;
        let cause = self.cause()?;
        Some(StoredRecord::Event(seq, texts.parts(time, revision, kind, service, cause)))
    }

    fn service(&mut self) -> Option<ServiceFacts> {
        let (tenant, id) = (Tenant::from(self.text()?), ServiceId::from(self.text()?));
        Some(ServiceFacts {
            id_hash: hash_of(id.as_str()),
            tenant,
            id,
            environment: self.text()?.into(),
            app_id: self.text()?.into(),
            name: self.text()?.into(),
            version: self.text()?.into(),
            is_registry: self.byte()? != 0,
        })
    }

    fn cause(&mut self) -> Option<Cause> {
        Some(match self.byte()? {
            REQUEST => {
                let account = Some(self.text()?).filter(|account| !account.is_empty()).map(Arc::from);
                let client = match self.byte()? {
                    0 => None,
                    4 => Some(IpAddr::from(*self.take(4)?.first_chunk::<4>()?)),
                    16 => Some(IpAddr::from(*self.take(16)?.first_chunk::<16>()?)),
                    _ => return None,
                };
                let request_id = RequestId::given(self.bytes()?)?;
                Cause::Request(Arc::new(Requester { account, client, request_id }))
            }
            LEASE => Cause::Lease { lease: self.signed()?, heartbeat_age: self.number()?.checked_sub(1) },
            OTHER_NODE => Cause::OtherNode,
            NODE => Cause::Node,
            RULE => Cause::Rule { rule: self.text()?.into(), until: self.signed()? },
            UNKNOWN => Cause::Unknown,
            _ => return None,
        })
    }
}
