//! What the RegistryActor remembers about the texts of schemas: the texts that wait for their deletion, and lengths of texts.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::domain::Tenant;
use crate::error::{Code, Error};
use crate::store::Key;

/// How many texts may wait for their deletion. While so many wait, no text is replaced.
pub(super) const MAX_LEFT: usize = 1_000;
/// How many lengths are remembered. Each takes about 150 bytes.
pub(super) const MAX_LENGTHS: usize = 16_384;

/// Lives on the actor's thread.
#[derive(Default)]
pub(super) struct SchemaTextTable {
    /// Texts that may have lost their last reference.
    pub(super) left: RefCell<BTreeSet<(Tenant, Arc<str>)>>,
    /// Whether `schema_texts::sweep` runs.
    pub(super) sweeping: Cell<bool>,
    /// Lengths by key. A key is the hash of its text, so a length never changes.
    pub(super) lengths: RefCell<HashMap<Key, usize>>,
}

impl SchemaTextTable {
    /// 500011 while too many former texts wait for their deletion. A replacement would add one.
    pub(super) fn check_room(&self) -> Result<(), Error> {
        if self.left.borrow().len() < MAX_LEFT {
            return Ok(());
        }
        let detail = format!("{MAX_LEFT} replaced schema texts wait for their deletion, try again");
        Err(Error::new(Code::Unavailable, detail))
    }

    /// Keeps texts that may have lost their last reference, for `schema_texts::sweep`.
    pub(super) fn leave(&self, tenant: &Tenant, hashes: impl IntoIterator<Item = Arc<str>>) {
        let mut left = self.left.borrow_mut();
        for hash in hashes {
            if left.len() >= MAX_LEFT {
                log::warn!(
                    "the schema text {hash} of {tenant} is left to the retirement job, because {MAX_LEFT} others wait"
                );
                return;
            }
            left.insert((tenant.clone(), hash));
        }
    }

    pub(super) fn note_length(&self, key: Key, length: usize) {
        let mut lengths = self.lengths.borrow_mut();
        if lengths.len() >= MAX_LENGTHS {
            lengths.clear();
        }
        lengths.insert(key, length);
    }
}
