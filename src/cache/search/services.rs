//! Searches services: one item for each name, with all its versions.

use super::needle::Needle;
use super::top::{PageFrame, Top};
use crate::cache::snapshot::{NameNode, NamedVersion, TenantView, path_parts};
use crate::cache::statuses::{InstanceStatus, StatusCounts};
use crate::domain::event::Revision;

/// What a service must fulfil. `None` stands for any.
#[derive(Clone, Debug, Default)]
pub struct ServiceConditions {
    /// Part of the name, the alias, the application or the id of a version.
    pub search: Option<Needle>,
    pub environment: Option<String>,
    pub app_id: Option<String>,
    pub state: Option<ServiceState>,
}

/// How many of the instances of all versions are up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    Empty,
    NoneUp,
    SomeDown,
    AllUp,
}

impl ServiceState {
    pub const ALL: [Self; 4] = [Self::Empty, Self::NoneUp, Self::SomeDown, Self::AllUp];

    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NoneUp => "noneUp",
            Self::SomeDown => "someDown",
            Self::AllUp => "allUp",
        }
    }

    fn of(statuses: &StatusCounts) -> Self {
        match (statuses.of(InstanceStatus::Up), statuses.total()) {
            (_, 0) => Self::Empty,
            (0, _) => Self::NoneUp,
            (up, all) if up < all => Self::SomeDown,
            _ => Self::AllUp,
        }
    }
}

/// What services are sorted by. Equal ones are sorted by name, application and environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceSort {
    Name,
    /// The number of instances.
    Instances,
    /// The revision of the last change.
    Changed,
}

/// Where a service is in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServicePlace<'a> {
    /// What the list is sorted by; 0 if it is the name.
    pub number: i64,
    pub name: &'a str,
    pub app_id: &'a str,
    pub environment: &'a str,
}

#[derive(Clone, Copy, Debug)]
pub struct FoundService<'s> {
    pub environment: &'s str,
    pub app_id: &'s str,
    pub name: &'s str,
    pub versions: &'s [NamedVersion],
    /// Of the instances of all versions.
    pub statuses: StatusCounts,
    pub state: ServiceState,
    /// The last revision at which a version, its tags, a schema or an instance of it was written.
    pub changed: Revision,
}

/// A search that is under way.
#[derive(Debug)]
pub struct ServiceSearch<'s> {
    view: &'s TenantView,
    conditions: &'s ServiceConditions,
    sort: ServiceSort,
    top: Top<ServicePlace<'s>, FoundService<'s>>,
    /// Services that fulfil all conditions.
    pub total: usize,
    /// Services that fulfil all conditions except the one of the state, by [`ServiceState`].
    pub states: [usize; ServiceState::ALL.len()],
    /// The instances of these services.
    pub statuses: StatusCounts,
}

impl<'s> ServiceSearch<'s> {
    pub fn new(
        view: &'s TenantView,
        conditions: &'s ServiceConditions,
        sort: ServiceSort,
        frame: PageFrame<ServicePlace<'s>>,
    ) -> Self {
        let (states, statuses) = Default::default();
        Self { view, conditions, sort, top: Top::new(frame), total: 0, states, statuses }
    }

    /// Looks at a name path that the caller may see.
    pub fn look(&mut self, path: &'s str, node: &'s NameNode) {
        let Some([environment, app_id, name]) = path_parts(path) else { return };
        let is =
            |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        if !is(&self.conditions.environment, environment) || !is(&self.conditions.app_id, app_id) {
            return;
        }
        if !self.conditions.search.as_ref().is_none_or(|needle| self.has(needle, name, app_id, node)) {
            return;
        }
        let (mut statuses, mut changed) = (StatusCounts::default(), 0);
        for node in node.versions().iter().filter_map(|known| self.view.node(known.service.as_str())) {
            statuses += node.statuses;
            changed = changed.max(node.active_at);
        }
        let state = ServiceState::of(&statuses);
        self.states[state as usize] += 1;
        self.statuses += statuses;
        if self.conditions.state.is_some_and(|wanted| wanted != state) {
            return;
        }
        self.total += 1;
        let number = match self.sort {
            ServiceSort::Name => 0,
            ServiceSort::Instances => i64::try_from(statuses.total()).unwrap_or(i64::MAX),
            ServiceSort::Changed => changed,
        };
        let place = ServicePlace { number, name, app_id, environment };
        if self.top.wants(&place) {
            let versions = node.versions();
            self.top
                .push(place, FoundService { environment, app_id, name, versions, statuses, state, changed });
        }
    }

    fn has(&self, needle: &Needle, name: &str, app_id: &str, node: &NameNode) -> bool {
        needle.is_in(name.as_bytes())
            || needle.is_in(app_id.as_bytes())
            || node.versions().iter().any(|known| {
                let alias =
                    || Some(self.view.service(known.service.as_str())?.record.document.alias.as_bytes());
                needle.is_in(known.service.as_str().as_bytes())
                    || alias().is_some_and(|alias| needle.is_in(alias))
            })
    }

    /// The services of the page, each with its place.
    pub fn into_page(self) -> Vec<(ServicePlace<'s>, FoundService<'s>)> {
        self.top.into_sorted()
    }
}
