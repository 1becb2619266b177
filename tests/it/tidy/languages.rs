//! Documents in two languages agree. They have the same number and levels of headings, and in each section the same code blocks, table rows and
//! columns, links, names in backquotes, and numbers.

use std::fmt::Debug;
use std::fs;

use super::docs::quoted;
use super::source::root;
use super::{Violation, assert_none};

/// Each document with its translation.
const PAIRS: [(&str, &str); 3] = [
    ("README.md", "README.zh-CN.md"),
    ("docs/cluster.md", "docs/zh-CN/cluster.md"),
    ("docs/secured-cluster.md", "docs/zh-CN/secured-cluster.md"),
];

/// The parts of a section that a translation must keep. A section ends at the next heading.
#[derive(Debug, PartialEq, Eq)]
struct Section {
    /// 0 before the first heading.
    level: usize,
    heading: String,
    code_blocks: Vec<String>,
    rows: Vec<Vec<Facts>>,
    prose: Facts,
}

/// The names in a text, sorted, because another language has another order of words.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    links: Vec<String>,
    names: Vec<String>,
    figures: Vec<String>,
}

impl Section {
    fn facts(&self) -> impl Iterator<Item = &Facts> {
        self.rows.iter().flatten().chain([&self.prose])
    }
}

fn is_fence(line: &str) -> bool {
    line.starts_with("```")
}

/// The level of a heading; 0 if the line is not a heading.
fn heading_level(line: &str) -> usize {
    let level = line.bytes().take_while(|&byte| byte == b'#').count();
    if line[level..].starts_with(' ') { level } else { 0 }
}

/// The sections of the document at `path`.
fn sections(path: &str, text: &str) -> Vec<Section> {
    let mut parts: Vec<Vec<&str>> = vec![Vec::new()];
    let mut in_block = false;
    for line in text.lines() {
        in_block ^= is_fence(line);
        if !in_block && heading_level(line) > 0 {
            parts.push(Vec::new());
        }
        parts.last_mut().unwrap().push(line);
    }
    parts.iter().map(|lines| section(path, lines)).collect()
}

fn section(path: &str, lines: &[&str]) -> Section {
    let first = lines.first().copied().unwrap_or_default();
    let (mut code_blocks, mut rows, mut prose) = (Vec::new(), Vec::new(), Vec::new());
    let mut lines = lines.iter().copied();
    while let Some(line) = lines.next() {
        if is_fence(line) {
            let code: Vec<&str> = lines.by_ref().take_while(|line| !is_fence(line)).collect();
            code_blocks.push(format!("{line}\n{}", code.join("\n")));
        } else if let Some(row) = line.strip_prefix('|') {
            let cells = row.trim_end().trim_end_matches('|').split('|');
            rows.push(cells.map(|cell| facts(path, cell)).collect());
        } else {
            prose.push(line);
        }
    }
    let prose = facts(path, &prose.join("\n"));
    Section { level: heading_level(first), heading: first.to_owned(), code_blocks, rows, prose }
}

fn facts(path: &str, text: &str) -> Facts {
    let (mut links, text) = take_links(path, text);
    let mut names = quoted(&text);
    let words = text.split('`').step_by(2).collect::<Vec<_>>().join(" ");
    let mut figures = figures(&words);
    for list in [&mut links, &mut names, &mut figures] {
        list.sort();
    }
    Facts { links, names, figures }
}

/// The targets of `[text](target)` and `<https://…>` in a text, and the text without them.
fn take_links(path: &str, text: &str) -> (Vec<String>, String) {
    let (mut targets, mut rest) = (Vec::new(), String::new());
    let mut after = text;
    while let Some((before, open, close)) = [("](", ")"), ("<http", ">")]
        .into_iter()
        .filter_map(|(open, close)| Some((after.find(open)?, open, close)))
        .min()
        && let Some(end) = after[before..].find(close)
    {
        let target = &after[before + open.len()..before + end];
        let target = if open == "](" { target.to_owned() } else { format!("http{target}") };
        targets.push(in_the_first_language(&resolved(path, &target)));
        rest += &after[..before];
        after = &after[before + end + close.len()..];
    }
    (targets, rest + after)
}

/// A target from the project's root. A web address stays as it is.
fn resolved(path: &str, target: &str) -> String {
    if target.contains("://") {
        return target.to_owned();
    }
    let mut folders: Vec<&str> = path.split('/').collect();
    folders.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(folders.pop()),
            part => folders.push(part),
        }
    }
    folders.join("/")
}

fn in_the_first_language(path: &str) -> String {
    let pair = PAIRS.into_iter().find(|(_, translation)| *translation == path);
    pair.map_or(path, |(original, _)| original).to_owned()
}

/// Numbers, also such as `1,000`, `2.0` and `10.12.0.1`.
fn figures(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let is_digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
    let mut figures = Vec::new();
    let mut figure = String::new();
    for (at, &c) in chars.iter().enumerate() {
        let joins = matches!(c, '.' | ',') && !figure.is_empty() && is_digit(at + 1);
        if c.is_ascii_digit() || joins {
            figure.push(c);
        } else if !figure.is_empty() {
            figures.push(std::mem::take(&mut figure));
        }
    }
    figures.extend(Some(figure).filter(|figure| !figure.is_empty()));
    figures
}

fn difference<T: PartialEq + Debug>(
    place: &str,
    what: &str,
    original: &T,
    translation: &T,
) -> Option<Violation> {
    (original != translation)
        .then(|| format!("{place}: {what} {translation:?}, in the original {original:?}"))
}

fn differences(original: (&str, &str), translation: (&str, &str)) -> Vec<Violation> {
    let [left, right] = [original, translation].map(|(path, text)| sections(path, text));
    let path = translation.0;
    let levels = |sections: &[Section]| sections.iter().map(|section| section.level).collect::<Vec<_>>();
    let mut violations: Vec<Violation> =
        difference(path, "levels of headings", &levels(&left), &levels(&right)).into_iter().collect();
    if !violations.is_empty() {
        return violations; // What follows would compare unlike sections.
    }
    for (left, right) in left.iter().zip(&right) {
        let place = format!("{path}, {:?}", right.heading);
        let columns = |section: &Section| section.rows.iter().map(Vec::len).collect::<Vec<_>>();
        violations.extend(difference(&place, "columns of each row", &columns(left), &columns(right)));
        violations.extend(difference(&place, "code blocks", &left.code_blocks, &right.code_blocks));
        for (left, right) in left.facts().zip(right.facts()) {
            violations.extend(difference(&place, "links", &left.links, &right.links));
            violations.extend(difference(&place, "names", &left.names, &right.names));
            violations.extend(difference(&place, "figures", &left.figures, &right.figures));
        }
    }
    violations
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn translations_say_what_their_originals_say() {
    let violations: Vec<Violation> = PAIRS
        .into_iter()
        .flat_map(|(original, translation)| {
            differences((original, &read(original)), (translation, &read(translation)))
        })
        .collect();
    assert_none("both languages are in step", &violations);
}

#[test]
fn each_language_leads_to_the_other_at_the_top() {
    let mut violations: Vec<Violation> = Vec::new();
    for (original, translation) in PAIRS {
        for (path, other) in [(original, translation), (translation, original)] {
            let top = read(path).lines().take(5).collect::<Vec<_>>().join("\n");
            let mut targets = top.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            if !targets.any(|target| resolved(path, target) == other) {
                violations.push(format!("{path}: no link to {other} in the first 5 lines"));
            }
        }
    }
    assert_none("each language leads to the other", &violations);
}

#[test]
fn what_drifts_apart_is_found() {
    let original = "# A\n[zh](README.zh-CN.md) [c](docs/cluster.md)\n\n## B\nRun `make run` for 1,000 s.\n\n| a | `k` |\n\
                    | --- | --- |\n| 5 ms | |\n\n```sh\n# not a heading\nrun 1\n```\n";
    let good = "# 甲\n[en](README.md) [丙](docs/zh-CN/cluster.md)\n\n## 乙\n1,000 s 内运行 `make run`。\n\n| 甲 | `k` |\n\
                | --- | --- |\n| 5 ms | |\n\n```sh\n# not a heading\nrun 1\n```\n";
    let check = |translation: &str| differences(("README.md", original), ("README.zh-CN.md", translation));
    assert_eq!(check(good), Vec::<Violation>::new());
    for (from, to, complaint) in [
        ("## 乙", "### 乙", "levels of headings [0, 1, 3]"),
        ("## 乙\n", "", "levels of headings [0, 1]"),
        ("`make run`", "`make test`", "names [\"make test\"]"),
        ("1,000", "100", "figures [\"100\"]"),
        ("5 ms", "6 ms", "figures [\"6\"]"),
        ("| 5 ms | |", "| 5 ms |", "columns of each row [2, 2, 1]"),
        ("\n| 5 ms | |", "", "columns of each row [2, 2]"),
        ("`k`", "k", "names []"),
        ("run 1\n", "run 2\n", "code blocks"),
        ("docs/zh-CN/cluster.md", "docs/other.md", "links [\"README.md\", \"docs/other.md\"]"),
    ] {
        assert!(good.contains(from));
        let violations = check(&good.replace(from, to));
        assert!(violations.iter().any(|violation| violation.contains(complaint)), "{from}: {violations:#?}");
    }
    assert_eq!(resolved("docs/zh-CN/cluster.md", "../../README.md"), "README.md");
    assert_eq!(figures("v2.2.0, 1,000 and 10.12.0.1."), ["2.2.0", "1,000", "10.12.0.1"]);
}
