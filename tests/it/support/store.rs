//! The stores a daemon can be run on, seen from outside: what must run beside it, and the settings that choose it.

use std::net::SocketAddr;

use super::daemon::Settings;
use super::etcd::Etcd;

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

/// An etcd of its own.
#[derive(Debug)]
pub struct OwnEtcd(Etcd);

impl OwnEtcd {
    /// Starts an etcd and waits until it answers.
    pub fn start() -> Self {
        Self(Etcd::start())
    }
}

impl Backing for OwnEtcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn chosen_in(&self, settings: Settings) -> Settings {
        on_etcd(settings, &[self.0.address()])
    }
}

/// The settings with this etcd cluster chosen, in the words of the cluster guide. The node knows no other way to it: what is
/// given may be a proxy.
pub fn on_etcd(settings: Settings, endpoints: &[SocketAddr]) -> Settings {
    let list: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    settings
        .conf("manager_cluster", &format!("\"{}\"", list.join(",")))
        .environment("REGISTRY_ETCD_AUTO_SYNC_INTERVAL", "0s")
}
