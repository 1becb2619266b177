//! Deletions for the jobs of the RetireActor. The jobs choose from a snapshot, which may be old. Whether a chosen item may go
//! is decided here, inside the store's transaction.

use std::rc::Rc;

use super::core::RegistryCore;
use super::messages::{Committed, RetireEmptyService, RetireSchemaContents, RetireService, WriteReply};
use super::schema_texts;
use super::services::{self, DeletionTerms, NO_SERVICE, Protection};
use crate::error::{Code, Error};
use crate::recorder::Purpose;
use crate::store::{Compare, Key, Op, keys};

/// Deletes a service, unless it has instances. Consumers do not protect it.
pub(super) async fn retire_service(core: Rc<RegistryCore>, message: RetireService) -> WriteReply<()> {
    let RetireService { tenant, service } = message;
    let terms = DeletionTerms { purpose: Purpose::Retire, ..DeletionTerms::default() };
    services::delete(&core, &tenant, &service, Protection::Instances, terms).await
}

/// Deletes a service, unless it has instances or consumers, or was used since it was marked as empty.
pub(super) async fn retire_empty_service(
    core: Rc<RegistryCore>,
    message: RetireEmptyService,
) -> WriteReply<()> {
    let RetireEmptyService { tenant, service, empty_at, marked_at } = message;
    core.be_current().await?;
    let snapshot = core.reader.load_full();
    let node = snapshot.tenant(&tenant).and_then(|view| view.node(service.as_str()));
    let (node, view) = node
        .and_then(|node| Some((node, node.view.as_ref()?)))
        .ok_or_else(|| Error::new(Code::ServiceNotExists, NO_SERVICE))?;
    if node.active_at > empty_at {
        return Err(Error::new(
            Code::ServiceHasInstances,
            "The service was used since it was marked as empty.",
        ));
    }
    let (document, mark) =
        (keys::service(&tenant, service.as_str()), keys::empty_service(&tenant, service.as_str()));
    let unchanged = |key: &Key, mod_revision| Compare::Unchanged { key: Key::clone(key), mod_revision };
    let terms = DeletionTerms {
        purpose: Purpose::Retire,
        compares: vec![unchanged(&document, view.record.mod_revision), unchanged(&mark, marked_at)],
        also: vec![Op::Delete(mark)],
    };
    services::delete(&core, &tenant, &service, Protection::InstancesAndConsumers, terms).await
}

/// Deletes contents that nothing refers to. Answers how many.
pub(super) async fn retire_schema_contents(
    core: Rc<RegistryCore>,
    message: RetireSchemaContents,
) -> WriteReply<usize> {
    let RetireSchemaContents { tenant, hashes } = message;
    let (mut deleted, mut revision) = (0, None);
    for hash in hashes {
        if let Some(at) = schema_texts::delete_unreferenced(&core, &tenant, &hash).await? {
            deleted += 1;
            revision = Some(at);
        }
    }
    // A snapshot holds no contents, so the caller has nothing to wait for. The revision only says what was written.
    Ok(Committed { value: deleted, revision })
}
