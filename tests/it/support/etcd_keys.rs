//! The keys of an etcd, read and written without the daemon. The requests use etcd's JSON interface, because keys and values may be invalid
//! UTF-8 and leases need given ids.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::etcd::Etcd;
use super::http::Client;

/// A value as etcd holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredValue {
    pub value: Vec<u8>,
    /// The lease of the key; 0 if it has none.
    pub lease: i64,
    /// Revision of its last put.
    pub mod_revision: i64,
}

impl StoredValue {
    /// The value as text. Invalid UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.value).into_owned()
    }
}

/// A lease's times in seconds, and its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseState {
    /// The TTL it was granted with.
    pub granted: i64,
    /// The remaining time.
    pub remaining: i64,
    /// The keys attached to it, sorted.
    pub keys: Vec<String>,
}

/// The keys of an etcd. Each call fails the test if etcd refuses it.
#[derive(Clone, Debug)]
pub struct EtcdKeys(Client);

impl EtcdKeys {
    /// The keys of this server.
    pub fn of(etcd: &Etcd) -> Self {
        Self(Client::new(etcd.address()))
    }

    /// Grants a lease with this id.
    pub fn grant(&self, lease: i64, ttl_seconds: i64) {
        let granted =
            self.call("lease/grant", json!({"ID": lease.to_string(), "TTL": ttl_seconds.to_string()}));
        assert_eq!(granted["ID"], json!(lease.to_string()), "{granted}");
    }

    /// A lease's state.
    pub fn time_to_live(&self, lease: i64) -> LeaseState {
        let state = self.call("kv/lease/timetolive", json!({"ID": lease.to_string(), "keys": true}));
        let keys = state["keys"].as_array().into_iter().flatten();
        let mut keys: Vec<String> =
            keys.map(|key| String::from_utf8_lossy(&bytes(key)).into_owned()).collect();
        keys.sort();
        LeaseState { granted: number(&state["grantedTTL"]), remaining: number(&state["TTL"]), keys }
    }

    /// Puts a key. Lease 0 means none.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, lease: i64) {
        self.put_all(&[(key.as_ref(), value.as_ref())], lease);
    }

    /// Puts keys in one transaction; its revision. Lease 0 means none.
    pub fn put_all(&self, pairs: &[(&[u8], &[u8])], lease: i64) -> i64 {
        let puts = pairs.iter().map(|(key, value)| {
            json!({"request_put": {
                "key": STANDARD.encode(key), "value": STANDARD.encode(value), "lease": lease.to_string(),
            }})
        });
        let answer = self.call("kv/txn", json!({"success": puts.collect::<Vec<_>>()}));
        number(&answer["header"]["revision"])
    }

    /// Deletes a key.
    pub fn delete(&self, key: &str) {
        self.call("kv/deleterange", json!({"key": STANDARD.encode(key)}));
    }

    /// All keys below a prefix, except those that are invalid UTF-8.
    pub fn below(&self, prefix: &str) -> BTreeMap<String, StoredValue> {
        let mut end = prefix.as_bytes().to_vec();
        *end.last_mut().expect("a prefix") += 1;
        let range = json!({"key": STANDARD.encode(prefix), "range_end": STANDARD.encode(end)});
        let answer = self.call("kv/range", range);
        let pairs = answer["kvs"].as_array().into_iter().flatten();
        let held = pairs.filter_map(|pair| {
            let key = String::from_utf8(bytes(&pair["key"])).ok()?;
            let (lease, mod_revision) = (number(&pair["lease"]), number(&pair["mod_revision"]));
            Some((key, StoredValue { value: bytes(&pair["value"]), lease, mod_revision }))
        });
        held.collect()
    }

    /// One key.
    pub fn find(&self, key: &str) -> Option<StoredValue> {
        self.below(key).remove(key)
    }

    /// The current revision.
    pub fn revision(&self) -> i64 {
        let answer = self.call("kv/range", json!({"key": STANDARD.encode("/"), "count_only": true}));
        number(&answer["header"]["revision"])
    }

    fn call(&self, method: &str, body: Value) -> Value {
        let answer = self.0.post(&format!("/v3/{method}"), &body).expect("etcd answers");
        assert_eq!(answer.status, 200, "{method} {body}: {}", answer.text());
        answer.json()
    }
}

/// Reads a number. etcd leaves out zeros and writes 64-bit numbers as texts.
fn number(value: &Value) -> i64 {
    value.as_str().map_or(0, |text| text.parse().expect("a number"))
}

fn bytes(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap_or_default()).expect("base64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read() {
        let etcd = Etcd::start();
        let keys = EtcdKeys::of(&etcd);
        keys.grant(77, 600);
        keys.put("/a/1", "x", 0);
        let revision = keys.put_all(&[(b"/a/2", b""), (b"/a/3", b"\xff")], 77);
        keys.put(b"/a/\xff", "no text", 0);
        keys.delete("/a/1");
        let held = keys.below("/a/");
        assert_eq!(held.keys().map(String::as_str).collect::<Vec<_>>(), ["/a/2", "/a/3"]);
        assert_eq!(held["/a/3"], StoredValue { value: vec![0xff], lease: 77, mod_revision: revision });
        assert_eq!((keys.find("/a/1"), keys.find("/a/2").unwrap().text()), (None, String::new()));
        assert_eq!(keys.revision(), revision + 2);
        let lease = keys.time_to_live(77);
        assert!((1..=600).contains(&lease.remaining), "{lease:?}");
        assert_eq!((lease.granted, lease.keys), (600, vec!["/a/2".to_owned(), "/a/3".to_owned()]));
    }
}
