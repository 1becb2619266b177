//! The files for containers and Kubernetes name what is there: keys and variables of the configuration, files of the repository, and the
//! versions of `Cargo.toml`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::docs::read;
use super::source::root;
use super::{Violation, assert_none};

const DOCKERFILE: &str = "Dockerfile";
const CHART: &str = "deploy/helm/service-center";
/// Variables that are no keys: of the program, of the container, and of the pod.
const OTHER_VARIABLES: [&str; 4] = ["BACKEND_ADDRESS", "HOSTNAME", "POD_IP", "SC_INIT_ROOT_PASSWORD"];

/// The keys and the variables that `docs/configuration.md` lists; another test compares it with the table of keys.
fn known() -> (BTreeSet<String>, BTreeSet<String>) {
    let page = read("docs/configuration.md");
    let tables = page.split("### Keys of the reference that are not read").next().unwrap();
    let rows = tables.lines().filter_map(|line| {
        let mut names = line.strip_prefix("| `")?.split("` | `");
        Some((names.next()?.to_owned(), names.nth(1)?.split('`').next()?.to_owned()))
    });
    rows.filter(|(key, _)| key.chars().next().is_some_and(char::is_lowercase)).unzip()
}

/// Files of this folder and below it, from the project's root.
fn files_below(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap());
    let mut files = Vec::new();
    for entry in entries {
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

fn is_variable(name: &str) -> bool {
    name.contains('_') && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// The variables that a file sets: `ENV A_B=c`, `- name: A_B`, `A_B: c` and `A_B=c`.
fn variables(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let named = lines.filter_map(|line| {
        let rest =
            ["ENV ", "- name: "].into_iter().find_map(|begin| line.strip_prefix(begin)).unwrap_or(line);
        let end = rest.find([':', '=', ' ']).unwrap_or(rest.len());
        Some(&rest[..end]).filter(|name| is_variable(name))
    });
    named.collect()
}

/// The keys that a template of `app.conf` sets: `server.port = 30100`.
fn keys(text: &str) -> Vec<&str> {
    let settings = text.lines().filter_map(|line| line.trim().split_once(" = "));
    settings.map(|(key, _)| key).filter(|key| !key.contains(['{', '$', ' '])).collect()
}

#[test]
fn files_for_containers_name_keys_and_variables_that_exist() {
    let (known_keys, known_variables) = known();
    assert!(known_keys.len() > 70 && known_variables.contains("SERVER_HOST"), "the page was not read");
    let is_known = |name: &str| {
        known_variables.contains(name) || OTHER_VARIABLES.contains(&name) || name.starts_with("CARGO_")
    };
    let mut violations: Vec<Violation> = Vec::new();
    let (mut seen_keys, mut seen_variables) = (0, 0);
    let mut files = files_below(CHART);
    files.extend(["deploy/container/env", "compose.yaml", DOCKERFILE].map(str::to_owned));
    for file in files {
        let text = read(&file);
        for name in variables(&text) {
            seen_variables += 1;
            if !is_known(name) && name != "RUST_LOG" {
                violations.push(format!("{file}: {name} is no variable of the configuration"));
            }
        }
        if file.ends_with("configmap.yaml") {
            for key in keys(&text) {
                seen_keys += 1;
                if !known_keys.contains(key) {
                    violations.push(format!("{file}: {key} is no key of the configuration"));
                }
            }
        }
    }
    for file in files_below(&format!("{CHART}/ci")) {
        let values: serde_yaml_ng::Value = serde_yaml_ng::from_str(&read(&file)).unwrap();
        let config = values.get("config").and_then(serde_yaml_ng::Value::as_mapping);
        for key in config.into_iter().flatten().filter_map(|(key, _)| key.as_str()) {
            let is_of_a_map =
                |known: &String| known.strip_suffix("NAME").is_some_and(|map| key.starts_with(map));
            if !known_keys.contains(key) && !known_keys.iter().any(is_of_a_map) {
                violations.push(format!("{file}: {key} is no key of the configuration"));
            }
        }
    }
    let documented = read("docs/containers.md");
    for name in documented.split('`').skip(1).step_by(2).filter(|name| is_variable(name)) {
        if !is_known(name) {
            violations.push(format!("docs/containers.md: {name} is no variable of the configuration"));
        }
    }
    assert!(seen_keys >= 12 && seen_variables >= 8, "only {seen_keys} keys and {seen_variables} variables");
    assert_none("files for containers name keys and variables that exist", &violations);
}

/// The sources of each `COPY` that does not copy from another stage.
fn copied(dockerfile: &str) -> Vec<&str> {
    let commands = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY "));
    let own = commands.filter(|command| !command.contains("--from="));
    own.flat_map(|command| {
        let mut words: Vec<&str> =
            command.split_whitespace().filter(|word| !word.starts_with("--")).collect();
        words.pop();
        words
    })
    .collect()
}

/// Docker sends only these files to the build: a source that they leave out would be missing there.
fn is_sent(path: &str, ignore: &str) -> bool {
    let kept = ignore.lines().filter_map(|line| line.strip_prefix('!'));
    kept.into_iter().any(|kept| Path::new(path).starts_with(kept))
}

#[test]
fn the_image_is_built_from_what_is_there() {
    let (dockerfile, ignore) = (read(DOCKERFILE), read(".dockerignore"));
    let sources = copied(&dockerfile);
    assert!(sources.len() >= 7, "only {sources:?} were found");
    for source in sources {
        assert!(root().join(source).exists(), "COPY {source}");
        assert!(is_sent(source, &ignore), "{source} is left out by .dockerignore");
    }
    // Everything that the manifest names must be there, or cargo stops.
    for needed in ["Cargo.toml", "Cargo.lock", "src", "benches", ".cargo"] {
        assert!(copied(&dockerfile).contains(&needed), "{needed}");
    }
    // What the program embeds.
    if root().join("console").exists() {
        assert!(copied(&dockerfile).contains(&"console"), "console");
    }
    for word in ["cargo build --locked --release", "USER 65532:65532", "\"check-health\"", "strip=debuginfo"]
    {
        assert!(dockerfile.to_lowercase().contains(&word.to_lowercase()), "{word}");
    }
}

/// The value of `name` in the first line that begins with it.
fn value<'a>(text: &'a str, name: &str) -> &'a str {
    let line =
        text.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap_or_else(|| panic!("{name}"));
    line.trim_start_matches([' ', '=', ':']).trim_matches('"')
}

#[test]
fn the_packages_have_the_version_of_the_program() {
    let manifest = read("Cargo.toml");
    let (version, rust) = (value(&manifest, "version"), value(&manifest, "rust-version"));
    assert_eq!(value(&read(DOCKERFILE), "ARG VERSION"), version);
    let minor =
        |version: &str| version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok()).unwrap();
    let compiler = value(&read(DOCKERFILE), "FROM docker.io/library/rust:").to_owned();
    assert!(minor(compiler.split('-').next().unwrap()) >= minor(rust), "{compiler} is older than {rust}");
    assert!(read("compose.yaml").contains(&format!("${{VERSION:-{version}}}")), "compose.yaml");
    let chart = read(&format!("{CHART}/Chart.yaml"));
    assert_eq!((value(&chart, "version"), value(&chart, "appVersion")), (version, version));
}

#[test]
fn wrong_names_are_found() {
    let text = "ENV A_B=c \\\n    D_E=\"\"\n  - name: F_G\n  - name: http\n  H_I: j\n# K_L: m\nN_O=p\n";
    assert_eq!(variables(text), ["A_B", "D_E", "F_G", "H_I", "N_O"]);
    assert_eq!(keys("  a.b = c\n  {{ $key }} = d\n  x: y\n"), ["a.b"]);
    assert_eq!(copied("COPY a b\nCOPY --from=build c d\nCOPY --chown=1:1 e f /g\n"), ["a", "e", "f"]);
    assert!(is_sent("conf/app.conf", "*\n!conf\n") && !is_sent("docs/a", "*\n!conf\n"));
}
