//! Who may import whom: a module imports the layers below it, as the table in `src/lib.rs` says in words.

use super::paths::crate_paths;
use super::source::{SourceFile, files_under};
use super::{Violation, assert_none, made_up};

/// The modules of the crate's root, lowest layer first. A module imports any layer below its own, and no neighbour.
const LAYERS: [&[&str]; 8] = [
    &["clock", "error", "metrics"],
    &["domain", "config"],
    &["store", "cache", "rbac"],
    &["actors"],
    &["http"],
    &["app"],
    &["cli"],
    &["main"],
];

/// Importer and imported, though the one is above the other: a handler reads the cache and asks actors.
const FORBIDDEN: [(&str, &str); 1] = [("http", "store")];

/// The modules under `actors` that all actors share.
const SHARED_BY_ACTORS: [&str; 2] = ["mailbox", "lifeline"];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn imports_upwards(file: &SourceFile) -> Vec<Violation> {
    let module = file.module();
    let Some(&own) = module.first() else {
        return Vec::new(); // lib.rs names every module
    };
    let Some(own_layer) = layer(own) else {
        return vec![format!("{}: the module `{own}` has no place in the table of layers", file.path)];
    };
    let paths = crate_paths(file);
    let wrong = paths.iter().filter(|path| {
        let target = path.parts.first().map_or("", String::as_str);
        let is_above = layer(target).is_some_and(|layer| layer >= own_layer); // no layer: an item of the root, a macro say
        target != own && (is_above || FORBIDDEN.contains(&(own, target)))
    });
    wrong
        .map(|path| format!("{}: `{own}` imports `{}`", file.place(path.offset), path.parts.join("::")))
        .collect()
}

/// One actor knows of another its messages, and nothing else.
fn actor_imports_actor(file: &SourceFile) -> Vec<Violation> {
    let module = file.module();
    let ["actors", own, ..] = module.as_slice() else { return Vec::new() };
    if SHARED_BY_ACTORS.contains(own) {
        return Vec::new();
    }
    let is_actor = |name: &str| name.chars().all(|c| c.is_lowercase() || c.is_ascii_digit() || c == '_');
    let paths = crate_paths(file);
    let wrong = paths.iter().filter(|path| match path.parts.as_slice() {
        [root, other, rest @ ..] if root == "actors" => {
            let other = other.as_str();
            let foreign = is_actor(other) && other != *own && !SHARED_BY_ACTORS.contains(&other);
            foreign && rest.first().is_none_or(|part| part != "messages")
        }
        _ => false,
    });
    wrong
        .map(|path| format!("{}: actor `{own}` imports `{}`", file.place(path.offset), path.parts.join("::")))
        .collect()
}

#[test]
fn modules_import_the_layers_below() {
    let files = files_under("src");
    assert!(!files.is_empty());
    let violations: Vec<Violation> = files.iter().flat_map(imports_upwards).collect();
    assert_none("a module imports the layers below it", &violations);
}

#[test]
fn actors_know_each_other_by_messages() {
    let violations: Vec<Violation> = files_under("src").iter().flat_map(actor_imports_actor).collect();
    assert_none("an actor imports another's `messages` only", &violations);
}

#[test]
fn an_import_upwards_is_found() {
    let check = |path: &str, code: &str| made_up(path, code, imports_upwards).len();
    assert_eq!(check("src/domain/a.rs", "use crate::{error::E, clock};"), 0);
    assert_eq!(check("src/domain/a.rs", "use crate::{error::E, store::Port, config::C};"), 2);
    assert_eq!(check("src/cache/a.rs", "fn f() { crate::store::list() }"), 1);
    assert_eq!(check("src/http/v4/a.rs", "use crate::store::Port; use crate::cache::Reader;"), 1);
    assert_eq!(check("src/store/mod.rs", "use super::cache;\nuse super::domain::X;"), 1);
    assert_eq!(check("src/domain/a.rs", "#[cfg(test)]\nmod tests { use crate::store::X; }"), 0);
    assert_eq!(
        check("src/domain/a.rs", "// crate::store::X\nlet a = \"crate::store::X\"; crate::some_macro!()"),
        0
    );
    assert_eq!(check("src/main.rs", "use service_center::cli;"), 0);
    assert_eq!(check("src/app/mod.rs", "use crate::{http, actors, store}; use crate::cli;"), 1);
    assert_eq!(check("src/util.rs", ""), 1);
}

#[test]
fn an_actor_that_knows_another_is_found() {
    let check = |path: &str, code: &str| made_up(path, code, actor_imports_actor).len();
    assert_eq!(
        check("src/actors/hub/mod.rs", "use crate::actors::watch::messages::X; use super::mailbox::ask;"),
        0
    );
    assert_eq!(
        check(
            "src/actors/hub/mod.rs",
            "use crate::actors::{watch::WatchActor, hub::Y, watch::messages::{A, B}};"
        ),
        1
    );
    assert_eq!(check("src/actors/hub/session.rs", "use super::super::watch::state; use super::table::T;"), 1);
    assert_eq!(check("src/actors/mod.rs", "use crate::actors::watch::WatchActor;"), 0);
    assert_eq!(check("src/actors/hub/mod.rs", "use crate::actors::watch;"), 1);
}
