//! Instances that unregistered lately. The LeaseActor must not write such an instance again when it finds its lease gone.
//!
//! The WatchActor writes this memory before it publishes. The LeaseActor reads it after its snapshot has caught up.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Monotonic;
use crate::domain::event::InstanceRef;

/// How long a goodbye is remembered: longer than any heartbeat waits for its store.
const KEPT: Duration = Duration::from_secs(600);
/// How many goodbyes are remembered. The oldest is forgotten first.
const MOST: usize = 100_000;

/// The memory of goodbyes. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Goodbyes(Arc<Mutex<GoodbyeMemory>>);

#[derive(Debug, Default)]
struct GoodbyeMemory {
    by_instance: HashMap<InstanceRef, Monotonic>,
    in_order: VecDeque<(Monotonic, InstanceRef)>,
}

impl Goodbyes {
    pub fn remember(&self, at: InstanceRef, now: Monotonic) {
        let mut memory = self.0.lock();
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

    /// Forgets the goodbye of an instance that registered again.
    pub fn forget(&self, at: &InstanceRef) {
        let mut memory = self.0.lock();
        if !memory.by_instance.is_empty() {
            memory.by_instance.remove(at);
        }
    }

    /// Whether an instance said goodbye and did not register again.
    pub fn contains(&self, at: &InstanceRef) -> bool {
        self.0.lock().by_instance.contains_key(at)
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
