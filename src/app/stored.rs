//! What etcd holds below some prefixes, for `ctl diagnose --etcd-addr`.

use std::sync::Arc;

use futures_util::stream::StreamExt as _;

use super::store::etcd_options;
use crate::config::EtcdConfig;
use crate::store::Store as _;
use crate::store::etcd::EtcdStore;

/// A key in etcd and its value.
#[derive(Clone, Debug)]
pub struct StoredEntry {
    pub key: String,
    /// The revision of the last write.
    pub revision: i64,
    pub value: Vec<u8>,
}

/// Reads all entries below the prefixes at one revision. Asks once, and writes nothing.
pub async fn stored(etcd: &EtcdConfig, prefixes: &[&str]) -> Result<Vec<StoredEntry>, String> {
    let store = EtcdStore::connect(etcd_options(etcd)).await;
    let store = Arc::new(store.map_err(|error| format!("etcd cannot be reached: {error}"))?);
    let mut pages = store.list(prefixes);
    let mut entries = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| format!("etcd cannot be listed: {error}"))?;
        entries.extend(page.entries.into_iter().map(|entry| StoredEntry {
            key: entry.key.to_string(),
            revision: entry.mod_revision,
            value: entry.value.to_vec(),
        }));
    }
    store.close().await;
    Ok(entries)
}
