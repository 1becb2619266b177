//! What a page changes, and what it then shows. The registry is asked by its API whether it happened.

use fantoccini::key::Key;
use serde_json::json;

use crate::console::Console;
use crate::staging::{Caller, REGISTRY, ROOT_PASSWORD, Shop, id_of, install_with_keys, with_accounts};
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::store::on_etcd;

#[test]
fn a_status_is_set() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let _shop = Shop::fill(&caller);
    let console = Console::at(daemon.address());
    console.visit("#/service/payments-3.1.0");
    console.click_beside("payments-2", "button", "Set status");
    console.click("input[type=radio]", "Testing");
    console.click("button", "Set");
    console.wait_until("!document.querySelector('dialog')");
    assert_eq!(caller.status("payments-3.1.0", &id_of("payments-2")), "TESTING");
    console.wait_until("[...document.querySelectorAll('tr')].some((row) => row.innerText.includes('payments-2') && row.innerText.includes('Testing'))");
    console.assert_is_clean("status");
}

#[test]
fn a_drain_shows_its_receipt() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let _shop = Shop::fill(&caller);
    let console = Console::at(daemon.address());
    console.visit("#/service/catalog-4.2.1");
    console.click_beside("catalog-1", "button", "Drain");
    console.click("button", "Take out of service");
    // One consumer depends on it, and watches.
    console.wait_for_text("1 of 1");
    assert_eq!(caller.status("catalog-4.2.1", &id_of("catalog-1")), "OUTOFSERVICE");
    console.click("dialog button", "Close");
    console.wait_until("!document.querySelector('dialog')");
    console.assert_is_clean("drain");
}

/// The alarm of an outage stays in the list when the store is back, until somebody acknowledges it.
#[test]
fn an_alarm_is_acknowledged() {
    let mut etcd = Etcd::start();
    let daemon = Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap();
    let caller = Caller::of(&daemon);
    let alarms = || caller.get("/v4/default/admin/alarms")["alarms"].clone();
    etcd.kill();
    eventually(3 * GENEROUS, || alarms()[0]["status"] == "ACTIVATED");
    etcd.restart();
    eventually(GENEROUS, || alarms()[0]["status"] == "CLEARED");
    let console = Console::at(daemon.address());
    console.visit("#/");
    console.click("button", "Acknowledge");
    console.wait_for_text("No alarms");
    assert_eq!(alarms(), json!(null));
    console.assert_is_clean("alarm");
}

#[test]
fn a_version_is_deleted_after_its_name_is_typed() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let _shop = Shop::fill(&caller);
    let console = Console::at(daemon.address());
    // A version with instances cannot be deleted.
    console.visit("#/service/orders-1.5.0/versions");
    console.wait_for_text("1.4.0");
    assert_eq!(console.count("button", "Delete version"), 0);
    console.visit("#/service/mail-gateway-5.0.0/versions");
    console.click_beside("5.0.0", "button", "Delete version");
    let is_closed = "document.querySelector('dialog button[type=submit]').disabled";
    console.wait_until(is_closed);
    console.type_text("mail-gatewa");
    console.wait_until(is_closed);
    console.type_text("y");
    console.wait_until(&format!("!{is_closed}"));
    console.press(Key::Enter);
    console.wait_for_view("#/services");
    let left = caller.get(&format!("{REGISTRY}/microservices"));
    let is_left = left["services"]
        .as_array()
        .unwrap()
        .iter()
        .any(|service| service["serviceId"] == "mail-gateway-5.0.0");
    assert!(!is_left, "{left}");
    // The page may ask for the version once more before it leaves.
    console.assert_logs_only_network("delete");
}

#[test]
fn the_status_of_selected_instances_is_set_and_read_back() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let _shop = Shop::fill(&caller);
    let console = Console::at(daemon.address());
    console.visit("#/instances?search=shipping");
    for instance in ["shipping-1", "shipping-2"] {
        console.click_beside(instance, "input[type=checkbox]", &console.checkbox_of(instance));
    }
    console.click("button", "Set status");
    console.click("input[type=radio]", "Up");
    console.click("button", "Set to Up");
    console.wait_for_text("2 of 2 have the new status");
    for instance in ["shipping-1", "shipping-2"] {
        assert_eq!(caller.status("shipping-0.8.0", &id_of(instance)), "UP");
    }
    console.click("dialog button", "Close");
    console.assert_is_clean("selected instances");
}

#[test]
fn a_role_is_made() {
    let daemon = Daemon::start_in(install_with_keys(with_accounts(Settings::default()))).unwrap();
    let root = Caller::logged_in(&daemon, "root", ROOT_PASSWORD);
    let console = Console::at(daemon.address());
    console.log_in("root", ROOT_PASSWORD);
    console.visit("#/access/roles");
    console.click("button", "Create role");
    console.fill("Name", "reader");
    console.click("dialog input[type=checkbox]", "Read");
    console.click("dialog button", "Create");
    console.wait_until("!document.querySelector('dialog')");
    let role = root.get("/v4/roles/reader");
    assert_eq!(role["perms"][0]["verbs"], json!(["get"]), "{role}");
    console.assert_is_clean("a role");
}
