//! The consumer of each section of the configuration destructures it with all its members by name, so that an unused key does not compile.

use super::source::{SourceFile, files_under};
use super::{Violation, assert_none};

/// The folder of the sections.
const SECTIONS: [&str; 2] = ["src/config/sections/", "src/config/mod.rs"];
/// A member that its consumer may leave out, because the log is opened before everything else.
const LEFT_OUT: (&str, &str) = ("Config", "log: _");

/// The public structs with named members in the files of sections, except for those that are not read from the configuration.
fn sections(files: &[SourceFile]) -> Vec<String> {
    let of_sections = files.iter().filter(|file| SECTIONS.iter().any(|place| file.path.starts_with(place)));
    let named =
        of_sections.flat_map(|file| file.shipped_code.split("pub struct ").skip(1)).filter_map(|rest| {
            let (name, _) = rest.split_once(" {")?;
            name.chars().all(char::is_alphanumeric).then(|| name.to_owned())
        });
    named.filter(|name| name != "Loaded").collect()
}

/// Each pattern `Name { … }`, to its closing brace.
fn patterns<'a>(code: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!("{name} {{");
    let found = code.match_indices(&begin).filter_map(|(at, _)| {
        let is_name = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let inside = &code[at + begin.len()..];
        let mut depth = 1;
        let end = inside.find(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0
        })?;
        let mut after = inside[end + 1..].trim_start();
        // This pattern is inside another one, which ends first.
        after = after.trim_start_matches(['}', ',', ' ', '\n']);
        let is_pattern = after.starts_with("= ") || after.starts_with("=\n");
        (is_name && is_pattern).then(|| &inside[..end])
    });
    found.collect()
}

fn not_taken_apart(files: &[SourceFile]) -> Vec<Violation> {
    let consumers = || files.iter().filter(|file| !SECTIONS.iter().any(|place| file.path.starts_with(place)));
    let is_whole = |name: &str, pattern: &&str| {
        let left_out = if name == LEFT_OUT.0 { LEFT_OUT.1 } else { "" };
        !pattern.contains("..") && !pattern.replace(left_out, "").contains(": _")
    };
    let is_consumed = |name: &String| {
        consumers()
            .any(|file| patterns(&file.shipped_code, name).iter().any(|pattern| is_whole(name, pattern)))
    };
    let wrong = sections(files).into_iter().filter(|name| !is_consumed(name));
    wrong.map(|name| format!("`{name}` is taken apart nowhere")).collect()
}

#[test]
fn every_section_is_taken_apart() {
    let files = files_under("src");
    assert!(sections(&files).len() >= 15, "{:?}", sections(&files));
    assert_none("`let Section { every, member } = section;`, without `..`", &not_taken_apart(&files));
}

#[test]
fn a_section_that_is_not_is_found() {
    let check = |consumer: &str| {
        let section = SourceFile::new(
            "src/config/sections/a.rs",
            "pub struct Tls {\n a: u8,\n}\npub struct Secret(u8);",
        );
        not_taken_apart(&[section, SourceFile::new("src/app/a.rs", consumer)]).len()
    };
    assert_eq!(check("let Tls { a } = tls;"), 0);
    assert_eq!(check("let Other { tls: Tls { a } } = other;"), 0);
    assert_eq!(check("let Tls {\n a,\n} =\n tls;"), 0);
    for wrong in [
        "tls.a",
        "let Tls { .. } = tls;",
        "let Tls { a: _ } = tls;",
        "let tls = Tls { a };",
        "let MyTls { a } = x;",
    ] {
        assert_eq!(check(wrong), 1, "{wrong}");
    }
}
