//! Which instances said goodbye lately: whoever finds a lease gone must not write such an instance again.
//!
//! Written by the WatchActor before it publishes, read by the LeaseActor after it caught up.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Monotonic;
use crate::domain::event::InstanceRef;

/// How long one is remembered: longer than any beat waits for its store.
const KEPT: Duration = Duration::from_secs(600);
/// How many are remembered; the oldest go first.
const MOST: usize = 100_000;

/// The memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Goodbyes(Arc<Mutex<Memory>>);

#[derive(Debug, Default)]
struct Memory {
    by_instance: HashMap<InstanceRef, Monotonic>,
    in_order: VecDeque<(Monotonic, InstanceRef)>,
}

impl Goodbyes {
    /// Remembers one.
    pub fn remember(&self, at: InstanceRef, now: Monotonic) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.by_instance.insert(at.clone(), now);
        memory.in_order.push_back((now, at));
        while let Some((when, _)) = memory.in_order.front() {
            if memory.in_order.len() <= MOST && now.saturating_sub(*when) < KEPT {
                break;
            }
            if let Some((when, at)) = memory.in_order.pop_front()
                && memory.by_instance.get(&at) == Some(&when)
            {
                memory.by_instance.remove(&at);
            }
        }
    }

    /// Forgets one that registered again.
    pub fn forget(&self, at: &InstanceRef) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !memory.by_instance.is_empty() {
            memory.by_instance.remove(at);
        }
    }

    /// Whether an instance said goodbye and did not come back.
    pub fn contains(&self, at: &InstanceRef) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_instance.contains_key(at)
    }
}
