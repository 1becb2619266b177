//! Links between the documents. The file and the heading that a relative link names exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::docs::{DOCUMENTS, prose, read};
use super::source::root;
use super::{Violation, assert_none};

/// The beginnings of links that lead out of the project.
const ELSEWHERE: [&str; 3] = ["http://", "https://", "mailto:"];

/// A document without its code, because brackets in code are not links.
fn text_of(document: &str) -> String {
    prose(document).split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// The targets of relative links: `[text](target)`, `[text](target "title")` and `[name]: target`.
fn relative_links(document: &str) -> Vec<String> {
    let text = text_of(document);
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ', '\n']).next());
    let defined = text.lines().filter_map(|line| {
        let (_, target) = line.strip_prefix('[')?.split_once("]: ")?;
        target.split(' ').next()
    });
    let links = inline.chain(defined).filter(|target| !target.is_empty());
    links
        .filter(|target| !ELSEWHERE.iter().any(|begin| target.starts_with(begin)))
        .map(str::to_owned)
        .collect()
}

/// The anchors of the headings of a document, in the form of GitHub.
fn anchors(document: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for heading in prose(document).lines().filter(|line| line.starts_with('#')) {
        let anchor = anchor_of(heading.trim_start_matches('#').trim());
        let before = seen.entry(anchor.clone()).or_insert(0);
        anchors.insert(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
        *before += 1;
    }
    anchors
}

/// The anchor of a heading. Of a link only the text counts. Letters of any script and `_` stay, a space becomes `-`, and the rest is removed.
fn anchor_of(heading: &str) -> String {
    let mut shown = String::new();
    let mut rest = heading;
    while let Some((before, after)) = rest.split_once("](") {
        shown.push_str(before);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    shown.push_str(rest);
    let kept = shown.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c => c.is_alphanumeric().then_some(c),
    });
    kept.collect::<String>().to_lowercase()
}

/// The path of a link in this document, from the project's root. `None` if the link leads out of the project.
fn place(document: &str, path: &str) -> Option<PathBuf> {
    if path.is_empty() {
        return Some(document.into());
    }
    let mut place = PathBuf::new();
    let folder = Path::new(document).parent().unwrap_or(Path::new(""));
    for part in folder.join(path).components() {
        match part {
            Component::Normal(name) => place.push(name),
            Component::CurDir => {}
            Component::ParentDir if place.pop() => {}
            _ => return None,
        }
    }
    Some(place)
}

/// Why a link of this document leads nowhere.
fn broken(document: &str, link: &str) -> Option<Violation> {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let Some(place) = place(document, path).filter(|place| root().join(place).exists()) else {
        return Some(format!("{document}: `{link}` is not there"));
    };
    let is_there = match (anchor, place.to_str()) {
        (None, _) => true,
        (Some(anchor), Some(file)) if file.ends_with(".md") => anchors(&read(file)).contains(anchor),
        _ => false,
    };
    (!is_there).then(|| format!("{document}: `{link}` names no heading"))
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut checked = 0;
    let mut violations: Vec<Violation> = Vec::new();
    for document in DOCUMENTS {
        let links = relative_links(&read(document));
        checked += links.len();
        violations.extend(links.iter().filter_map(|link| broken(document, link)));
    }
    assert!(checked > 30, "only {checked} links were found");
    assert_none("a link names a file that is there, and a heading of it", &violations);
}

#[test]
fn broken_links_are_found() {
    let document = "[a](b.md), [c](https://example.com/)\n`[d](e)` [f](g/h.md#i \"title\")\n```\n[j](k)\n```\n[l]: m.md\n";
    assert_eq!(relative_links(document), ["b.md", "g/h.md#i", "m.md"]);
    assert_eq!(broken("docs/cluster.md", "../README.md"), None);
    assert_eq!(broken("docs/cluster.md", "zh-CN/cluster.md"), None);
    assert!(broken("docs/cluster.md", "README.md").is_some());
    assert!(broken("README.md", "../README.md").is_some(), "it leads out of the project");
    assert!(broken("README.md", "#no-such-heading").is_some());
    let headings = "# One, `two` & [three](four.md)!\n## Same\n### Same\n```\n# none\n```\n## 集群 A";
    let anchors = anchors(headings);
    assert_eq!(anchors.iter().collect::<Vec<_>>(), ["one-two--three", "same", "same-1", "集群-a"]);
}
