//! Searches instances of all services.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use memchr::memmem::Finder;
use smallvec::SmallVec;

use super::needle::Needle;
use super::raw_instance::RawInstance;
use super::text::{self, InstanceTexts, ServiceTexts};
use super::top::{PageFrame, Top};
use crate::cache::instances::InstanceEntry;
use crate::cache::snapshot::{ServiceNode, ServiceView};
use crate::cache::statuses::{InstanceStatus, StatusCounts};
use crate::domain::version;

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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstancePlace<'a> {
    pub first: FirstKey<'a>,
    pub service: VersionPlace<'a>,
    pub instance: Cow<'a, [u8]>,
}

/// What the list is sorted by, before the service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FirstKey<'a> {
    None,
    Number(i64),
    /// The beginning of a text.
    Text(Cow<'a, [u8]>),
}

/// How many services [`load`] takes.
pub const SERVICES_AT_ONCE: usize = 32;

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
    /// What an instance must have among its marks because of the properties and the port.
    marks: Vec<Finder<'static>>,
    sort: InstanceSort,
    top: Top<InstancePlace<'s>, FoundInstance<'s>>,
    /// Instances that fulfil all conditions.
    pub total: usize,
    /// Instances that fulfil all conditions except the one of the status.
    pub statuses: StatusCounts,
}

/// A service whose instances the search must look at one by one.
#[derive(Clone, Copy, Debug)]
pub struct SearchedService<'s> {
    service: &'s ServiceView,
    node: &'s ServiceNode,
    place: VersionPlace<'s>,
    /// The name of the service has what is searched for, so its instances need not.
    is_named: bool,
    /// All its instances are counted already.
    is_counted: bool,
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

    /// What an instance must have in its texts, if there is such a condition. If it is `search`, an instance with it fulfils `search`.
    fn needle(&self, is_named: bool) -> Option<&Needle> {
        let search = self.search.as_ref().filter(|_| !is_named);
        search.or(self.host.as_ref()).or(self.endpoint.as_ref())
    }

    fn holds(&self, instance: &InstanceTexts<'_>) -> bool {
        let has = |needle: &Option<Needle>, text| needle.as_ref().is_none_or(|needle| needle.is_in(text));
        has(&self.host, instance.host()) && has(&self.endpoint, instance.endpoints())
    }
}

/// Loads what a search reads of some services into the cache of the processor: the memory is asked for all of them at once, and not for one
/// after the other. Returns the texts that the services have.
pub fn load(nodes: &[&ServiceNode]) -> SmallVec<[Option<Arc<ServiceTexts>>; SERVICES_AT_ONCE]> {
    let first = |text: &str| usize::from(text.as_bytes().first().copied().unwrap_or_default());
    let views = nodes.iter().filter_map(|node| node.view.as_deref());
    let names = views.map(|view| {
        let document = &view.record.document;
        first(&document.service_name) ^ first(&document.app_id)
    });
    std::hint::black_box(names.fold(0, |all, one| all ^ one));
    let texts: SmallVec<[_; SERVICES_AT_ONCE]> = nodes.iter().map(|node| node.texts.load()).collect();
    let begins = texts.iter().flatten().map(|texts| texts.touch());
    std::hint::black_box(begins.fold(0, |all, one| all ^ one));
    texts
}

/// At most [`MOST_COMPARED`] bytes of a text.
fn beginning(text: &[u8]) -> &[u8] {
    let is_inside = |at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    // A character that would be cut does not count.
    let end = (0..=MOST_COMPARED).rev().find(|at| !is_inside(*at)).unwrap_or_default();
    text.get(..end).unwrap_or(text)
}

impl<'s> InstanceSearch<'s> {
    pub fn new(
        conditions: &'s InstanceConditions,
        sort: InstanceSort,
        frame: PageFrame<InstancePlace<'s>>,
    ) -> Self {
        let property = |(name, value): &(String, Option<String>)| {
            text::property(name.as_bytes(), value.as_ref().map(String::as_bytes))
        };
        let marks = conditions.properties.iter().map(property).chain(conditions.port.map(text::port));
        let marks = marks.map(|mark| Finder::new(&mark).into_owned()).collect();
        let (top, statuses) = (Top::new(frame), StatusCounts::default());
        Self { conditions, marks, sort, top, total: 0, statuses }
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
            let is_on_page = self.sort != InstanceSort::Service || self.is_on_page(&place);
            if fulfil == 0 || !is_on_page {
                return None;
            }
        }
        Some(SearchedService { service, node, place, is_named, is_counted })
    }

    /// Whether instances of a service may be on the page. All their places begin alike, unless the list is sorted by something of the
    /// instance.
    fn is_on_page(&self, place: &VersionPlace<'_>) -> bool {
        self.top.may_want(|known| known.service.cmp(place))
    }

    /// Looks at some instances of a service.
    pub fn look(&mut self, of: &SearchedService<'s>, texts: &ServiceTexts, instances: Range<usize>) {
        let conditions = self.conditions;
        let needle = conditions.needle(of.is_named).filter(|_| !of.is_counted);
        let is_on_page = self.sort != InstanceSort::Service || self.is_on_page(&of.place);
        let mut next = instances.start;
        while next < instances.end {
            if let Some(needle) = needle {
                match texts.first_with(next..instances.end, |texts| needle.find(texts)) {
                    Some(found) => next = found,
                    None => return,
                }
            }
            let Some(instance) = texts.instance(next) else { return };
            next += 1;
            let status = instance.status();
            if !of.is_counted {
                let has = |mark: &Finder<'_>| mark.find(instance.marks()).is_some();
                if !conditions.holds(&instance) || !self.marks.iter().all(has) {
                    continue;
                }
                self.statuses.add(status);
            }
            if conditions.status.is_some_and(|wanted| wanted != status) {
                continue;
            }
            self.total += usize::from(!of.is_counted);
            if is_on_page {
                self.offer(of, &instance);
            }
        }
    }

    /// Takes an instance into the page if it belongs there.
    fn offer(&mut self, of: &SearchedService<'s>, instance: &InstanceTexts<'_>) {
        let first = match self.sort {
            InstanceSort::Service => FirstKey::None,
            InstanceSort::Host => FirstKey::Text(Cow::Borrowed(beginning(instance.host()))),
            InstanceSort::Status => FirstKey::Number(instance.status() as i64),
            InstanceSort::Changed => FirstKey::Number(instance.changed()),
        };
        let place = InstancePlace { first, service: of.place, instance: instance.id().into() };
        if !self.top.wants(&place) {
            return;
        }
        let id = place.instance.into_owned();
        let Some(entry) = std::str::from_utf8(&id).ok().and_then(|id| of.node.instances.find(id)) else {
            return;
        };
        let first = match place.first {
            FirstKey::None => FirstKey::None,
            FirstKey::Number(number) => FirstKey::Number(number),
            FirstKey::Text(_) => {
                let host = RawInstance::read(&entry.json()).host.plain().into_owned();
                FirstKey::Text(beginning(&host).to_vec().into())
            }
        };
        let place = InstancePlace { first, service: of.place, instance: id.into() };
        self.top.push(place, FoundInstance { service: of.service, entry });
    }

    /// The instances of the page, each with its place.
    pub fn into_page(self) -> Vec<(InstancePlace<'s>, FoundInstance<'s>)> {
        self.top.into_sorted()
    }
}
