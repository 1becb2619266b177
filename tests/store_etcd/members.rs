//! Addresses that etcd announces. The store uses them when the configured ones fail, and only if they belong to the same cluster.

use std::time::Duration;

use service_center::store::etcd::{EtcdOptions, EtcdStore};
use service_center::store::{KeepAlive, Store};

use crate::support::etcd::{Etcd, EtcdSetup, cluster};
use crate::support::net::free_address;
use crate::{Watching, at, attempt, connect, eventually, eventually_ok, key, list, put, within, write};

async fn connect_and_learn(etcd: &Etcd) -> EtcdStore {
    let options = EtcdOptions { sync_interval: Some(Duration::from_secs(1)), ..at([etcd.endpoint()]) };
    EtcdStore::connect(options).await.unwrap()
}

fn texts(store: &EtcdStore) -> Vec<String> {
    store.learned().iter().map(ToString::to_string).collect()
}

/// The only configured address fails for good. Every part of the store still reaches the cluster.
#[tokio::test]
async fn a_cluster_is_found_without_its_configured_address() {
    let mut members = cluster(3);
    let store = connect_and_learn(&members[0]).await;
    let lease = eventually_ok("a grant", || store.grant(600)).await.id;
    let start = eventually_ok("a write", || attempt(&store, vec![put("start", "x")])).await.revision;
    eventually("the other members", || async { texts(&store).len() == 2 }).await;
    assert!(!texts(&store).contains(&members[0].endpoint()), "it is known already: {:?}", texts(&store));
    members.remove(0).kill();
    eventually("writes", || async { attempt(&store, vec![put("later", "x")]).await.is_ok() }).await;
    eventually("renewals", || async { store.keep_alive(vec![lease]).await == [KeepAlive::Renewed(600)] })
        .await;
    eventually("the cluster", || async { store.away().is_none() }).await;
    let last = eventually_ok("a write", || attempt(&store, vec![put("last", "x")])).await.revision;
    eventually("the watch", || async {
        let mut watching = Watching::start(&store, "/cse-sr/", start);
        loop {
            match watching.next().await {
                Ok(_) if watching.reached >= last => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    })
    .await;
}

/// Without a sync interval the store learns no addresses.
#[tokio::test]
async fn nothing_is_learned_unasked() {
    let members = cluster(3);
    let store = connect(&members[0]).await;
    eventually_ok("a write", || attempt(&store, vec![put("a", "x")])).await;
    assert_eq!(texts(&store), [""; 0]);
}

/// By default etcd announces `localhost`, where another etcd may run. The store checks which cluster a learned address belongs to.
#[tokio::test]
async fn an_address_that_leads_to_another_cluster_is_not_used() {
    let other = Etcd::start();
    let (first, second) = (free_address().unwrap(), free_address().unwrap());
    let flags = vec![
        format!("--listen-client-urls=http://{first},http://{second}"),
        format!("--advertise-client-urls=http://{},http://{second},http://0.0.0.0:2379", other.address()),
    ];
    let etcd = Etcd::start_at(first, EtcdSetup { flags, ..EtcdSetup::default() });
    let store = connect_and_learn(&etcd).await;
    write(&store, vec![put("a", "x")]).await;
    eventually("its other address", || async { texts(&store) == [format!("http://{second}")] }).await;
    drop(etcd);
    eventually("the store to know", || async { store.away().is_some() }).await;
    for _ in 0..10 {
        assert!(attempt(&store, vec![put("b", "x")]).await.is_err());
    }
    let stranger = connect(&other).await;
    assert!(within("a listing", list(&stranger, &key(""))).await.unwrap().0.is_empty());
}
