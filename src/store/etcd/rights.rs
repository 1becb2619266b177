//! Asks etcd at the start whether its user has all rights that the registry needs.
//!
//! etcd checks the rights for both branches of a transaction but does only one of them. A transaction without compares never
//! does its second branch, so etcd checks the operations there without doing them.

use std::time::Duration;

use etcd_client::{GetOptions, Txn, TxnOp};

use super::entries::{prefix_end, prefix_start};
use super::nodes::{Effect, Nodes};
use crate::store::keys::{NEEDED, NeededKeys};
use crate::store::port::{Reason, StoreError};

/// An error with [`Reason::Denied`] names all missing rights.
pub(super) async fn check(nodes: &Nodes, user: Option<&str>, limit: Duration) -> Result<(), StoreError> {
    if let Err(error) = nodes.revision(limit).await
        && !is_permission(&error)
    {
        return Err(error);
    }
    let mut missing = Vec::new();
    for needed in &NEEDED {
        let (reads, writes) = (reads(needed), writes(needed));
        for (what, txn) in [("read", Txn::new().and_then(reads)), ("write", Txn::new().or_else(writes))] {
            let asked = nodes.call(Effect::Reads, nodes.call_limit(), |clients| {
                let txn = txn.clone();
                async move { clients.kv.clone().txn(txn).await }
            });
            match asked.await {
                Ok(_) => {}
                Err(error) if is_permission(&error) => missing.push((what, needed.prefix)),
                Err(error) => return Err(error),
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let each: Vec<String> = missing.iter().map(|(what, prefix)| format!("{what} {prefix}")).collect();
    let user = user.map_or_else(|| "this node's user".to_owned(), |user| format!("user {user:?}"));
    let message = format!(
        "{user} may not {}: grant it with `etcdctl role grant-permission ROLE --prefix=true readwrite PREFIX`",
        each.join(", nor "),
    );
    Err(StoreError::Aborted { reason: Reason::Denied, message })
}

fn is_permission(error: &StoreError) -> bool {
    matches!(error, StoreError::Aborted { reason: Reason::Denied, message } if message.contains("permission denied"))
}

fn reads(needed: &NeededKeys) -> Vec<TxnOp> {
    if needed.is_ranged {
        let all = GetOptions::new().with_range(prefix_end(needed.prefix.as_bytes())).with_keys_only();
        return vec![TxnOp::get(prefix_start(needed.prefix), Some(all.with_limit(1)))];
    }
    needed.keys.concat().into_iter().map(|key| TxnOp::get(key, None)).collect()
}

/// Uses deletions, because they need the right to write but no space: a full etcd refuses puts.
fn writes(needed: &NeededKeys) -> Vec<TxnOp> {
    needed.keys.concat().into_iter().map(|key| TxnOp::delete(key, None)).collect()
}
