//! The suite that every store passes. Each case has an etcd of its own, because some cases compact its history.

use std::sync::Arc;

use service_center::store::conformance::StoreUnderTest;
use service_center::store::etcd::EtcdStore;

use crate::support::etcd::Etcd;

async fn make() -> StoreUnderTest {
    let etcd = Arc::new(Etcd::start());
    let store = EtcdStore::connect(crate::patient(&etcd)).await.unwrap();
    let compacted = etcd.clone();
    StoreUnderTest {
        store: Arc::new(store),
        forget: Box::new(move |revision| {
            compacted.ctl(&["compact", &revision.to_string()]);
            Box::pin(std::future::ready(()))
        }),
        keep: Box::new(etcd),
    }
}

service_center::store_conformance!(make);
