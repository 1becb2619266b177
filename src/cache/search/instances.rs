//! Searches instances of all services.

use std::sync::Arc;

use super::needle::Needle;
use super::raw_instance::{IdLengths, RawInstance, RawText};
use super::top::{PageFrame, Top};
use crate::cache::instances::InstanceEntry;
use crate::cache::snapshot::{ServiceNode, ServiceView};
use crate::cache::statuses::{InstanceStatus, StatusCounts};
use crate::domain::{InstanceId, version};

/// What an instance must fulfil. `None` stands for any.
#[derive(Clone, Debug, Default)]
pub struct InstanceConditions {
    pub environment: Option<String>,
    pub app_id: Option<String>,
    pub service_name: Option<String>,
    pub service_id: Option<String>,
    /// Part of the name of the service, or of the id, the host name or an endpoint of the instance.
    pub search: Option<Needle>,
    /// Part of the host name.
    pub host: Option<Needle>,
    /// Part of an endpoint.
    pub endpoint: Option<Needle>,
    /// The port of an endpoint.
    pub port: Option<u16>,
    /// Properties that it must have, some with a value.
    pub properties: Vec<(String, Option<String>)>,
    pub status: Option<InstanceStatus>,
}

/// What instances are sorted by. Equal ones are sorted as by [`Self::Service`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceSort {
    /// Name, application, environment, version and id of the service, then the id of the instance.
    Service,
    /// The host name.
    Host,
    /// In the order of [`InstanceStatus`].
    Status,
    /// The revision of the last write of the instance.
    Changed,
}

/// Where an instance is in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstancePlace<'a> {
    pub first: FirstKey<'a>,
    pub service: VersionPlace<'a>,
    pub instance: &'a str,
}

/// What the list is sorted by, before the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FirstKey<'a> {
    None,
    Number(i64),
    /// The beginning of a text in JSON.
    Text(&'a str),
}

/// Most bytes of a text that are compared. Cursors hold them, and go into a URI.
const MOST_COMPARED: usize = 128;

/// Where the instances of a service version are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionPlace<'a> {
    name: &'a str,
    app_id: &'a str,
    environment: &'a str,
    number: Option<[u16; 4]>,
    version: &'a str,
    id: &'a str,
}

impl<'a> VersionPlace<'a> {
    pub fn new(name: &'a str, app_id: &'a str, environment: &'a str, version: &'a str, id: &'a str) -> Self {
        Self { name, app_id, environment, number: version::parse(version), version, id }
    }

    fn of(service: &'a ServiceView) -> Self {
        let of = &service.record.document;
        Self::new(&of.service_name, &of.app_id, &of.environment, &of.version, service.id.as_str())
    }

    /// Name, application, environment, version and id.
    pub fn parts(&self) -> [&'a str; 5] {
        [self.name, self.app_id, self.environment, self.version, self.id]
    }
}

#[derive(Clone, Copy, Debug)]
pub struct FoundInstance<'s> {
    pub service: &'s ServiceView,
    pub entry: &'s Arc<InstanceEntry>,
}

/// A search that is under way.
#[derive(Debug)]
pub struct InstanceSearch<'s> {
    conditions: &'s InstanceConditions,
    /// What the endpoints of an instance must have because of the port.
    port: Option<Needle>,
    sort: InstanceSort,
    top: Top<InstancePlace<'s>, FoundInstance<'s>>,
    /// Instances that fulfil all conditions.
    pub total: usize,
    /// Instances that fulfil all conditions except the one of the status.
    pub statuses: StatusCounts,
    /// Instances that were excluded by [`Self::is_excluded`], and others that were looked at.
    excluded: usize,
    read: usize,
}

/// A service whose instances the search must look at one by one.
#[derive(Clone, Copy, Debug)]
pub struct SearchedService<'s> {
    service: &'s ServiceView,
    place: VersionPlace<'s>,
    /// The name of the service has what is searched for, so its instances need not.
    is_named: bool,
    /// All its instances are counted already.
    is_counted: bool,
    /// How many bytes of an instance's JSON are looked at.
    searched: usize,
}

impl InstanceConditions {
    fn selects(&self, service: &ServiceView) -> bool {
        let of = &service.record.document;
        let is =
            |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        is(&self.environment, &of.environment)
            && is(&self.app_id, &of.app_id)
            && is(&self.service_name, &of.service_name)
            && is(&self.service_id, service.id.as_str())
    }

    /// Whether an instance must be read to know whether it fulfils all conditions except that of the status.
    fn needs_instance(&self, is_named: bool) -> bool {
        (self.search.is_some() && !is_named)
            || self.host.is_some()
            || self.endpoint.is_some()
            || self.port.is_some()
            || !self.properties.is_empty()
    }

    fn holds(&self, instance: &RawInstance<'_>, is_named: bool) -> bool {
        let has = |needle: &Needle, text: RawText<'_>| needle.is_in(&text.plain());
        let is_searched = |needle: &Needle| {
            has(needle, instance.host)
                || instance.endpoints().any(|endpoint| has(needle, endpoint))
                || has(needle, instance.id)
        };
        (is_named || self.search.as_ref().is_none_or(is_searched))
            && self.host.as_ref().is_none_or(|needle| has(needle, instance.host))
            && self.endpoint.as_ref().is_none_or(|needle| instance.endpoints().any(|text| has(needle, text)))
            && self.port.is_none_or(|port| instance.endpoints().any(|text| has_port(&text.plain(), port)))
            && self.properties.iter().all(|(name, value)| {
                instance.properties().any(|[has, is]| {
                    *has.plain() == *name.as_bytes()
                        && value.as_ref().is_none_or(|value| *is.plain() == *value.as_bytes())
                })
            })
    }
}

/// Loads what is read of some instances into the cache of the processor: the memory is asked for all of them at once, and not for one after
/// the other. That halves the time of a search.
fn load(of: &SearchedService<'_>, instances: &[(&InstanceId, &Arc<InstanceEntry>)]) {
    /// Bytes that are loaded at a time, on nearly all processors.
    const LINE: usize = 64;
    let mut all = 0;
    for (_, entry) in instances {
        let json = entry.json();
        for at in (0..of.searched.min(json.len())).step_by(LINE) {
            all ^= json.get(at).copied().unwrap_or_default();
        }
    }
    std::hint::black_box(all);
}

/// At most [`MOST_COMPARED`] bytes of a text.
fn beginning(text: &[u8]) -> &str {
    let text = text.get(..MOST_COMPARED).unwrap_or(text);
    // A character that was cut does not count.
    match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(cut) => {
            std::str::from_utf8(text.get(..cut.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
    }
}

/// Whether an endpoint, `[scheme://]host:port[/…]`, has this port.
fn has_port(endpoint: &[u8], port: u16) -> bool {
    let Ok(endpoint) = std::str::from_utf8(endpoint) else { return false };
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once(':').is_some_and(|(_, text)| text.parse() == Ok(port))
}

impl<'s> InstanceSearch<'s> {
    pub fn new(
        conditions: &'s InstanceConditions,
        sort: InstanceSort,
        frame: PageFrame<InstancePlace<'s>>,
    ) -> Self {
        let port = conditions.port.and_then(|port| Needle::new(&format!(":{port}")));
        let (top, statuses) = (Top::new(frame), StatusCounts::default());
        Self { conditions, port, sort, top, total: 0, statuses, excluded: 0, read: 0 }
    }

    /// Looks at a service that the caller may see. `None` if the search needs no instance of it.
    pub fn enter(&mut self, service: &'s ServiceView, node: &'s ServiceNode) -> Option<SearchedService<'s>> {
        if node.instances.is_empty() || !self.conditions.selects(service) {
            return None;
        }
        let name = &service.record.document.service_name;
        let is_named = self.conditions.search.as_ref().is_some_and(|needle| needle.is_in(name.as_bytes()));
        let place = VersionPlace::of(service);
        let is_counted = !self.conditions.needs_instance(is_named);
        if is_counted {
            self.statuses += node.statuses;
            let status = self.conditions.status;
            let fulfil = status.map_or(node.instances.len(), |status| node.statuses.of(status));
            self.total += fulfil;
            // All places of a service begin alike, unless the list is sorted by something of the instance.
            let starts_with = |known: &InstancePlace<'_>| known.service.cmp(&place);
            let is_on_page = self.sort != InstanceSort::Service || self.top.may_want(starts_with);
            if fulfil == 0 || !is_on_page {
                return None;
            }
        }
        Some(SearchedService { service, place, is_named, is_counted, searched: node.searched })
    }

    /// Whether an instance cannot fulfil the conditions, because the beginning of its JSON does not have what must be in a text.
    fn is_excluded(&self, of: &SearchedService<'_>, json: &[u8]) -> bool {
        let InstanceConditions { search, host, endpoint, .. } = self.conditions;
        let search = search.as_ref().filter(|_| !of.is_named);
        let needles = [search, host.as_ref(), endpoint.as_ref(), self.port.as_ref()];
        let begin = json.get(..of.searched).unwrap_or(json);
        needles.into_iter().flatten().any(|needle| needle.is_as_in_json() && !needle.is_in(begin))
    }

    /// Looks at some instances of a service.
    pub fn look(&mut self, of: &SearchedService<'s>, instances: &[(&'s InstanceId, &'s Arc<InstanceEntry>)]) {
        let reads = !of.is_counted
            || self.conditions.status.is_some()
            || matches!(self.sort, InstanceSort::Host | InstanceSort::Status);
        if reads {
            load(of, instances);
        }
        for (id, entry) in instances {
            let json = entry.json();
            // If hardly any instance is excluded, it takes longer to try.
            let tries = !of.is_counted && self.excluded * 4 >= self.read;
            if tries && self.is_excluded(of, json) {
                self.excluded += 1;
                continue;
            }
            self.read += 1;
            let ids = IdLengths { instance: id.as_str().len(), service: of.service.id.as_str().len() };
            let instance = if reads { RawInstance::read_with(json, ids) } else { RawInstance::default() };
            let status = InstanceStatus::of(instance.status.raw());
            if !of.is_counted {
                if !self.conditions.holds(&instance, of.is_named) {
                    continue;
                }
                self.statuses.add(status);
            }
            if self.conditions.status.is_some_and(|wanted| wanted != status) {
                continue;
            }
            if !of.is_counted {
                self.total += 1;
            }
            let first = match self.sort {
                InstanceSort::Service => FirstKey::None,
                InstanceSort::Host => FirstKey::Text(beginning(instance.host.raw())),
                InstanceSort::Status => FirstKey::Number(status as i64),
                InstanceSort::Changed => FirstKey::Number(entry.record.mod_revision),
            };
            let place = InstancePlace { first, service: of.place, instance: id.as_str() };
            if self.top.wants(&place) {
                self.top.push(place, FoundInstance { service: of.service, entry });
            }
        }
    }

    /// The instances of the page, each with its place.
    pub fn into_page(self) -> Vec<(InstancePlace<'s>, FoundInstance<'s>)> {
        self.top.into_sorted()
    }
}
