//! Each page in both languages and both themes, at the size of a screen, at 400 %, and on a phone.

use serde_json::json;

use crate::axe;
use crate::browser::{Language, PHONE, Theme, WINDOW, ZOOMED};
use crate::console::Console;
use crate::staging::{Caller, ROOT_PASSWORD, Shop, id_of, install_with_keys, with_accounts};
use crate::support::daemon::{Daemon, Settings};

/// All views, filled by the shop.
const VIEWS: [&str; 20] = [
    "#/",
    "#/services",
    "#/services?search=nothing-has-this-name",
    "#/service/orders-1.5.0",
    "#/service/orders-1.5.0/versions",
    "#/service/orders-1.5.0/consumers",
    "#/service/orders-1.5.0/watchers",
    "#/service/orders-1.5.0/contracts",
    "#/service/orders-1.5.0/tags",
    "#/service/orders-1.5.0/properties",
    "#/service/orders-1.5.0/events",
    "#/service/orders-1.5.0/json",
    "#/topology/orders-1.5.0",
    "#/instances",
    "#/explain?consumerId=orders-1.5.0&appId=shop&serviceName=shipping&env=production",
    "#/events",
    "#/nodes",
    "#/access",
    "#/access/roles",
    "#/access/locks",
];

/// Visits each view in this language, in both themes.
fn visit_all(language: Language) {
    let daemon = Daemon::start_in(install_with_keys(with_accounts(Settings::default()))).unwrap();
    let root = Caller::logged_in(&daemon, "root", ROOT_PASSWORD);
    let _shop = Shop::fill(&root);
    let console = Console::at(daemon.address());
    console.speak(language);
    let mut findings = Vec::new();
    for theme in [Theme::Light, Theme::Dark] {
        console.prefer(theme);
        console.visit("#/login");
        check(&console, &format!("{language:?} {theme:?} #/login"), &mut findings);
        console.run_with("sessionStorage.setItem('token', arguments[0])", &[json!(root.token())]);
        let history = format!("#/instance/payments-3.1.0/{}", id_of("payments-2"));
        for view in VIEWS.into_iter().chain([history.as_str()]) {
            console.visit(view);
            check(&console, &format!("{language:?} {theme:?} {view}"), &mut findings);
        }
        console.run("sessionStorage.clear()");
    }
    assert!(findings.is_empty(), "{findings:#?}");
}

/// Checks the page at all sizes. Findings of axe-core are collected, so that one run shows all.
fn check(console: &Console, place: &str, findings: &mut Vec<String>) {
    let found = axe::findings(console);
    findings.extend(found.iter().map(|finding| format!("{place}: {finding:#}")));
    for size in [ZOOMED, PHONE] {
        console.resize(size);
        findings.extend(console.misfit(&format!("{place} {size:?}")));
    }
    console.resize(WINDOW);
    findings.extend(console.misfit(place));
    console.assert_is_clean(place);
}

#[test]
fn pages_in_english() {
    visit_all(Language::English);
}

#[test]
fn pages_in_chinese() {
    visit_all(Language::Chinese);
}

#[test]
fn a_service_that_is_gone_is_told() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let console = Console::at(daemon.address());
    let gone = caller.create(&json!({"serviceName": "was-here"}));
    caller.send("DELETE", &format!("/v4/default/registry/microservices/{gone}"), None);
    console.visit(&format!("#/service/{gone}"));
    // The record says what happened.
    console.wait_for_text("Service deleted");
    console.visit("#/nowhere");
    console.wait_for_text("There is no such page");
    console.assert_logs_only_network("what is not there");
    assert!(axe::findings(&console).is_empty());
}
