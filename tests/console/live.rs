//! Changes that appear by themselves, a lost connection, and a token that has ended.

use serde_json::json;

use crate::console::Console;
use crate::staging::{Caller, ROOT_PASSWORD, Shop, id_of, install_with_keys, with_accounts};
use crate::support::daemon::{Daemon, Settings};
use crate::support::proxy::Proxy;

#[test]
fn a_change_appears() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let _shop = Shop::fill(&caller);
    let console = Console::at(daemon.address());
    console.visit("#/services");
    caller.create(&json!({"serviceName": "just-registered"}));
    console.wait_for_text("just-registered");

    console.visit("#/service/orders-1.4.0");
    console.wait_for_text("orders-1");
    // What a person types stays, although the page is drawn anew.
    console.fill("Host, address or id", "orders");
    let box_of = "document.querySelector('main [data-search]')";
    console.run(&format!("{box_of}.focus(); {box_of}.setSelectionRange(2, 3)"));
    caller.set_status("orders-1.4.0", &id_of("orders-2"), "TESTING");
    console.wait_until("[...document.querySelectorAll('tr')].some((row) => row.innerText.includes('orders-2') && row.innerText.includes('Testing'))");
    let kept = console.run(&format!("return [document.activeElement === {box_of}, {box_of}.value, {box_of}.selectionStart, {box_of}.selectionEnd]"));
    assert_eq!(kept, json!([true, "orders", 2, 3]));

    console.visit("#/events");
    caller.unregister("pricing-2.2.0", &id_of("pricing-1"));
    console.wait_until("[...document.querySelectorAll('main tr, main li')].some((row) => row.innerText.includes('Unregistered') && row.innerText.includes('pricing'))");
    console.assert_is_clean("live");
}

#[test]
fn a_lost_connection_is_shown_and_recovers() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let _shop = Shop::fill(&caller);
    let proxy = Proxy::start(daemon.address()).unwrap();
    let console = Console::at(proxy.address());
    let is_grey = "document.documentElement.classList.contains('stale')";
    console.visit("#/services");
    console.wait_for_text("Live");
    console.assert_is_clean("connected");
    assert_eq!(console.run(&format!("return {is_grey}")), false);

    proxy.cut();
    console.wait_for_text("Not connected since");
    console.wait_until(is_grey);
    console.wait_for_text("storefront");
    caller.create(&json!({"serviceName": "registered-meanwhile"}));

    proxy.heal();
    console.wait_for_no_text("Not connected");
    console.wait_for_text("registered-meanwhile");
    console.wait_until(&format!("!{is_grey}"));
    caller.create(&json!({"serviceName": "registered-afterwards"}));
    console.wait_for_text("registered-afterwards");
    console.assert_logs_only_network("lost connection");
}

/// A page that is opened while the daemon is away says so, and shows data as soon as it is back.
#[test]
fn a_page_without_a_daemon_says_so() {
    let mut daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let shop = Shop::fill(&caller);
    let console = Console::at(daemon.address());
    console.visit("#/services");
    drop(shop);
    daemon.kill9();
    console.wait_for_text("Not connected since");
    console.click("a", "Instances");
    console.wait_for_text("does not answer");
    daemon.restart().unwrap();
    console.wait_for_text("payments");
    console.wait_for_no_text("does not answer");
    console.assert_logs_only_network("daemon away");
}

#[test]
fn a_token_that_has_ended_leads_to_the_login_and_back() {
    let daemon = Daemon::start_in(install_with_keys(with_accounts(Settings::default()))).unwrap();
    let root = Caller::logged_in(&daemon, "root", ROOT_PASSWORD);
    let _shop = Shop::fill(&root);
    let console = Console::at(daemon.address());
    let view = "#/service/orders-1.5.0/versions";
    // Somebody who has not logged in is led to the login, and comes to the view afterwards.
    console.open(&format!("{}{view}", console.page()));
    log_in(&console, view);
    console.wait_for_text("1.4.0");
    console.assert_is_clean("the first login");

    // The daemon refuses a token, which the page cannot know before.
    console.run("sessionStorage.setItem('token', 'not.a.token')");
    console.reload();
    log_in(&console, view);
    console.wait_for_text("1.4.0");
    console.assert_logs_only_network("a refused token");

    // The page knows when its own token ends.
    let ended = "const [head, claims, signature] = sessionStorage.getItem('token').split('.');
        const said = JSON.parse(atob(claims.replaceAll('-', '+').replaceAll('_', '/')));
        said.exp = 1600000000;
        sessionStorage.setItem('token', [head, btoa(JSON.stringify(said)).replaceAll('=', ''), signature].join('.'));";
    console.run(ended);
    console.reload();
    log_in(&console, view);
    console.wait_for_text("1.4.0");
    assert!(!console.page_and_storage().contains(ROOT_PASSWORD), "the password is kept");

    console.click("button", "Log out");
    console.wait_for_view("#/login");
    assert_eq!(console.run("return sessionStorage.getItem('token')"), json!(null));
    assert!(
        console.asked().iter().all(|url| !url.contains("eyJ")),
        "a token is in an address: {:?}",
        console.asked()
    );
}

#[track_caller]
fn log_in(console: &Console, back: &str) {
    console.wait_for_view("#/login");
    console.fill("Account", "root");
    console.fill("Password", ROOT_PASSWORD);
    console.click("button", "Log in");
    console.wait_for_view(back);
}
