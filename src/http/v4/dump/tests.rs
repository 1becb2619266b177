//! The dump of made-up snapshots: its entries, and that it stops after each slice.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::domain::json::TextMap;
use crate::http::slices::tests::walked;
use crate::http::v4::govern::tests::{MadeUp, fewest, many};

fn dump<'a>(snapshot: &'a Snapshot, grant: &'a Grant) -> Dump<'a> {
    Dump { cache: Some(snapshot), info: None, cluster: "default", grant }
}

#[test]
fn the_dump_stops_after_each_slice() {
    const SERVICES: usize = 10_000;
    let snapshot = many(SERVICES);
    let (text, slices) = walked(&dump(&snapshot, &Grant::All));
    // Services, indexes and instances.
    let fewest = fewest(3 * SERVICES, text.len());
    assert!(slices >= fewest && fewest > 10, "{slices} slices, {fewest} at least");
}

#[test]
fn an_entry_has_key_revision_cluster_and_value() {
    let mut made_up = MadeUp::default();
    made_up.service("s", "testing", "app", "n");
    made_up.instance("s", "i");
    let snapshot = made_up.snapshot();
    let parsed = |grant: &Grant| -> Value {
        let text = walked(&dump(&snapshot, grant)).0;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    let whole = parsed(&Grant::All);
    let service = json!({"serviceId": "s", "appId": "app", "serviceName": "n", "version": "1.0.0", "schemas": ["x"],
        "environment": "testing"});
    let instance = json!({"instanceId": "i", "serviceId": "s", "properties": {"own": "1", "zone": "z"}});
    let entry = |key: &str, rev: i64, value: Value| json!({"key": key, "rev": rev, "cluster": "default", "value": value});
    let expected = json!({"cache": {
        "services": [entry("/cse-sr/ms/files/default/default/s", 0, service)],
        "serviceIndexes": [entry("/cse-sr/ms/indexes/default/default/testing/app/n/1.0.0", 1, json!("s"))],
        "instances": [entry("/cse-sr/inst/files/default/default/s/i", 2, instance)],
    }});
    assert_eq!(whole, expected);
    let labelled =
        |app_id: &str| Grant::Labelled(Arc::from([TextMap::from([("appId".to_owned(), app_id.to_owned())])]));
    assert_eq!(parsed(&labelled("app")), expected);
    assert_eq!(parsed(&labelled("other")), json!({"cache": {}}));
}
