//! The files of `console/`: all are in the binary, their size is limited, code of others is unchanged, and each text is there in both
//! languages.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use regex::Regex;
use ring::digest::{SHA256, digest};

/// The limit for all files together as browsers get them: compressed, in bytes.
const MOST_BYTES: usize = 250_000;
const PAGE: &str = "index.html";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("console")
}

/// All files of the folder, by path.
pub fn all() -> BTreeMap<String, Vec<u8>> {
    fn collect(folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    collect(&root(), &mut files);
    files
}

/// The files that the page loads, without the page.
pub fn assets() -> BTreeMap<String, Vec<u8>> {
    let is_asset = |path: &String| path != PAGE && !path.ends_with(".md");
    all().into_iter().filter(|(path, _)| is_asset(path)).collect()
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn the_binary_has_every_file() {
    let source =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/console.rs")).unwrap();
    let list = source.split_once("\nfiles! {").unwrap().1.split_once('}').unwrap().0;
    let listed: Vec<&str> = list.split_whitespace().map(|path| path.trim_matches('"')).collect();
    let there: Vec<String> = assets().into_keys().collect();
    assert_eq!(listed, there, "the list in src/http/console.rs is not that of the files in console/");
}

#[test]
fn the_files_are_small() {
    let packed = |file: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(file).unwrap();
        encoder.finish().unwrap().len()
    };
    let files = all().into_iter().filter(|(path, _)| !path.ends_with(".md"));
    let files: BTreeMap<String, usize> = files.map(|(path, file)| (path, packed(&file))).collect();
    let bytes: usize = files.values().sum();
    assert!(
        bytes < MOST_BYTES,
        "the console has {bytes} bytes, at most {MOST_BYTES} are allowed: {files:#?}"
    );
}

#[test]
fn code_of_others_is_unchanged() {
    let list = text("vendor/README.md");
    let row = Regex::new(r"(?m)^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$").unwrap();
    let listed: BTreeMap<String, String> =
        row.captures_iter(&list).map(|row| (row[1].to_owned(), row[2].to_owned())).collect();
    let there: BTreeMap<String, String> = assets()
        .into_iter()
        .filter_map(|(path, file)| {
            Some((path.strip_prefix("vendor/")?.to_owned(), hex::encode(digest(&SHA256, &file))))
        })
        .collect();
    assert!(there.keys().any(|path| path.ends_with("LICENSE")), "no license: {:?}", there.keys());
    assert_eq!(listed, there, "console/vendor/README.md lists other files or other hashes");
}

/// The texts of a language: the key, and the names of the values in the text.
fn texts(language: &str) -> BTreeMap<String, Vec<String>> {
    let source = text(&format!("lang/{language}.js"));
    let entry = Regex::new(r#"(?m)^ *['"]?([A-Za-z0-9_.-]+)['"]?: *(.*)$"#).unwrap();
    let value = Regex::new(r"\{([A-Za-z0-9_]+)").unwrap();
    let mut texts = BTreeMap::new();
    for entry in entry.captures_iter(&source) {
        let mut values: Vec<String> =
            value.captures_iter(&entry[2]).map(|value| value[1].to_owned()).collect();
        values.sort_unstable();
        values.dedup();
        let former = texts.insert(entry[1].to_owned(), values);
        assert!(former.is_none(), "lang/{language}.js has '{}' twice", &entry[1]);
    }
    texts
}

#[test]
fn each_text_is_there_in_both_languages() {
    let (english, chinese) = (texts("en"), texts("zh"));
    assert!(english.len() > 100, "only {} texts were found", english.len());
    let only = |one: &BTreeMap<String, Vec<String>>, other: &BTreeMap<String, Vec<String>>| {
        one.keys().filter(|key| !other.contains_key(*key)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(only(&english, &chinese), [""; 0], "not in lang/zh.js");
    assert_eq!(only(&chinese, &english), [""; 0], "not in lang/en.js");
    for (key, values) in &english {
        assert_eq!(values, &chinese[key], "the values in '{key}' are not the same in both languages");
    }
}

/// What the policy of the page forbids, and what could make a text of the registry more than a text.
#[test]
fn nothing_is_written_that_the_policy_of_the_page_forbids() {
    let forbidden = [
        r"(?-u:\b)style *= *[\x22'`$]",
        r"(?-u:\b)on[a-z]+ *= *[\x22']",
        r"(?-u:\b)innerHTML(?-u:\b)",
        r"(?-u:\b)outerHTML(?-u:\b)",
        r"(?-u:\b)insertAdjacentHTML(?-u:\b)",
        r"(?-u:\b)unsafe(HTML|SVG|CSS)(?-u:\b)",
        r"(?-u:\b)document\.write(?-u:\b)",
        r"(?-u:\b)eval\(",
        r"(?-u:\b)new Function(?-u:\b)",
        r"javascript:",
        r"<script>",
        r"<style>",
    ];
    let mut found = Vec::new();
    for (path, file) in all() {
        if path.starts_with("vendor/") || path.ends_with(".md") {
            continue;
        }
        let text = String::from_utf8(file).unwrap();
        for pattern in forbidden {
            if let Some(place) = Regex::new(pattern).unwrap().find(&text) {
                found.push(format!("{path}: {}", place.as_str()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
