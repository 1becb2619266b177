//! Two ways in which an etcd server goes away and comes back.

use crate::support::etcd::Etcd;

/// A fault of an etcd server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// The process is stopped. Its connections stay, it answers nothing, and its clock goes on.
    Frozen,
    /// The process is killed, and started again on the same data.
    Killed,
}

impl Outage {
    pub fn begin(self, etcd: &mut Etcd) {
        match self {
            Self::Frozen => etcd.freeze(),
            Self::Killed => etcd.kill(),
        }
    }

    /// Brings the server back. It may not answer yet.
    pub fn end(self, etcd: &mut Etcd) {
        match self {
            Self::Frozen => etcd.thaw(),
            Self::Killed => etcd.respawn(),
        }
    }
}
