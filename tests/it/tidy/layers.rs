//! A module imports only the layers below it, as the table in `src/lib.rs` says.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::crate_paths;
use super::source::{SourceFile, files_under};
use super::{Violation, assert_none, made_up};

/// The modules of the crate's root, lowest layer first. A module may import any layer below its own, and no module of its own layer.
pub const LAYERS: [&[&str]; 9] = [
    &["alarm", "clock", "error", "frame", "metrics", "packed", "rounds", "tls", "trace", "trouble"],
    &["domain", "config"],
    &["store", "cache", "recorder"],
    &["rbac"],
    &["actors"],
    &["http"],
    &["app"],
    &["cli"],
    &["main"],
];

/// Lower layers that a module may not import all the same, as importer and imported: a handler reads the cache and sends messages to actors,
/// access control decides from the cache, and the command line asks nodes over HTTP as any other client does.
pub const FORBIDDEN: [(&str, &str); 5] =
    [("http", "store"), ("rbac", "store"), ("cli", "store"), ("cli", "cache"), ("cli", "actors")];

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

/// Folders under `src/actors` that are not actors: shared handles, and tests.
const SHARED: [&str; 7] = ["beats", "contact", "freshness", "goodbyes", "mailbox", "tests", "turns"];

/// The actors, which are the folders under `src/actors`. The files there hold shared code.
fn actors(files: &[SourceFile]) -> BTreeSet<String> {
    let actor = |file: &SourceFile| {
        let (folder, _) = file.path.strip_prefix("src/actors/")?.split_once('/')?;
        (!SHARED.contains(&folder)).then(|| folder.to_owned())
    };
    files.iter().filter_map(actor).collect()
}

/// The paths in an actor's file that lead to other actors, with the name of the other actor.
fn foreign_paths(file: &SourceFile, actors: &BTreeSet<String>) -> Vec<(String, Vec<String>, usize)> {
    let module = file.module();
    let Some(own) = module.get(1).filter(|own| module[0] == "actors" && actors.contains(**own)) else {
        return Vec::new();
    };
    let foreign = crate_paths(file).into_iter().filter_map(|path| match path.parts.as_slice() {
        [root, other, rest @ ..] if root == "actors" && actors.contains(other) && other != own => {
            Some((other.clone(), rest.to_vec(), path.offset))
        }
        _ => None,
    });
    foreign.collect()
}

/// Whether a path after an actor's name is the actor's type, which the holder of its address must name.
fn is_actor_type(rest: &[String]) -> bool {
    matches!(rest, [name] if name.ends_with("Actor"))
}

/// An actor may use only the messages of another actor and the type of its address.
fn actor_imports_actor(file: &SourceFile, actors: &BTreeSet<String>) -> Vec<Violation> {
    let wrong = foreign_paths(file, actors).into_iter().filter(|(_, rest, _)| {
        let messages = rest.first().is_some_and(|part| part == "messages");
        !messages && !is_actor_type(rest)
    });
    wrong
        .map(|(other, rest, offset)| {
            format!("{}: an actor imports `{other}::{}`", file.place(offset), rest.join("::"))
        })
        .collect()
}

/// The actors in a circle of addresses.
fn actors_in_circles(files: &[SourceFile], actors: &BTreeSet<String>) -> BTreeSet<String> {
    let mut sends_to: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let addressed = foreign_paths(file, actors).into_iter().filter(|(_, rest, _)| is_actor_type(rest));
        let own = file.module().get(1).map_or_else(String::new, |own| (*own).to_owned());
        sends_to.entry(own).or_default().extend(addressed.map(|(other, _, _)| other));
    }
    // An actor without a remaining receiver is in no circle. The actors that remain at the end are in one, or lead to one.
    loop {
        let left: BTreeSet<String> = sends_to.keys().cloned().collect();
        let before = sends_to.len();
        sends_to.retain(|_, others| others.iter().any(|other| left.contains(other)));
        if sends_to.len() == before {
            return left;
        }
    }
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
    let files = files_under("src/actors");
    let actors = actors(&files);
    let violations: Vec<Violation> =
        files.iter().flat_map(|file| actor_imports_actor(file, &actors)).collect();
    assert_none("an actor imports another's `messages` and its type only", &violations);
}

#[test]
fn actors_send_in_one_direction() {
    let files = files_under("src/actors");
    let circle = actors_in_circles(&files, &actors(&files));
    assert!(circle.is_empty(), "these actors hold each other's addresses in a circle: {circle:?}");
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
    let actors = BTreeSet::from(["hub".to_owned(), "watch".to_owned()]);
    let check = |path: &str, code: &str| made_up(path, code, |file| actor_imports_actor(file, &actors)).len();
    assert_eq!(
        check("src/actors/hub/mod.rs", "use crate::actors::watch::messages::X; use super::mailbox::ask;"),
        0
    );
    assert_eq!(
        check(
            "src/actors/hub/mod.rs",
            "use crate::actors::{watch::WatchActor, hub::Y, watch::messages::{A, B}};"
        ),
        0
    );
    assert_eq!(check("src/actors/hub/mod.rs", "use super::watch::{state::S, WatchCore, messages::A};"), 2);
    assert_eq!(check("src/actors/hub/session.rs", "use super::super::watch::state; use super::table::T;"), 1);
    assert_eq!(check("src/actors/mod.rs", "use crate::actors::watch::state;"), 0);
    assert_eq!(check("src/actors/hub/mod.rs", "use crate::actors::watch;"), 1);
}

#[test]
fn a_circle_of_addresses_is_found() {
    let circle = |hub: &str, watch: &str| {
        let files =
            [SourceFile::new("src/actors/hub/mod.rs", hub), SourceFile::new("src/actors/watch/a.rs", watch)];
        actors_in_circles(&files, &actors(&files)).len()
    };
    assert_eq!(circle("use super::watch::WatchActor;", "use super::super::hub::messages::X;"), 0);
    assert_eq!(circle("use super::watch::WatchActor;", "use super::super::hub::HubActor;"), 2);
}
