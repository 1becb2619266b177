//! A picture of each page, as PNG. `make screenshots` writes them to `docs/images`; a run of the tests writes them to a folder that is removed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::browser::{Size, Theme};
use crate::console::Console;
use crate::staging::{Caller, ROOT_PASSWORD, Shop, install_with_keys, with_accounts};
use crate::support::daemon::{Daemon, Settings};

/// The environment variable that names the folder of the pictures.
const VARIABLE: &str = "SC_SCREENSHOTS";
/// All pictures together, in bytes. They are part of the repository.
const MOST_BYTES: usize = 3 << 19;

/// The smallest screen on which tables need no scrolling to the side.
const SIZE: Size = Size { width: 1280, height: 720, scale: 1, is_phone: false };

/// The name of each picture, its view, and its theme.
const PICTURES: [(&str, &str, Theme); 11] = [
    ("overview", "#/", Theme::Light),
    ("services", "#/services", Theme::Light),
    ("service", "#/service/payments-3.1.0", Theme::Light),
    ("contracts", "#/service/orders-1.5.0/contracts", Theme::Light),
    ("topology", "#/topology/orders-1.5.0", Theme::Dark),
    ("instances", "#/instances", Theme::Light),
    ("explain", EXPLAIN, Theme::Light),
    ("events", "#/events", Theme::Dark),
    ("nodes", "#/nodes", Theme::Light),
    ("access", "#/access", Theme::Light),
    ("login", "#/login", Theme::Light),
];
const EXPLAIN: &str = "#/explain?consumerId=orders-1.5.0&appId=shop&serviceName=shipping&env=production";

#[test]
fn each_page_has_its_picture() {
    let temporary = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = env::var_os(VARIABLE)
        .map_or_else(|| temporary.path().to_owned(), |asked| root.join(PathBuf::from(asked)));
    fs::create_dir_all(&folder).unwrap();
    let daemon = Daemon::start_in(install_with_keys(with_accounts(Settings::default()))).unwrap();
    let caller = Caller::logged_in(&daemon, "root", ROOT_PASSWORD);
    let _shop = Shop::fill(&caller);
    let console = Console::at(daemon.address());
    console.resize(SIZE);
    console.visit("#/login");
    console.run_with("sessionStorage.setItem('token', arguments[0])", &[json!(caller.token())]);
    let mut bytes = 0;
    for (name, view, theme) in PICTURES {
        console.prefer(theme);
        if name == "login" {
            console.run("sessionStorage.clear()");
        }
        console.visit(view);
        if name != "login" {
            console.wait_for_text("Live");
        }
        let picture = console.picture();
        bytes += picture.len();
        fs::write(folder.join(format!("console-{name}.png")), picture).unwrap();
    }
    console.assert_is_clean("pictures");
    assert!(bytes < MOST_BYTES, "{bytes} bytes of pictures");
}
