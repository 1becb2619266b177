//! The paths inside the crate that a file names. `use crate::{a::B, c}` names `a::B` and `c`. `super` is resolved from the file's module, also
//! inside an inline module.

use super::source::SourceFile;

/// A path inside the crate and where it is named.
#[derive(Debug, PartialEq, Eq)]
pub struct NamedPath {
    /// Its parts from the crate's root; the last one may be `*`.
    pub parts: Vec<String>,
    /// Its offset in the code.
    pub offset: usize,
}

/// All paths of the shipped code that begin with `crate`, `super` or, in the binary, the library's name.
pub fn crate_paths(file: &SourceFile) -> Vec<NamedPath> {
    let code = file.shipped_code.as_str();
    let module = file.module();
    let mut named = Vec::new();
    for (start, word) in words(code) {
        if code[..start].ends_with("::") || !code[start + word.len()..].starts_with("::") {
            continue;
        }
        let base: &[&str] = match word {
            "crate" | "service_center" => &[],
            "super" => &module[..module.len().saturating_sub(1)],
            _ => continue,
        };
        let base: Vec<String> = base.iter().map(|&part| part.to_owned()).collect();
        let mut rest = &code[start + word.len() + 2..];
        let mut paths = Vec::new();
        read_tree(&mut rest, &base, &mut paths);
        named.extend(paths.into_iter().map(|parts| NamedPath { parts, offset: start }));
    }
    named
}

/// The words of the code and where they begin.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        at += code[at..].find(is_word)?;
        let start = at;
        at = code[start..].find(|c| !is_word(c)).map_or(code.len(), |length| start + length);
        Some((start, &code[start..at]))
    })
}

/// A name that a `use` brings in.
#[derive(Debug, PartialEq, Eq)]
pub struct UseTree {
    /// The path that it stands for, from the crate's root.
    pub path: Vec<String>,
    /// The name, after `as` if there is one.
    pub name: String,
    /// Whether other modules see it.
    pub is_public: bool,
}

/// The names that `use` items of the shipped code import from the crate, also from a child module that is named without `self`.
pub fn use_trees(file: &SourceFile) -> Vec<UseTree> {
    let code = file.shipped_code.as_str();
    let module: Vec<String> = file.module().iter().map(|&part| part.to_owned()).collect();
    let mut trees = Vec::new();
    for (start, _) in words(code).filter(|(_, word)| *word == "use") {
        let Some(end) = code[start..].find(';').map(|length| start + length) else { break };
        let before = code[..start].trim_end();
        let is_public = before.ends_with("pub") || before.ends_with(')') && before.contains("pub(");
        for (parts, name) in written_out(&code[start + "use".len()..end]) {
            let (base, rest) = match parts.first().map(String::as_str) {
                Some("crate" | "service_center") => (Vec::new(), &parts[1..]),
                Some("self") => (module.clone(), &parts[1..]),
                Some("super") => {
                    let ups = parts.iter().take_while(|part| *part == "super").count();
                    (module[..module.len().saturating_sub(ups)].to_vec(), &parts[ups..])
                }
                _ => (module.clone(), &parts[..]),
            };
            trees.push(UseTree { path: [base, rest.to_vec()].concat(), name, is_public });
        }
    }
    trees
}

/// The paths of a tree such as `a::{b as c, d::{self, e}}`, each with the name that it imports.
fn written_out(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    if let Some((head, group)) = tree.split_once('{') {
        let head: Vec<String> =
            head.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let group = group.rsplit_once('}').map_or(group, |(inside, _)| inside);
        let inner = split_at_commas(group).into_iter().flat_map(written_out);
        return inner
            .map(|(mut rest, name)| {
                let is_self = rest.last().is_some_and(|part| part == "self");
                if is_self {
                    rest.pop();
                }
                let path = [head.clone(), rest].concat();
                let name =
                    if is_self && name == "self" { path.last().cloned().unwrap_or_default() } else { name };
                (path, name)
            })
            .collect();
    }
    let (path, alias) =
        tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias.trim())));
    let parts: Vec<String> =
        path.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let Some(last) = parts.last().cloned() else { return Vec::new() };
    vec![(parts, alias.map_or(last, str::to_owned))]
}

/// The parts between commas that are outside braces.
fn split_at_commas(list: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[from..]);
    parts
}

/// Reads the text after a `::`: a word, which may have further parts, a `*`, or a group in braces.
fn read_tree(rest: &mut &str, base: &[String], paths: &mut Vec<Vec<String>>) {
    *rest = rest.trim_start();
    if let Some(inside) = rest.strip_prefix('{') {
        *rest = inside;
        loop {
            *rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                *rest = after;
                return;
            }
            if rest.is_empty() {
                return;
            }
            read_tree(rest, base, paths);
            // The rest of this item is ` as name` and the comma.
            let end = rest.find([',', '}', '{']).unwrap_or(rest.len());
            *rest = rest[end..].strip_prefix(',').unwrap_or(&rest[end..]);
        }
    }
    let word = words(rest).next().filter(|&(start, _)| start == 0).map_or("", |(_, word)| word);
    if word.is_empty() {
        if let Some(after) = rest.strip_prefix('*') {
            *rest = after;
            paths.push([base, &["*".to_owned()]].concat());
        } else if !base.is_empty() {
            paths.push(base.to_vec()); // `a::<T>`: the path ends here
            *rest = rest.strip_prefix('<').unwrap_or(rest);
        }
        return;
    }
    *rest = &rest[word.len()..];
    let path = match word {
        "super" => base[..base.len().saturating_sub(1)].to_vec(),
        "self" => base.to_vec(),
        word => [base, &[word.to_owned()]].concat(),
    };
    match rest.strip_prefix("::") {
        Some(after) => {
            *rest = after;
            read_tree(rest, &path, paths);
        }
        None => paths.push(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, code: &str, want: &[&str]) {
        let named = crate_paths(&SourceFile::new(path, code));
        let got: Vec<String> = named.iter().map(|named| named.parts.join("::")).collect();
        assert_eq!(got, want, "{code}");
    }

    #[test]
    fn groups_are_written_out() {
        check("src/x/y.rs", "use crate::a::B;", &["a::B"]);
        check(
            "src/x/y.rs",
            "use crate::{a::{B, c::{D as E, self}}, f, g::*};",
            &["a::B", "a::c::D", "a::c", "f", "g::*"],
        );
        check("src/x/y.rs", "use crate::{\n    a,\n    b::C,\n};\nuse std::d;", &["a", "b::C"]);
        check("src/x/y.rs", "use crate::{a::{B}, c}; use crate::d;", &["a::B", "c", "d"]);
    }

    #[test]
    fn expressions_count_as_well() {
        check(
            "src/x/y.rs",
            "let a = crate::b::C::new(1); fn f(x: &crate::d::E<'_>) {}",
            &["b::C::new", "d::E"],
        );
        check("src/x/y.rs", "crate::b::c::<u8>(); pub(crate) fn g() {} other::crate_x::y()", &["b::c"]);
        check("src/x/y.rs", "impl From<crate::a::B> for crate::c::D {}", &["a::B", "c::D"]);
    }

    #[test]
    fn super_is_followed() {
        check("src/x/y.rs", "use super::z::A; use super::super::b::C;", &["x::z::A", "b::C"]);
        check("src/x/mod.rs", "use super::b::C; use self::d::E;", &["b::C"]);
        check("src/main.rs", "use service_center::app::run;", &["app::run"]);
    }

    #[test]
    fn names_are_what_a_use_brings_in() {
        let check = |path: &str, code: &str, want: &[&str]| {
            let trees = use_trees(&SourceFile::new(path, code));
            let got = trees.iter().map(|tree| {
                let mark = if tree.is_public { "pub " } else { "" };
                format!("{mark}{}={}", tree.name, tree.path.join("::"))
            });
            assert_eq!(got.collect::<Vec<_>>(), want, "{code}");
        };
        check(
            "src/x/mod.rs",
            "pub use self::a::{B as C, d::{self, E}};",
            &["pub C=x::a::B", "pub d=x::a::d", "pub E=x::a::d::E"],
        );
        check("src/x/mod.rs", "pub(crate) use a::B; use super::y;", &["pub B=x::a::B", "y=y"]);
        check("src/x/mod.rs", "use crate::{\n    a,\n    b::C as _,\n};", &["a=a", "_=b::C"]);
    }
}
