//! `actors.md` against the code. Each folder `src/actors/<name>` with a `messages.rs` is an actor; its section
//! `## <Name>Actor` says `Mailbox: N`, the `pub const MAILBOX: usize = N;` of its `mod.rs`, and has a table whose first
//! column is headed `Accepts` and names each message type of `messages.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::paths::words;
use super::source::{SourceFile, files_under, root};
use super::{Violation, assert_none};

/// The facts of an actor that the code and the page must agree on.
#[derive(Debug, Default, PartialEq, Eq)]
struct Actor {
    mailbox: Option<usize>,
    accepts: BTreeSet<String>,
}

/// The actors in the code, by type name.
fn in_code(files: &[SourceFile]) -> BTreeMap<String, Actor> {
    let mut actors = BTreeMap::new();
    for messages in files {
        let path =
            messages.path.strip_prefix("src/actors/").and_then(|path| path.strip_suffix("/messages.rs"));
        let Some(folder) = path.filter(|folder| !folder.contains('/')) else { continue };
        let home = format!("src/actors/{folder}/mod.rs");
        let mailbox = files.iter().find(|file| file.path == home).and_then(mailbox_constant);
        actors.insert(type_name(folder), Actor { mailbox, accepts: message_types(&messages.shipped_code) });
    }
    actors
}

/// `peer_sync` is `PeerSyncActor`.
fn type_name(folder: &str) -> String {
    let capitalized = folder.split('_').map(|part| {
        let mut chars = part.chars();
        chars
            .next()
            .map(|first| first.to_uppercase().collect::<String>() + chars.as_str())
            .unwrap_or_default()
    });
    capitalized.collect::<String>() + "Actor"
}

fn mailbox_constant(file: &SourceFile) -> Option<usize> {
    let (_, after) = file.shipped_code.split_once("pub const MAILBOX: usize =")?;
    number(after.split(';').next()?)
}

fn number(text: &str) -> Option<usize> {
    text.trim().replace(['_', ','], "").parse().ok()
}

/// The message types: those with `rtype` or a derived `Message`, and those that implement `Message`.
fn message_types(code: &str) -> BTreeSet<String> {
    let words: Vec<(usize, &str)> = words(code).collect();
    let mut types = BTreeSet::new();
    let mut attributes_from = 0;
    for (index, &(start, word)) in words.iter().enumerate() {
        let next = words.get(index + 1).map_or("", |&(_, word)| word);
        match word {
            "struct" | "enum" => {
                // The attributes of this item begin after the end of the previous item.
                let before = &code[attributes_from..start];
                let item = before.rfind([';', '}']).map_or(before, |end| &before[end + 1..]);
                if self::words(item).any(|(_, word)| matches!(word, "rtype" | "Message")) {
                    types.insert(next.to_owned());
                }
                attributes_from = start;
            }
            "Message" if next == "for" => {
                types.extend(words.get(index + 2).map(|&(_, word)| word.to_owned()));
            }
            _ => {}
        }
    }
    types
}

/// The actors on the page, by type name.
fn on_page(page: &str) -> BTreeMap<String, Actor> {
    let mut actors = BTreeMap::new();
    let mut current: Option<&mut Actor> = None;
    let mut in_accepts = false;
    for line in page.lines().map(str::trim) {
        if let Some(heading) = line.strip_prefix("## ") {
            current = heading
                .trim()
                .ends_with("Actor")
                .then(|| actors.entry(heading.trim().to_owned()).or_default());
        }
        let Some(actor) = current.as_deref_mut() else { continue };
        if let Some(said) = line.trim_start_matches(['*', '-', ' ']).strip_prefix("Mailbox:") {
            actor.mailbox =
                said.split_whitespace().next().and_then(|word| number(word.trim_matches(['*', '.', '`'])));
        }
        let Some(cells) = line.strip_prefix('|') else {
            in_accepts = false;
            continue;
        };
        let first = cells.split('|').next().unwrap_or_default().trim();
        if first == "Accepts" {
            in_accepts = true;
        } else if let Some(name) = first.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'))
            && in_accepts
        {
            actor.accepts.insert(name.to_owned());
        }
    }
    actors
}

fn differences(code: &BTreeMap<String, Actor>, page: &BTreeMap<String, Actor>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (name, actor) in code {
        let Some(said) = page.get(name) else {
            violations.push(format!("actors.md has no section `## {name}`"));
            continue;
        };
        match (actor.mailbox, said.mailbox) {
            (None, _) => violations.push(format!("{name}: no `pub const MAILBOX: usize = …;` in its mod.rs")),
            (Some(size), Some(said)) if size == said => {}
            (Some(size), said) => {
                violations.push(format!("{name}: its mailbox holds {size}, actors.md says {said:?}"))
            }
        }
        for missing in actor.accepts.difference(&said.accepts) {
            violations.push(format!("{name} accepts `{missing}`; actors.md does not say so"));
        }
        for surplus in said.accepts.difference(&actor.accepts) {
            violations.push(format!(
                "actors.md says that {name} accepts `{surplus}`; its messages.rs has no such message"
            ));
        }
    }
    let unbuilt = page.keys().filter(|name| !code.contains_key(*name));
    violations
        .extend(unbuilt.map(|name| format!("actors.md describes `{name}`; the code has no such actor")));
    violations
}

#[test]
fn the_page_says_what_the_code_does() {
    let page = fs::read_to_string(root().join("actors.md")).unwrap_or_default();
    assert_none("actors.md is true", &differences(&in_code(&files_under("src/actors")), &on_page(&page)));
}

#[test]
fn an_untrue_page_is_found() {
    let code = in_code(&[
        SourceFile::new("src/actors/hub/mod.rs", "pub const MAILBOX: usize = 1_024;"),
        SourceFile::new(
            "src/actors/hub/messages.rs",
            "/// A message.\n#[derive(Debug, Message)]\n#[rtype(result = \"()\")]\npub struct Subscribe { pub a: u8 }\n\
             pub struct Reply;\n#[derive(Debug)]\npub enum Leave { A }\nimpl Message for Leave { type Result = Reply; }\n\
             pub struct Payload(Reply);",
        ),
        SourceFile::new("src/actors/mailbox.rs", "pub struct X;"),
    ]);
    let good = "# Actors\n## HubActor\nMailbox: 1024\n\n| Accepts | does |\n|---|---|\n| `Subscribe` | a |\n| `Leave` | b |\n\n\
                | Sends | to |\n|---|---|\n| `Other` | c |\n";
    let check = |page: &str| differences(&code, &on_page(page));
    assert_eq!(check(good), Vec::<Violation>::new());
    assert_eq!(
        check(&good.replace("1024", "16")),
        ["HubActor: its mailbox holds 1024, actors.md says Some(16)"]
    );
    assert_eq!(
        check(&good.replace("| `Leave` | b |\n", "")),
        ["HubActor accepts `Leave`; actors.md does not say so"]
    );
    assert!(
        check(&good.replace("`Leave`", "`Leav`"))[1].contains("accepts `Leav`; its messages.rs has no such")
    );
    assert_eq!(check("# Actors\n"), ["actors.md has no section `## HubActor`"]);
    assert_eq!(
        check(&format!("{good}## PeerActor\n")),
        ["actors.md describes `PeerActor`; the code has no such actor"]
    );
    assert_eq!(type_name("peer_sync"), "PeerSyncActor");
}
