//! The stores a daemon can be run on, seen from outside: what must run beside it, and the settings that choose it.

use super::daemon::Settings;

/// A store, with whatever process it needs. Dropping it ends that process; drop the daemon first.
pub trait Backing: Send + Sync {
    /// Its name in messages and in lists of known differences.
    fn name(&self) -> &'static str;

    /// The settings with this store chosen.
    fn chosen_in(&self, settings: Settings) -> Settings;
}

/// The embedded store: what a daemon uses when nothing is configured. Its files lie in the daemon's own folder.
#[derive(Clone, Copy, Debug)]
pub struct Embedded;

impl Backing for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn chosen_in(&self, settings: Settings) -> Settings {
        settings
    }
}
