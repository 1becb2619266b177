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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{InstanceId, Tenant};

    fn at(number: usize) -> InstanceRef {
        let instance = InstanceId::from(format!("i{number}"));
        InstanceRef { tenant: Tenant::default_tenant(), service: "s".into(), instance }
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn remembered_until_it_is_back_or_too_long_ago() {
        let goodbyes = Goodbyes::default();
        goodbyes.forget(&at(1));
        goodbyes.remember(at(1), seconds(1));
        goodbyes.remember(at(2), seconds(2));
        goodbyes.remember(at(1), seconds(3));
        assert!(goodbyes.contains(&at(1)) && goodbyes.contains(&at(2)) && !goodbyes.contains(&at(3)));
        goodbyes.forget(&at(2));
        assert!(!goodbyes.contains(&at(2)));
        goodbyes.remember(at(4), seconds(602));
        assert!(goodbyes.contains(&at(1)), "its second goodbye counts");
        goodbyes.remember(at(5), seconds(603));
        assert!(!goodbyes.contains(&at(1)) && goodbyes.contains(&at(4)));
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let goodbyes = Goodbyes::default();
        (0..=MOST).for_each(|number| goodbyes.remember(at(number), seconds(1)));
        assert!(!goodbyes.contains(&at(0)));
        assert!(goodbyes.contains(&at(1)) && goodbyes.contains(&at(MOST)));
    }
}
