//! What is made from the commands: the page, the man pages and the completions.

use std::path::Path;

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
    for (shell, words) in [("bash", "complete -F"), ("zsh", "#compdef scctl"), ("fish", "complete -c scctl")]
    {
        let script = user.run(&["completion", shell]);
        assert!(script.ok().contains(words), "{shell}: {script:?}");
    }
}
