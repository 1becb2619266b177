//! How the store holds a key: the keys of a folder share its text, and a name of 32 hexadecimal digits is packed. With
//! 100,000 instances of two keys each this saves a quarter of the store's memory. A folder also has the models of its values, because
//! the values of a folder, such as the documents of a service's instances, resemble each other.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::super::port::Key;
use crate::packed::compact::{Compact, Models};
use crate::packed::name::HexName;

/// A key's text up to and including its last slash.
#[derive(Debug)]
pub(super) struct KeyFolder {
    text: Box<str>,
    /// What the next values of the folder are compared with.
    models: Mutex<Models>,
}

impl PartialEq for KeyFolder {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for KeyFolder {}

/// A key in two parts, its folder and its name. Its order is the order of the whole text. A text has only one split and one form, so equal
/// keys have equal parts. It takes 24 bytes, because the longer form is in a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyText {
    /// The name is 32 hexadecimal digits, as that of most keys.
    Hex(Arc<KeyFolder>, HexName),
    Plain(Box<PlainKey>),
}

/// Takes one allocation of 64 bytes, unless the name is longer than 48 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlainKey {
    folder: Arc<KeyFolder>,
    /// The text.
    name: SmallVec<[u8; 48]>,
}

/// The folders of all keys, each once. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Folders(Arc<Mutex<KnownFolders>>);

#[derive(Debug, Default)]
struct KnownFolders {
    by_text: HashSet<ByFolder>,
    /// How many were left when the empty ones were last forgotten.
    left: usize,
}

/// So few folders may all be empty.
const FEW: usize = 1_024;

/// A folder that is found by its text.
#[derive(Debug, PartialEq, Eq)]
struct ByFolder(Arc<KeyFolder>);

impl Hash for ByFolder {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (*self.0.text).hash(state);
    }
}

impl Borrow<str> for ByFolder {
    fn borrow(&self) -> &str {
        &self.0.text
    }
}

impl Folders {
    /// Splits a key.
    pub(super) fn key(&self, text: &str) -> KeyText {
        let (folder, name) = split(text);
        KeyText::new(self.folder(folder), name)
    }

    fn folder(&self, text: &str) -> Arc<KeyFolder> {
        let mut folders = self.0.lock();
        if let Some(known) = folders.by_text.get(text) {
            return Arc::clone(&known.0);
        }
        let new = Arc::new(KeyFolder { text: text.into(), models: Mutex::default() });
        folders.by_text.insert(ByFolder(Arc::clone(&new)));
        new
    }

    /// Forgets the folders that no key is in.
    pub(super) fn forget_empty(&self) {
        self.0.lock().forget_empty();
    }

    /// Does so if there are twice as many folders as were left the last time.
    pub(super) fn forget_empty_if_doubled(&self) {
        let mut folders = self.0.lock();
        if folders.by_text.len() >= (2 * folders.left).max(FEW) {
            folders.forget_empty();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().by_text.len()
    }
}

impl KnownFolders {
    fn forget_empty(&mut self) {
        self.by_text.retain(|folder| Arc::strong_count(&folder.0) > 1);
        self.left = self.by_text.len();
    }
}

/// The folder of a key, and the name in it.
fn split(key: &str) -> (&str, &str) {
    key.rfind('/').map_or(("", key), |slash| key.split_at(slash + 1))
}

/// Splits keys that come one after another. Remembers two folders, because a registration has a key in each of two. So most keys need no
/// look at the folders that all threads share.
pub(super) struct KeyReader<'f> {
    folders: &'f Folders,
    recent: SmallVec<[Arc<KeyFolder>; 2]>,
}

impl<'f> KeyReader<'f> {
    pub(super) fn new(folders: &'f Folders) -> Self {
        Self { folders, recent: SmallVec::new() }
    }

    pub(super) fn key(&mut self, text: &str) -> KeyText {
        let (folder, name) = split(text);
        let known = self.recent.iter().find(|known| *known.text == *folder).cloned();
        let folder = known.unwrap_or_else(|| {
            if self.recent.len() == self.recent.inline_size() {
                self.recent.remove(0);
            }
            let new = self.folders.folder(folder);
            self.recent.push(Arc::clone(&new));
            new
        });
        KeyText::new(folder, name)
    }
}

impl KeyText {
    fn new(folder: Arc<KeyFolder>, name: &str) -> Self {
        match HexName::new(name) {
            Some(name) => Self::Hex(folder, name),
            None => Self::Plain(Box::new(PlainKey { folder, name: name.as_bytes().into() })),
        }
    }

    /// A value of this key, made compact by its likeness to other values of the folder.
    pub(super) fn compact(&self, value: &[u8]) -> Compact {
        let folder = self.folder();
        let known = folder.models.lock().clone();
        let mut models = known.clone();
        let compact = Compact::new(&mut models, value);
        if models != known {
            *folder.models.lock() = models;
        }
        compact
    }

    fn folder(&self) -> &Arc<KeyFolder> {
        match self {
            Self::Hex(folder, _) => folder,
            Self::Plain(key) => &key.folder,
        }
    }

    /// The name. `space` holds it if it is packed.
    fn name<'a>(&'a self, space: &'a mut [u8; 32]) -> &'a [u8] {
        match self {
            Self::Hex(_, name) => name.bytes(space),
            Self::Plain(key) => &key.name,
        }
    }

    /// Appends the whole text.
    pub(super) fn append_to(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.folder().text.as_bytes());
        bytes.extend_from_slice(self.name(&mut [0; 32]));
    }

    /// The whole text.
    pub(super) fn to_key(&self) -> Key {
        let mut text = String::with_capacity(self.len());
        text.push_str(&self.folder().text);
        // Both forms of a name are text.
        text.push_str(std::str::from_utf8(self.name(&mut [0; 32])).unwrap_or_default());
        Key::from(text)
    }

    /// Bytes of the whole text.
    pub(super) fn len(&self) -> usize {
        self.folder().text.len() + self.name(&mut [0; 32]).len()
    }

    pub(super) fn starts_with(&self, prefix: &str) -> bool {
        let (prefix, folder) = (prefix.as_bytes(), self.folder().text.as_bytes());
        match prefix.strip_prefix(folder) {
            Some(rest) => self.name(&mut [0; 32]).starts_with(rest),
            None => folder.starts_with(prefix),
        }
    }

    /// Compares with a whole text.
    pub(super) fn order_text(&self, text: &str) -> Ordering {
        self.order_joined(self.folder().text.as_bytes(), text.as_bytes())
    }

    /// Compares `start` followed by the name with `whole`.
    fn order_joined(&self, start: &[u8], whole: &[u8]) -> Ordering {
        match whole.split_at_checked(start.len()) {
            Some((first, rest)) => start.cmp(first).then_with(|| self.name(&mut [0; 32]).cmp(rest)),
            // `whole` is shorter. If `start` begins with it, `whole` comes first.
            None => start.cmp(whole),
        }
    }
}

impl PartialOrd for KeyText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeyText {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(self.folder(), other.folder()) {
            return match (self, other) {
                (Self::Hex(_, left), Self::Hex(_, right)) => left.cmp(right),
                _ => self.name(&mut [0; 32]).cmp(other.name(&mut [0; 32])),
            };
        }
        let (left, right) = (self.folder().text.as_bytes(), other.folder().text.as_bytes());
        let common = left.len().min(right.len());
        let ((left, left_rest), (right, right_rest)) = (left.split_at(common), right.split_at(common));
        // One of the rests is empty.
        left.cmp(right).then_with(|| match right_rest {
            [] => self.order_joined(left_rest, other.name(&mut [0; 32])),
            _ => other.order_joined(right_rest, self.name(&mut [0; 32])).reverse(),
        })
    }
}

impl fmt::Display for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef";

    fn samples() -> Vec<String> {
        let parts = [
            "", "/", "a", "a/", "a/b", "a/b-c", "a/b/", "a/b/c", "a/b0", "b", "/a", "/a/", "/a//", "ü/ö", "ü",
        ];
        let names = [
            HEX,
            "0123456789abcdef0123456789abcdeF",
            "0123456789abcdef0123456789abcde",
            "ffffffffffffffffffffffffffffffff",
            "0",
        ];
        let joined = parts.iter().flat_map(|part| names.iter().map(move |name| format!("{part}{name}")));
        let below = parts.iter().map(|part| format!("{part}/{HEX}/x"));
        parts.iter().map(|part| (*part).to_owned()).chain(joined).chain(below).collect()
    }

    #[test]
    fn orders_and_compares_as_text() {
        for left in samples() {
            let folders = Folders::default();
            let held = folders.key(&left);
            assert_eq!(&*held.to_key(), left);
            assert_eq!(held.len(), left.len());
            let mut bytes = Vec::new();
            held.append_to(&mut bytes);
            assert_eq!(bytes, left.as_bytes());
            for right in samples() {
                for other in [folders.key(&right), Folders::default().key(&right)] {
                    assert_eq!(held.cmp(&other), left.cmp(&right), "{left} and {right}");
                    assert_eq!(held == other, left == right, "{left} and {right}");
                }
                assert_eq!(held.order_text(&right), left.cmp(&right), "{left} and the text {right}");
                assert_eq!(held.starts_with(&right), left.starts_with(&right), "{left} starts with {right}");
            }
        }
    }

    #[test]
    fn keys_share_their_folder_and_generated_ids_are_packed() {
        let folders = Folders::default();
        let first = folders.key(&format!("/cse-sr/inst/files/d/p/s/{HEX}"));
        let second = folders.key("/cse-sr/inst/files/d/p/s/other");
        assert!(Arc::ptr_eq(first.folder(), second.folder()));
        assert!(matches!(first, KeyText::Hex(..)) && matches!(second, KeyText::Plain(_)));
        let elsewhere = folders.key("/cse-sr/inst/files/d/p/t/other");
        assert!(!Arc::ptr_eq(first.folder(), elsewhere.folder()));
        drop(second);
        folders.forget_empty();
        assert_eq!(folders.len(), 2);
        drop((first, elsewhere));
        folders.forget_empty();
        assert_eq!(folders.len(), 0);
        assert_eq!((size_of::<KeyText>(), size_of::<PlainKey>()), (24, 64));
    }
}
