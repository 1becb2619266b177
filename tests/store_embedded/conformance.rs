//! The suite that every store must pass, on a real folder.

use std::sync::Arc;

use futures_util::FutureExt;
use service_center::clock::Clock;
use service_center::store::conformance::StoreUnderTest;
use service_center::store::embedded::{EmbeddedStore, Options};

use super::{options, put, write};

async fn make() -> StoreUnderTest {
    let dir = tempfile::tempdir().expect("a folder");
    // The store writes a snapshot now and then.
    let options = Options { history_events: 20_000, snapshot_log_bytes: 64 << 10, ..options() };
    let store = Arc::new(EmbeddedStore::open(dir.path(), options, Clock::system()).expect("a store"));
    let writer = store.clone();
    let forget = move |_| {
        let writer = writer.clone();
        async move {
            for round in 0..200 {
                let puts = (0..128).map(|n| put(&format!("/forget/{n}"), format!("{round}"))).collect();
                write(&*writer, puts).await;
            }
        }
        .boxed()
    };
    StoreUnderTest { store, forget: Box::new(forget), keep: Box::new(dir) }
}

service_center::store_conformance!(make);
