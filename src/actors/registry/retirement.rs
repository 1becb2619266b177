//! Deletions for the jobs of the RetireActor. The jobs choose from a snapshot, which may be old. Whether a chosen item may go
//! is decided here, inside the store's transaction.

use std::rc::Rc;

use super::core::RegistryCore;
use super::messages::{Committed, RetireSchemaContents, RetireService, WriteReply};
use super::schema_texts;
use super::services::{self, Protection};

/// Deletes a service, unless it has instances. Consumers do not protect it.
pub(super) async fn retire_service(core: Rc<RegistryCore>, message: RetireService) -> WriteReply<()> {
    let RetireService { tenant, service } = message;
    services::delete(&core, &tenant, &service, Protection::Instances).await
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
