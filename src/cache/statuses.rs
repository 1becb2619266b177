//! The statuses of instances, and how many instances have each.

use std::ops::AddAssign;

use super::search::raw_instance::RawInstance;

/// The status of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstanceStatus {
    Up,
    Down,
    Starting,
    Testing,
    OutOfService,
    /// What only another program writes into the store.
    Other,
}

impl InstanceStatus {
    pub const ALL: [Self; 6] =
        [Self::Up, Self::Down, Self::Starting, Self::Testing, Self::OutOfService, Self::Other];

    /// Those that the registry stores.
    pub const STORED: [Self; 5] = [Self::Up, Self::Down, Self::Starting, Self::Testing, Self::OutOfService];

    /// The status as documents have it; `OTHER` for [`Self::Other`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::Down => "DOWN",
            Self::Starting => "STARTING",
            Self::Testing => "TESTING",
            Self::OutOfService => "OUTOFSERVICE",
            Self::Other => "OTHER",
        }
    }

    pub fn of(text: &[u8]) -> Self {
        Self::ALL.into_iter().find(|status| status.name().as_bytes() == text).unwrap_or(Self::Other)
    }

    pub(super) fn of_instance(instance: &RawInstance<'_>) -> Self {
        Self::of(instance.status.raw())
    }

    /// The status in a document.
    pub(super) fn of_document(json: &[u8]) -> Self {
        Self::of_instance(&RawInstance::read(json))
    }
}

/// Numbers of instances by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusCounts([u32; InstanceStatus::ALL.len()]);

impl StatusCounts {
    pub fn of(&self, status: InstanceStatus) -> usize {
        self.0[status as usize] as usize
    }

    pub fn total(&self) -> usize {
        self.0.iter().map(|count| *count as usize).sum()
    }

    /// The statuses that instances have, each with the number of instances.
    pub fn iter(&self) -> impl Iterator<Item = (InstanceStatus, usize)> {
        InstanceStatus::ALL
            .into_iter()
            .map(|status| (status, self.of(status)))
            .filter(|(_, count)| *count > 0)
    }

    pub fn add(&mut self, status: InstanceStatus) {
        self.0[status as usize] += 1;
    }

    pub fn remove(&mut self, status: InstanceStatus) {
        let count = &mut self.0[status as usize];
        *count = count.saturating_sub(1);
    }
}

impl AddAssign for StatusCounts {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }
}
