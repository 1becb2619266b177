//! Deletions the retirement jobs ask for. What to ask for they choose from a snapshot, which may be behind; whether it
//! may go is decided here, inside the store's transaction.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::core::{RegistryCore, store_error};
use super::messages::{Committed, Reply, RetireSchemaContents, RetireService};
use super::services::{self, Protection};
use crate::domain::Tenant;
use crate::error::Error;
use crate::store::{Compare, Op, Txn, TxnOutcome, keys};

/// Deletes a service unless it has instances. Consumers do not protect it.
pub(super) async fn retire_service(core: Rc<RegistryCore>, message: RetireService) -> Reply<()> {
    let RetireService { tenant, service } = message;
    services::delete(&core, &tenant, &service, Protection::Instances).await
}

/// Deletes contents that nothing refers to; answers how many.
///
/// A reference may be written at this very moment, and whoever writes one to a content that is there does not touch the
/// content (other servers on the same etcd do it so too): no compare on the content would notice. So the transaction
/// that deletes compares all references of the tenant. If the reference comes first, the deletion is refused; if the
/// deletion comes first, the writer's compare finds the content missing, and it writes the content again.
pub(super) async fn retire_schema_contents(
    core: Rc<RegistryCore>,
    message: RetireSchemaContents,
) -> Reply<usize> {
    let RetireSchemaContents { tenant, hashes } = message;
    let (mut deleted, mut revision) = (0, None);
    for hash in hashes {
        let outcome = commit_alone(&core, deletion(&core, &tenant, &hash)).await?;
        if outcome.succeeded && outcome.changed {
            deleted += 1;
            revision = Some(outcome.revision);
        }
    }
    // A snapshot holds no contents: nothing to wait for, but the revision says what was written.
    Ok(Committed { value: deleted, revision })
}

fn deletion(core: &RegistryCore, tenant: &Tenant, hash: &Arc<str>) -> Txn {
    let prefix = keys::schema_refs_of(tenant);
    let has_references = {
        let snapshot = core.reader.load();
        let view = snapshot.tenant(tenant);
        view.is_some_and(|view| view.nodes().any(|(_, node)| !node.schema_refs.is_empty()))
    };
    // The snapshot only says which of the two compares can hold; if it is behind, neither does, and the content stays
    // until the next run.
    let unreferenced = if has_references {
        Compare::NoneBelowIs { prefix, value: Bytes::copy_from_slice(hash.as_bytes()) }
    } else {
        Compare::NoneBelow(prefix)
    };
    let then = vec![Op::Delete(keys::schema_content(tenant, hash))];
    Txn { compares: vec![unreferenced], then, otherwise: Vec::new() }
}

/// Past the batcher: transactions of one batch may be judged by the state before the batch, so a reference written beside
/// the deletion would not be seen by it.
async fn commit_alone(core: &RegistryCore, txn: Txn) -> Result<TxnOutcome, Error> {
    let outcome = core.store.batch(vec![txn]).await.pop();
    let outcome = outcome.unwrap_or_else(|| {
        Err(crate::store::StoreError::Unknown { message: "the store answered nothing".to_owned() })
    });
    outcome.map_err(|error| store_error(&error))
}
