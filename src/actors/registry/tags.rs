//! Writes of tags. A write replaces the whole set. It compares the former set if the new set depends on it.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::core::{RegistryCore, committed};
use super::messages::{ChangeTags, TagChange, WriteReply};
use super::services::NO_SERVICE;
use crate::domain::event::Revision;
use crate::domain::json::{self, TextMap};
use crate::error::{Code, Error};
use crate::store::{Compare, Key, Op, Txn, keys};

/// Changes the tags of a service.
pub(super) async fn change(core: Rc<RegistryCore>, message: ChangeTags) -> WriteReply<()> {
    let ChangeTags { tenant, service, change } = message;
    core.service(&tenant, service.as_str(), NO_SERVICE).await?;
    let document = keys::service(&tenant, service.as_str());
    let key = keys::tags(&tenant, service.as_str());
    let _turn = core.turn(&key).await?;
    let mut current = {
        let snapshot = core.reader.load();
        let node = snapshot.tenant(&tenant).and_then(|view| view.node(service.as_str()));
        node.and_then(|node| node.tags.clone())
    };
    let mut deadline = core.deadline();
    loop {
        deadline.check()?;
        let (tags, depends_on_current) = match changed(current.as_ref().map(|(tags, _)| &**tags), &change) {
            Ok(changed) => changed,
            Err(error) if current_is_exact(&core, &mut current, &key).await? => return Err(error),
            Err(_) => continue,
        };
        let mut compares = vec![Compare::Present(Key::clone(&document))];
        if depends_on_current {
            compares.push(match &current {
                Some((_, mod_revision)) => {
                    Compare::Unchanged { key: Key::clone(&key), mod_revision: *mod_revision }
                }
                None => Compare::Absent(Key::clone(&key)),
            });
        }
        let value = Bytes::from(json::encode(&tags));
        let then = vec![Op::Put { key: Key::clone(&key), value, lease: None }];
        let otherwise = vec![Op::Get(Key::clone(&document)), Op::Get(Key::clone(&key))];
        let outcome = core.commit(Txn { compares, then, otherwise }).await?;
        if outcome.succeeded {
            return Ok(committed((), &outcome));
        }
        let mut reads = outcome.reads.into_iter().map(|mut entries| entries.pop());
        if reads.next().flatten().is_none() {
            return Err(Error::new(Code::ServiceNotExists, NO_SERVICE));
        }
        current = reads.next().flatten().map(|entry| parse(&entry.value, entry.mod_revision));
    }
}

/// Reads the tags from the store. `true` if they equal `current`, so that an error derived from `current` is right.
async fn current_is_exact(
    core: &RegistryCore,
    current: &mut Option<(Arc<TextMap>, Revision)>,
    key: &Key,
) -> Result<bool, Error> {
    let read = Txn { then: vec![Op::Get(Key::clone(key))], ..Txn::default() };
    let outcome = core.commit(read).await?;
    let stored =
        outcome.reads.into_iter().flatten().next().map(|entry| parse(&entry.value, entry.mod_revision));
    let is_exact =
        stored.as_ref().map(|(_, revision)| revision) == current.as_ref().map(|(_, revision)| revision);
    *current = stored;
    Ok(is_exact)
}

fn parse(stored: &[u8], mod_revision: Revision) -> (Arc<TextMap>, Revision) {
    // An unreadable value holds no tags, and the next write replaces it.
    (Arc::new(json::decode(stored).unwrap_or_default()), mod_revision)
}

/// The new set, and whether it depends on the current one.
fn changed(current: Option<&TextMap>, change: &TagChange) -> Result<(TextMap, bool), Error> {
    let mut tags = current.cloned().unwrap_or_default();
    match change {
        TagChange::Replace(tags) => return Ok((tags.clone(), false)),
        TagChange::Set { key, value } => {
            let tag = tags.get_mut(key);
            let missing = || Error::new(Code::TagNotExists, "Tag does not exist, please add one first.");
            value.clone_into(tag.ok_or_else(missing)?);
        }
        TagChange::Remove(keys) => {
            for key in keys {
                // A key that is given twice is missing the second time.
                if tags.remove(key).is_none() {
                    let detail = format!("Delete tags failed for this key {key} does not exist.");
                    return Err(Error::new(Code::TagNotExists, detail));
                }
            }
        }
    }
    Ok((tags, true))
}
