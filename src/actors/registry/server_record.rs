//! The record of the highest server version that has run on a store. It is written under a compare, so it needs no lock.

use std::rc::Rc;

use bytes::Bytes;

use super::core::RegistryCore;
use super::messages::RecordServerVersion;
use crate::domain::{json, version};
use crate::error::Error;
use crate::json_object;
use crate::store::{Compare, Key, Op, Txn, keys};

json_object! {
    /// The stored value.
    pub struct ServerRecord {
        /// The highest version.
        "version" => version: String,
        /// The configured environment of the node that wrote it.
        "environment" => environment: String,
    }
}

/// Writes the record, unless it already names this version or a higher one.
pub(super) async fn record(core: Rc<RegistryCore>, message: RecordServerVersion) -> Result<(), Error> {
    let RecordServerVersion { version, environment } = message;
    let key: Key = keys::SERVER_RECORD.into();
    let own = version::parse(&version);
    let mut deadline = core.deadline();
    loop {
        deadline.check()?;
        let read = Txn { then: vec![Op::Get(Key::clone(&key))], ..Txn::default() };
        let stored = core.commit(read).await?.reads.into_iter().flatten().next();
        let compare = match &stored {
            Some(entry) => {
                let known: ServerRecord = json::decode(&entry.value).unwrap_or_default();
                let known_version = version::parse(&known.version);
                if known_version > own {
                    log::warn!(
                        "a node of the newer version {} has run on this store; this node has version {version}",
                        known.version
                    );
                }
                if known_version >= own {
                    return Ok(());
                }
                Compare::Unchanged { key: Key::clone(&key), mod_revision: entry.mod_revision }
            }
            None => Compare::Absent(Key::clone(&key)),
        };
        let record = ServerRecord { version: version.clone(), environment: environment.clone() };
        let value = Bytes::from(json::encode(&record));
        let then = vec![Op::Put { key: Key::clone(&key), value, lease: None }];
        if core.commit(Txn { compares: vec![compare], then, otherwise: Vec::new() }).await?.succeeded {
            return Ok(());
        }
    }
}
