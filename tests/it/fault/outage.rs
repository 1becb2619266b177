//! The two ways in which a server of etcd goes away and comes back.

use crate::support::etcd::Etcd;

/// What is done to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Its connections stay, nothing answers, and its clock goes on.
    Frozen,
    /// Its process ends, and is started again on the same data.
    Killed,
}

impl Outage {
    /// The server goes away.
    pub fn begin(self, etcd: &mut Etcd) {
        match self {
            Self::Frozen => etcd.freeze(),
            Self::Killed => etcd.kill(),
        }
    }

    /// The server comes back. It may not answer yet.
    pub fn end(self, etcd: &mut Etcd) {
        match self {
            Self::Frozen => etcd.thaw(),
            Self::Killed => etcd.respawn(),
        }
    }
}
