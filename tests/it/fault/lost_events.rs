//! Events of the store get lost on the way to one of two nodes, without a word. The proxy between that node and etcd garbles the keys of
//! some events, so that the node takes them for keys of somebody else.
//!
//! The node finds out that it does not show what the store holds, and repairs itself: with its comparison in the background, and because
//! the other node has another digest. (For the embedded store, which no proxy can stand before, `actors/scrub/tests.rs` does the same in
//! the process.)

use serde_json::{Value, json};

use super::agreement::{in_etcd, on_node};
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::Client;
use crate::support::proxy::Proxy;
use crate::support::registry::{Instance, Registry, next_event};
use crate::support::store::on_etcd;
use crate::support::ws::WebSocket;

struct Pair {
    etcd: Etcd,
    proxy: Proxy,
    /// Loses events.
    deaf: Daemon,
    near: Daemon,
    provider: String,
}

impl Pair {
    /// Two nodes. The one that loses events compares itself with the store this often.
    fn start(period: &str) -> Self {
        let etcd = Etcd::start();
        let proxy = Proxy::start(etcd.address()).unwrap();
        let settings = Settings::default().conf("registry.scrub.period", period);
        let deaf = Daemon::start(on_etcd(settings, &[proxy.address()])).unwrap();
        let settings = Settings::default().conf("registry.scrub.period", "0");
        let near = Daemon::start(on_etcd(settings, &[etcd.address()])).unwrap();
        let registry = Registry::new(near.client(), "default").patient();
        let provider = registry.create_service("provider", "1.0.0").unwrap();
        registry.register(&provider, &Instance::named("known")).unwrap();
        eventually(GENEROUS, || on_node(&deaf.client(), &provider).map(|_| ()));
        Self { etcd, proxy, deaf, near, provider }
    }

    fn shows(&self, node: &Daemon, id: &str) -> bool {
        on_node(&node.client(), &self.provider).is_ok_and(|shown| shown.contains_key(id))
    }

    /// Registers instances at the near node until the other one has lost the events of one. That one's id.
    fn lose(&self) -> String {
        let registry = Registry::new(self.near.client(), "default").patient();
        for number in 0..10 {
            let (lost, next) = (format!("lost{number}"), format!("next{number}"));
            // As if they were keys of another tree.
            let keys = ["files", "leases"].map(|tree| {
                let rest = format!("/{tree}/default/default/{}/lost", self.provider);
                (format!("/cse-sr/inst{rest}"), format!("/cse-sr/lost{rest}"))
            });
            self.proxy.garble(&keys);
            registry.register(&self.provider, &Instance::named(&lost)).unwrap();
            registry.register(&self.provider, &Instance::named(&next)).unwrap();
            // The events come in order, so those before are lost.
            eventually(GENEROUS, || if self.shows(&self.deaf, &next) { Ok(()) } else { Err("not yet") });
            let is_lost = !self.shows(&self.deaf, &lost);
            self.proxy.garble_nothing();
            if is_lost {
                return lost;
            }
            // The key came in two pieces, or the node has compared itself already.
        }
        panic!("nothing was lost");
    }

    /// Waits until the document and the lease that were lost are counted, which happens after the node shows them.
    #[track_caller]
    fn repairs_are_counted(&self) {
        eventually(GENEROUS, || match self.deaf.metric("service_center_snapshot_repairs_total") {
            2.. => Ok(()),
            count => Err(format!("{count} repairs")),
        });
    }

    fn all_agree(&self) {
        eventually(GENEROUS, || {
            let held = in_etcd(&self.etcd, &self.provider)?;
            for node in [&self.deaf, &self.near] {
                let shown = on_node(&node.client(), &self.provider)?;
                if shown != held {
                    return Err(format!("{} shows {:?}", node.address(), shown.keys()));
                }
            }
            Ok(())
        });
    }
}

fn nodes(client: &Client) -> Result<Vec<Value>, String> {
    let answer = client.get("/v4/default/admin/nodes").map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(answer.text());
    }
    Ok(answer.json()["items"].as_array().cloned().unwrap_or_default())
}

fn diagnose(client: &Client) -> Result<Value, String> {
    let answer = client.get("/v4/default/admin/diagnose").map_err(|error| error.to_string())?;
    if answer.status == 200 { Ok(answer.json()) } else { Err(answer.text()) }
}

/// Injected: the events of one registration are lost. Expected: the node shows the instance within a period, tells watchers, counts it,
/// and finds nothing more.
#[test]
fn a_node_repairs_what_it_has_missed_within_a_period() {
    let pair = Pair::start("1s");
    let registry = Registry::new(pair.deaf.client(), "default").patient();
    let consumer = registry.create_service("consumer", "1.0.0").unwrap();
    registry.depend(&consumer, "provider", &pair.provider);
    let mut watch = WebSocket::open(pair.deaf.address(), &registry.watch_target(&consumer), &[]).unwrap();
    let lost = pair.lose();
    let told = eventually(GENEROUS, || match next_event(&mut watch, GENEROUS) {
        Ok((action, id)) if id == lost => Ok(action),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(told, "CREATE");
    pair.all_agree();
    pair.repairs_are_counted();
    // A heartbeat renews the lease that was lost with the instance.
    registry.heartbeat(&pair.provider, &lost).unwrap();
    let found = eventually(GENEROUS, || diagnose(&pair.deaf.client()));
    assert_eq!((&found["total"], &found["items"]), (&json!(0), &json!([])), "{found}");
    assert_eq!(pair.near.metric("service_center_snapshot_differences_total"), 0);
    let alarms = pair.deaf.client().get("/v4/default/admin/alarms").unwrap().json();
    assert_eq!(alarms["alarms"][0]["id"], "DigestDiffers", "{alarms}");
}

/// Injected: the same, with a node that does not compare itself. Expected: the nodes find out that their digests differ, and the node that
/// is wrong repairs itself. Afterwards all nodes agree.
#[test]
fn nodes_find_out_that_they_show_something_else() {
    let pair = Pair::start("0");
    let lost = pair.lose();
    eventually(GENEROUS, || if pair.shows(&pair.deaf, &lost) { Ok(()) } else { Err("not repaired yet") });
    pair.all_agree();
    pair.repairs_are_counted();
    assert_eq!(pair.near.metric("service_center_snapshot_differences_total"), 0);
    for node in [&pair.deaf, &pair.near] {
        let rows = eventually(GENEROUS, || {
            let rows = nodes(&node.client())?;
            let agree = rows.iter().filter(|row| row["agrees"] == true).count();
            if agree == 2 { Ok(rows) } else { Err(format!("{rows:?}")) }
        });
        let own: Vec<&Value> = rows.iter().filter(|row| row["self"] == true).collect();
        assert_eq!(own.len(), 1, "{rows:?}");
        for row in &rows {
            assert_eq!(row["ours"], true, "{row}");
            assert!(row["instanceId"].as_str().is_some_and(|id| !id.is_empty()), "{row}");
            assert!(row["digest"].as_str().is_some_and(|digest| digest.len() == 16), "{row}");
            assert!(row["clockOffsetSeconds"].as_f64().is_some_and(|offset| offset.abs() < 60.0), "{row}");
        }
    }
}
