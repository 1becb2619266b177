//! What a page offers to whom.

use serde_json::json;

use crate::console::Console;
use crate::staging::{Caller, PASSWORD, ROOT_PASSWORD, Shop, install_with_keys, with_accounts};
use crate::sub_path::{PATH, PathProxy};
use crate::support::daemon::{Daemon, Settings};

/// Views with buttons that change something, and the buttons.
const CHANGES: [(&str, &str); 3] = [
    ("#/service/payments-3.1.0", "Set status"),
    ("#/service/payments-3.1.0", "Drain"),
    ("#/service/mail-gateway-5.0.0/versions", "Delete version"),
];

#[track_caller]
fn assert_changes(console: &Console, are_offered: bool) {
    for (view, button) in CHANGES {
        console.visit(view);
        assert_eq!(console.count("button", button) > 0, are_offered, "{view}: {button}; {}", console.text());
    }
    console.visit("#/instances");
    let boxes = console.run("return document.querySelectorAll('main table input[type=checkbox]').length > 0");
    assert_eq!(boxes, are_offered, "#/instances");
}

#[test]
fn without_accounts_a_browser_on_this_machine_may_write() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let _shop = Shop::fill(&Caller::of(&daemon));
    let console = Console::at(daemon.address());
    assert_changes(&console, true);
    console.visit("#/");
    assert_eq!(console.count("a", "Access"), 0, "there are no accounts");
}

#[test]
fn without_accounts_a_browser_elsewhere_only_reads() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let _shop = Shop::fill(&Caller::of(&daemon));
    // Whom a proxy names as its client is not on this machine.
    let proxy = PathProxy::start(daemon.address(), "X-Forwarded-For: 192.0.2.7\r\n");
    let console = Console::below(proxy.address, PATH);
    assert_changes(&console, false);
    console.wait_for_text("This console only reads");
    console.assert_is_clean("a console that only reads");
}

#[test]
fn the_configuration_decides() {
    let daemon = Daemon::start(Settings::default().conf("console.writable", "false")).unwrap();
    let _shop = Shop::fill(&Caller::of(&daemon));
    assert_changes(&Console::at(daemon.address()), false);
}

#[test]
fn buttons_follow_the_permissions_of_the_account() {
    let daemon = Daemon::start_in(install_with_keys(with_accounts(Settings::default()))).unwrap();
    let root = Caller::logged_in(&daemon, "root", ROOT_PASSWORD);
    let _shop = Shop::fill(&root);
    let reads = json!({"name": "reader", "perms": [{"resources": [{"type": "service"}], "verbs": ["get"]}]});
    root.send("POST", "/v4/roles", Some(&reads));
    let account = json!({"name": "visitor", "password": PASSWORD, "roles": ["reader"]});
    root.send("POST", "/v4/accounts", Some(&account));
    let console = Console::at(daemon.address());

    console.log_in("visitor", PASSWORD);
    assert_changes(&console, false);
    for (view, entry) in [("#/", "Events"), ("#/", "Nodes")] {
        console.visit(view);
        assert_eq!(console.count("nav a", entry), 0, "{entry}");
    }
    // No page asks for what the account may not read: the browser would log it.
    for view in
        ["#/", "#/services", "#/service/orders-1.5.0", "#/instances", "#/topology/orders-1.5.0", "#/access"]
    {
        console.visit(view);
        console.assert_is_clean(view);
    }
    console.click("button", "Log out");

    console.log_in("root", ROOT_PASSWORD);
    assert_changes(&console, true);
    console.assert_is_clean("root");
}

#[test]
fn nobody_removes_the_own_last_access() {
    let daemon = Daemon::start_in(install_with_keys(with_accounts(Settings::default()))).unwrap();
    let root = Caller::logged_in(&daemon, "root", ROOT_PASSWORD);
    let keeps =
        json!([{"resources": [{"type": "account"}, {"type": "role"}, {"type": "service"}], "verbs": ["*"]}]);
    root.send("POST", "/v4/roles", Some(&json!({"name": "keepers", "perms": keeps})));
    for name in ["keeper", "other"] {
        let account = json!({"name": name, "password": PASSWORD, "roles": ["keepers"]});
        root.send("POST", "/v4/accounts", Some(&account));
    }
    let console = Console::at(daemon.address());
    console.log_in("root", ROOT_PASSWORD);
    console.visit("#/access");
    console.wait_for_text("other");
    // Its own row has neither. That of another account has both.
    assert_eq!(console.buttons_beside("other"), json!(["Password", "Edit", "Delete"]));
    let own = console.buttons_beside("root");
    assert!(!own.to_string().contains("Delete") && !own.to_string().contains("Edit"), "{own}");
    console.click("button", "Log out");

    console.log_in("keeper", PASSWORD);
    console.visit("#/access");
    console.wait_for_text("other");
    let own = console.buttons_beside("keeper");
    assert!(!own.to_string().contains("Delete") && !own.to_string().contains("Edit"), "{own}");
    console.visit("#/access/roles");
    // The role that gives the right may be edited, but not so that the right goes.
    console.click_beside("keepers", "button", "Edit");
    console.click("dialog input[type=checkbox]", "Change");
    console.click("dialog button", "Save");
    console.wait_for_text("This would take from you the last permission");
    assert_eq!(root.get("/v4/roles/keepers")["perms"][0]["verbs"], json!(["*"]));
    console.assert_is_clean("own last access");
}
