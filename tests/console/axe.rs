//! Checks a page by the rules of axe-core, which `vendor/axe-core` holds.

use std::fs;
use std::path::Path;

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::browser::Browser;

const AXE: &str = include_str!("vendor/axe-core/axe.min.js");
/// WCAG 2.0 to 2.2, levels A and AA, and what axe-core recommends beside them.
const TAGS: [&str; 7] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"];
/// Runs axe-core, and returns each finding with its first places.
const CHECK: &str = "
    const done = arguments[arguments.length - 1];
    axe.run(document, { runOnly: { type: 'tag', values: arguments[0] }, resultTypes: ['violations'], preload: false }).then(
        ({ violations }) => done(violations.map(({ id, help, nodes }) => ({
            rule: id, help, count: nodes.length,
            places: nodes.slice(0, 4).map(({ html, any, all, none }) =>
                html.slice(0, 200) + ' | ' + [...any, ...all, ...none].map(({ message }) => message).join('; ').slice(0, 300)),
        }))),
        (error) => done([{ rule: 'axe-core failed', help: String(error) }]),
    );";

/// What axe-core finds on the page.
#[track_caller]
pub fn findings(browser: &Browser) -> Vec<Value> {
    if browser.run("return typeof axe") == "undefined" {
        browser.run(AXE);
    }
    browser.run_async(CHECK, &[json!(TAGS)]).as_array().unwrap().clone()
}

#[test]
fn the_file_is_that_of_the_package() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/console/vendor/axe-core");
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    let hash = hex::encode(digest(&SHA256, AXE.as_bytes()));
    assert!(readme.contains(&hash), "vendor/axe-core/README.md does not name {hash}");
    assert!(AXE.starts_with("/*! axe v4.14.1\n"), "the version of vendor/axe-core/README.md");
}
