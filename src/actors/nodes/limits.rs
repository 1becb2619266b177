//! The limits of a node, and how much of each is in use.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::summary::LimitUse;

/// The limits of this node. Whoever has one adds it once, at the start. Clones share the list.
#[derive(Clone, Debug, Default)]
pub struct NodeLimits(Arc<Mutex<Vec<NodeLimit>>>);

struct NodeLimit {
    name: &'static str,
    limit: usize,
    used: Box<dyn Fn() -> usize + Send>,
}

impl fmt::Debug for NodeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} {}", (self.used)(), self.limit, self.name)
    }
}

impl NodeLimits {
    /// `used` reads a number. It must not wait.
    pub fn add(&self, name: &'static str, limit: usize, used: impl Fn() -> usize + Send + 'static) {
        self.0.lock().push(NodeLimit { name, limit, used: Box::new(used) });
    }

    pub fn list(&self) -> Vec<LimitUse> {
        self.0
            .lock()
            .iter()
            .map(|limit| LimitUse::new(limit.name, (limit.used)(), limit.limit, "node"))
            .collect()
    }
}

impl LimitUse {
    pub fn new(name: &str, used: usize, limit: usize, scope: &str) -> Self {
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        Self { name: name.to_owned(), used: number(used), limit: number(limit), scope: scope.to_owned() }
    }
}
