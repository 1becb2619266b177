//! No two files import each other, directly or through others. A `mod.rs` and the files in its own folder are the
//! exception: such a file may use what its `mod.rs` defines.
//!
//! The graph has an edge from each file to each file that it names by a path. A path through a re-export leads to the file
//! that defines the name, because that file is what the reader has to open.

use std::collections::{BTreeMap, BTreeSet};

use super::assert_none;
use super::paths::{crate_paths, use_trees};
use super::source::{SourceFile, files_under};

/// A module's path from the crate's root.
type Module = Vec<String>;

/// The files of a crate, and the names that each of them re-exports.
struct Crate<'f> {
    files: BTreeMap<Module, &'f SourceFile>,
    /// The path that a name stands for, by module and visible name.
    reexports: BTreeMap<(Module, String), Vec<String>>,
}

impl<'f> Crate<'f> {
    fn new(files: &'f [SourceFile]) -> Self {
        let module =
            |file: &SourceFile| file.module().iter().map(|&part| part.to_owned()).collect::<Module>();
        let shipped = files.iter().filter(|file| !file.shipped_code.trim().is_empty());
        let files: BTreeMap<Module, &SourceFile> = shipped.map(|file| (module(file), file)).collect();
        let mut reexports = BTreeMap::new();
        for (module, file) in &files {
            for (path, name) in
                use_trees(file).into_iter().filter(|tree| tree.is_public).map(|tree| (tree.path, tree.name))
            {
                reexports.insert((module.clone(), name), path);
            }
        }
        Self { files, reexports }
    }

    /// The module whose file defines the target of a path. `None` if that is the crate's root or is outside of the crate.
    fn definition(&self, path: &[String]) -> Option<Module> {
        let mut path = path.to_vec();
        // A chain of re-exports is as long as the module tree is deep, and ends at a definition.
        for _ in 0..16 {
            let length = (1..=path.len()).rev().find(|&length| self.files.contains_key(&path[..length]))?;
            let (module, rest) = path.split_at(length);
            let target = rest.first().and_then(|name| self.reexports.get(&(module.to_vec(), name.clone())));
            match target {
                Some(target) => path = [target.as_slice(), &rest[1..]].concat(),
                None => return Some(module.to_vec()),
            }
        }
        None
    }

    /// The files that each file names, except itself and each `mod.rs` above it.
    fn edges(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let mut edges = BTreeMap::new();
        for (module, file) in &self.files {
            if module.is_empty() {
                continue; // lib.rs names every module, and no module names lib.rs
            }
            let named = crate_paths(file).into_iter().filter_map(|path| self.definition(&path.parts));
            let children = self.files.keys().filter(|other| is_child(other, module)).cloned();
            let targets = named.filter(|other| !module.starts_with(other)).chain(children);
            edges.insert(module, targets.collect());
        }
        edges
    }

    fn path(&self, module: &Module) -> &'f str {
        &self.files[module].path
    }
}

fn is_child(module: &[String], parent: &[String]) -> bool {
    module.split_last().is_some_and(|(_, above)| above == parent)
}

/// The groups of files in which each file leads to every other.
fn cycles(files: &[SourceFile]) -> Vec<String> {
    let krate = Crate::new(files);
    let edges = krate.edges();
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        edges.keys().map(|&from| (from, reachable(from, &edges))).collect();
    let mut seen: BTreeSet<&Module> = BTreeSet::new();
    let mut found = Vec::new();
    for (from, reached_from) in &reached {
        if seen.contains(*from) || !reached_from.contains(*from) {
            continue;
        }
        let group: Vec<&Module> =
            reached_from.iter().copied().filter(|other| reached[*other].contains(*from)).collect();
        seen.extend(group.iter().copied());
        let members: BTreeSet<&Module> = group.iter().copied().collect();
        let arrows = group.iter().flat_map(|from| {
            let inside = edges[*from].iter().filter(|to| members.contains(to));
            inside.map(|to| format!("{} → {}", krate.path(from), krate.path(to))).collect::<Vec<_>>()
        });
        found.push(arrows.collect::<Vec<_>>().join("\n    "));
    }
    found
}

fn reachable<'m>(from: &Module, edges: &'m BTreeMap<&'m Module, BTreeSet<Module>>) -> BTreeSet<&'m Module> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&Module> = vec![from];
    while let Some(module) = open.pop() {
        for next in edges.get(module).into_iter().flatten() {
            if reached.insert(next) {
                open.push(next);
            }
        }
    }
    reached
}

#[test]
fn no_files_import_each_other() {
    let files = files_under("src");
    assert!(files.len() > 100, "only {} files were found", files.len());
    assert_none("no two files import each other, directly or through others", &cycles(&files));
}

#[test]
fn a_cycle_is_found() {
    let check = |files: &[(&str, &str)]| {
        let files: Vec<SourceFile> = files.iter().map(|(path, text)| SourceFile::new(path, text)).collect();
        cycles(&files).len()
    };
    let ab =
        |a: &str, b: &str| check(&[("src/x/mod.rs", "mod a; mod b;"), ("src/x/a.rs", a), ("src/x/b.rs", b)]);
    assert_eq!(ab("use super::b::B;", "fn f() {}"), 0);
    assert_eq!(ab("use super::b::B;", "use crate::x::a::A;"), 1);
    assert_eq!(ab("use super::b::B;", "#[cfg(test)]\nmod tests { use crate::x::a::A; }"), 0);
    let reexported = |child: &str| {
        check(&[
            ("src/x/mod.rs", "mod a; pub use self::a::{A as Other, C}; pub struct M;"),
            ("src/x/a.rs", child),
            ("src/y.rs", "use crate::x::Other;"),
        ])
    };
    assert_eq!(reexported("use super::M;"), 0, "a child and its mod.rs");
    assert_eq!(reexported("use super::M; use crate::y::Y;"), 1, "through a re-export");
    let through_mod = |child: &str| {
        check(&[
            ("src/x/mod.rs", "mod a; pub struct M;"),
            ("src/x/a.rs", child),
            ("src/y.rs", "use crate::x::M;"),
        ])
    };
    assert_eq!(through_mod("fn f() {}"), 0);
    assert_eq!(through_mod("use crate::y::Y;"), 1, "y, mod.rs, its child, y");
}
