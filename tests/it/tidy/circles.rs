//! No two files of the store import each other, directly or through others: each can be read without the one that reads it.
//!
//! A path that goes through a re-export counts as one to the file that holds the item. A file that holds modules
//! (`mod.rs`) needs its children, and a child may use what its own `mod.rs` holds.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::{crate_paths, reexports};
use super::source::{SourceFile, files_under};

type Path = Vec<String>;

/// The files by their module paths, with what each gives on by name.
struct Modules<'a> {
    files: BTreeMap<Path, &'a SourceFile>,
    given_on: BTreeMap<Path, BTreeMap<String, Path>>,
}

impl<'a> Modules<'a> {
    fn of(files: &'a [SourceFile]) -> Self {
        let module =
            |file: &SourceFile| -> Path { file.module().iter().map(|part| (*part).to_owned()).collect() };
        let given_on = |file: &SourceFile| {
            let named = reexports(file).into_iter().filter_map(|path| Some((path.last()?.clone(), path)));
            (module(file), named.collect())
        };
        Self {
            files: files.iter().map(|file| (module(file), file)).collect(),
            given_on: files.iter().map(given_on).collect(),
        }
    }

    /// The module whose file holds what a path names; none if it is not among the files.
    fn holder(&self, path: &[String]) -> Option<Path> {
        let mut path = path.to_vec();
        // A re-export leads on to another one, but not for ever.
        for _ in 0..8 {
            let length = (1..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]))?;
            let (module, rest) = path.split_at(length);
            let item = rest.first();
            match item.and_then(|item| self.given_on.get(module)?.get(item)) {
                Some(behind) => path = [behind, &rest[1..]].concat(),
                None => return Some(module.to_vec()),
            }
        }
        None
    }

    /// What a file needs: its children, and the holders of what it names, but for the files it is a child of.
    fn needs(&self, module: &Path) -> BTreeSet<Path> {
        let children =
            self.files.keys().filter(|other| other.split_last().is_some_and(|(_, up)| up == module));
        let named = crate_paths(self.files[module]).into_iter().filter_map(|path| self.holder(&path.parts));
        children.cloned().chain(named.filter(|other| !module.starts_with(other))).collect()
    }

    /// Modules in circles, or between two of them: what is left when those that need nothing left are taken away, and
    /// those that nothing left needs.
    fn in_circles(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut needs: BTreeMap<Path, BTreeSet<Path>> =
            self.files.keys().map(|module| (module.clone(), self.needs(module))).collect();
        loop {
            let before = needs.len();
            let left: BTreeSet<Path> = needs.keys().cloned().collect();
            needs.retain(|_, others| {
                others.retain(|other| left.contains(other));
                !others.is_empty()
            });
            let needed: BTreeSet<Path> = needs.values().flatten().cloned().collect();
            needs.retain(|module, _| needed.contains(module));
            if needs.len() == before {
                let text = |path: &Path| path.join("::");
                return needs.iter().map(|(from, to)| (text(from), to.iter().map(text).collect())).collect();
            }
        }
    }
}

#[test]
fn no_file_of_the_store_is_in_a_circle() {
    let files = files_under("src/store");
    assert!(files.len() > 40, "only {} files were found", files.len());
    let circles = Modules::of(&files).in_circles();
    assert!(circles.is_empty(), "these files of the store need each other: {circles:#?}");
}

#[test]
fn a_circle_is_found() {
    let check = |files: &[(&str, &str)]| {
        let files: Vec<SourceFile> = files.iter().map(|(path, code)| SourceFile::new(path, code)).collect();
        Modules::of(&files).in_circles().into_keys().collect::<Vec<_>>()
    };
    let one = ("src/s/a.rs", "use super::b::B;");
    assert!(check(&[one, ("src/s/b.rs", "use crate::s::c::C;"), ("src/s/c.rs", "")]).is_empty());
    assert_eq!(check(&[one, ("src/s/b.rs", "fn f(x: &crate::s::a::A) {}")]), ["s::a", "s::b"]);
    let through = [one, ("src/s/b.rs", "use super::c::C;"), ("src/s/c.rs", "use super::a::A;")];
    assert_eq!(check(&through), ["s::a", "s::b", "s::c"]);
    // A child may use its parent, and its parent's other children if those do not use it.
    let parent = ("src/s/mod.rs", "mod a;\nmod b;\npub use self::a::A;\npub struct P;");
    assert!(check(&[parent, one, ("src/s/b.rs", "use super::P;")]).is_empty());
    // Through a re-export, and through a folder as a whole.
    assert_eq!(check(&[parent, one, ("src/s/b.rs", "use super::A;")]), ["s::a", "s::b"]);
    let folder = [("src/s/d/mod.rs", "mod e;"), ("src/s/d/e.rs", "use crate::s::a::A;")];
    let user = ("src/s/a.rs", "use super::d::D;");
    assert_eq!(check(&[user, folder[0], folder[1]]), ["s::a", "s::d", "s::d::e"]);
    assert!(
        check(&[user, folder[0], ("src/s/d/e.rs", "#[cfg(test)]\nmod tests { use crate::s::a::A; }")])
            .is_empty()
    );
}
