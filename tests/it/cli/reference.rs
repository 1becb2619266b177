//! What is made from the commands: the page, the man pages and the completions.

use std::path::Path;
use std::process::Command;

use super::run::User;

/// `WRITE_GENERATED=1 cargo test` writes the page again.
#[test]
fn the_page_of_the_commands_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let page = service_center::cli::reference_of_ctl();
    if std::env::var("WRITE_GENERATED").is_ok() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "docs/cli.md is old: WRITE_GENERATED=1 cargo test --test it cli::");
}

#[test]
fn man_pages_and_completions_are_made() {
    let user = User::new();
    user.run(&["man", "pages"]).ok();
    let page = |name: &str| std::fs::read_to_string(user.home().join("pages").join(name)).unwrap();
    assert!(page("scctl.1").contains("scctl"));
    assert!(page("scctl-get-service.1").contains("all\\-domains"));
    assert!(page("service-center.1").contains("check\\-health"));
    for (shell, words) in [("bash", "complete -F"), ("zsh", "#compdef scctl"), ("fish", "complete -c scctl")]
    {
        let script = user.run(&["completion", shell]);
        assert!(script.ok().contains(words), "{shell}: {script:?}");
    }
}

#[test]
fn bash_completes_both_names() {
    let user = User::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (first, name, line, word) in [
        ("scctl", "scctl", "scctl get exp", "expiry"),
        ("ctl", "service-center", "service-center ctl get exp", "expiry"),
        ("ctl", "service-center", "service-center check-h", "check-health"),
    ] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_service-center"));
        let script = program.args([first, "completion", "bash"]).output().unwrap();
        assert!(script.status.success(), "{first}: {script:?}");
        std::fs::write(user.home().join(name), script.stdout).unwrap();
        let mut bash = Command::new(root.join("scripts/complete.sh"));
        let completed = bash.arg(user.home()).arg(line).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), word, "{line}: {completed:?}");
    }
}
