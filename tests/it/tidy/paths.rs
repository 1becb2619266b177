//! The paths a file's code names inside the crate, written out: `use crate::{a::B, c}` names `a::B` and `c`, and `super`
//! is followed from the file's module. A `super` inside an inline module is followed as if it stood in the file.

use super::source::SourceFile;

/// A path inside the crate and where it is named.
#[derive(Debug, PartialEq, Eq)]
pub struct NamedPath {
    /// Its parts from the crate's root; the last one may be `*`.
    pub parts: Vec<String>,
    /// Where it begins in the code.
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

/// The paths inside the crate that the file gives on under its own name: `pub use` of any visibility.
pub fn reexports(file: &SourceFile) -> Vec<Vec<String>> {
    let code = file.shipped_code.as_str();
    let module: Vec<String> = file.module().iter().map(|part| (*part).to_owned()).collect();
    let mut paths = Vec::new();
    for (start, word) in words(code) {
        let before = code[..start].trim_end();
        let restricted = before.strip_suffix(')').and_then(|inside| inside.rsplit_once('('));
        let is_public = restricted.map_or(before, |(before, _)| before).ends_with("pub");
        if word != "use" || !is_public {
            continue;
        }
        let mut rest = code[start + word.len()..].trim_start();
        match rest.strip_prefix("crate::") {
            Some(inside) => {
                rest = inside;
                read_tree(&mut rest, &[], &mut paths);
            }
            // `super`, `self`, a child, or another crate, which then is taken for a child that is not there.
            None => read_tree(&mut rest, &module, &mut paths),
        }
    }
    paths
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

/// Reads what follows a `::`: a word, perhaps with more behind it, a `*`, or a group in braces.
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
            // What is left of this item: ` as name`, and the comma.
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
    fn what_is_given_on_is_told() {
        let code = "pub use self::b::{C, d::E}; pub(super) use f::G; use h::I; pub use crate::j::K;\n\
                    pub(in crate::x) use super::l::M; fn pub_use() {}";
        let got = reexports(&SourceFile::new("src/x/y.rs", code));
        let got: Vec<String> = got.iter().map(|parts| parts.join("::")).collect();
        assert_eq!(got, ["x::y::b::C", "x::y::b::d::E", "x::y::f::G", "j::K", "x::l::M"]);
    }

    #[test]
    fn super_is_followed() {
        check("src/x/y.rs", "use super::z::A; use super::super::b::C;", &["x::z::A", "b::C"]);
        check("src/x/mod.rs", "use super::b::C; use self::d::E;", &["b::C"]);
        check("src/main.rs", "use service_center::app::run;", &["app::run"]);
    }
}
