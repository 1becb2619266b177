//! The stores of a daemon: the process that a store needs, and the settings that choose the store.

use std::net::SocketAddr;

use super::daemon::Settings;
use super::etcd::Etcd;

/// A store with the process that it needs. Dropping it ends that process, so the daemon must be dropped first.
pub trait Backing: Send + Sync {
    /// Its name in messages and in lists of known differences.
    fn name(&self) -> &'static str;

    /// The settings with this store chosen.
    fn chosen_in(&self, settings: Settings) -> Settings;
}

/// The embedded store, which is the default. Its files are in the daemon's folder.
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

/// etcd, with a server that only this test uses.
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

/// Adds this etcd cluster to the settings, as in the cluster guide. The node does not learn other addresses of the cluster, because a given
/// address may be that of a proxy.
pub fn on_etcd(settings: Settings, endpoints: &[SocketAddr]) -> Settings {
    let list: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    settings
        .conf("manager_cluster", &format!("\"{}\"", list.join(",")))
        .environment("REGISTRY_ETCD_AUTO_SYNC_INTERVAL", "0s")
}
