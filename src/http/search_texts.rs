//! The texts that searches keep with the services of the snapshot, and that are dropped when no search has come for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::slices::Pace;
use crate::cache::search::text::KeptTexts;
use crate::cache::snapshot::TenantView;
use crate::cache::{Snapshot, SnapshotReader};

/// The texts are dropped when no search has begun for this long, or twice as long at most. A search takes less time.
const IDLE: Duration = Duration::from_secs(300);

/// Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct SearchTexts(Arc<State>);

#[derive(Debug, Default)]
struct State {
    kept: KeptTexts,
    /// How many searches have begun.
    searches: AtomicU64,
    /// Whether [`drop_when_idle`] runs.
    is_watched: AtomicBool,
}

impl SearchTexts {
    /// Notes that a search begins.
    pub fn begin(&self, reader: &SnapshotReader) -> &KeptTexts {
        self.0.searches.fetch_add(1, Ordering::SeqCst);
        if !self.0.is_watched.swap(true, Ordering::SeqCst) {
            tokio::spawn(drop_when_idle(self.clone(), reader.clone()));
        }
        &self.0.kept
    }
}

async fn drop_when_idle(texts: SearchTexts, reader: SnapshotReader) {
    let state = &*texts.0;
    loop {
        let before = state.searches.load(Ordering::SeqCst);
        tokio::time::sleep(IDLE).await;
        if state.searches.load(Ordering::SeqCst) != before {
            continue;
        }
        forget(&reader.load_full()).await;
        state.is_watched.store(false, Ordering::SeqCst);
        // A search that has begun meanwhile may have found this task still running.
        if state.searches.load(Ordering::SeqCst) == before || state.is_watched.swap(true, Ordering::SeqCst) {
            return;
        }
    }
}

async fn forget(snapshot: &Snapshot) {
    let mut pace = Pace::default();
    for (_, node) in snapshot.tenants().flat_map(|(_, view)| TenantView::nodes(view)) {
        pace.step(0).await;
        node.texts.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::search::text::ServiceTexts;
    use crate::cache::{SnapshotBuilder, cell};
    use crate::domain::event::{RegistryEvent, ServiceRecord};
    use crate::domain::{Service, Tenant, json};

    fn services(ids: &[&str]) -> Arc<Snapshot> {
        let mut builder = SnapshotBuilder::default();
        for id in ids {
            let document = Service { service_id: (*id).to_owned(), ..Service::default() };
            let json = json::encode(&document).into();
            let record = Arc::new(ServiceRecord { document, json, mod_revision: 1 });
            builder.apply(RegistryEvent::ServicePut(Tenant::default_tenant(), (*id).into(), record));
        }
        builder.publish(1).0
    }

    /// Keeps texts for each service, as a search does.
    fn search(texts: &SearchTexts, reader: &SnapshotReader) {
        let kept = texts.begin(reader);
        let snapshot = reader.load_full();
        for (_, node) in snapshot.tenants().flat_map(|(_, view)| view.nodes()) {
            if node.texts.load().is_none() {
                node.texts.keep(ServiceTexts::default(), kept);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn texts_are_dropped_when_no_search_has_come_for_a_while() {
        let (publisher, reader) = cell::cell();
        publisher.publish(services(&["a", "b"]));
        let texts = SearchTexts::default();
        for _ in 0..2 {
            search(&texts, &reader);
            let all = texts.0.kept.bytes();
            assert!(all > 0);
            tokio::time::sleep(IDLE / 2).await;
            search(&texts, &reader);
            tokio::time::sleep(IDLE / 4 * 3).await;
            assert_eq!(texts.0.kept.bytes(), all, "a search has come meanwhile");
            tokio::time::sleep(IDLE * 2).await;
            assert_eq!(texts.0.kept.bytes(), 0);
        }
    }
}
