//! Accounts and TLS: tokens, where they are kept and where they are sent, and certificates.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::run::{User, url};
use crate::access::{start, token_of, with_accounts};
use crate::support::daemon::{Daemon, Installation, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::net::free_address;

const PASSWORD: &str = "Root#Secret1\n";

#[test]
fn a_login_keeps_a_token_for_its_owner_and_its_address() {
    let daemon = start(with_accounts());
    let user = User::new();
    user.at(&daemon, &["get", "svc"]).fails(77, "401");
    user.type_at(&daemon, "wrong\n", &["login", "root"]).fails(77, "401202");
    user.type_at(&daemon, "", &["login", "root"]).fails(64, "no password");
    let login = user.type_at(&daemon, PASSWORD, &["login", "root"]);
    assert!(login.ok().is_empty() && login.err.contains("tokens.yaml"), "{login:?}");
    let path = user.folder().join("tokens.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let token = text.lines().find_map(|line| line.trim().strip_prefix("token: ")).unwrap();
    for name in ["tokens.yaml", "contexts.yaml"] {
        let mode = fs::metadata(user.folder().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    for arguments in [
        &["get", "svc"][..],
        &["-v", "get", "account"],
        &["get", "role", "-o", "wide"],
        &["context", "list", "-o", "json"],
        &["-v", "health"],
    ] {
        let ran = user.run(arguments);
        ran.ok();
        assert!(!ran.out.contains(token) && !ran.err.contains(token), "{ran:?}");
    }
    assert!(user.run(&["context", "list"]).ok().contains("root"));
    // Another node would accept the token, because it has the same keys. It gets none.
    let other = start(with_accounts());
    user.at(&other, &["get", "svc"]).fails(77, "401204");
    user.at(&other, &["--context", "default", "get", "svc"]).fails(77, "401204");
    user.at(&other, &["--token", token, "version"]).ok();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    user.run(&["get", "svc"]).fails(64, "chmod 600");
}

#[test]
fn a_login_leaves_the_address_of_its_context() {
    let daemon = start(with_accounts());
    let nobody = free_address().unwrap().to_string();
    let user = User::new();
    user.run(&["context", "set", "prod", "--addr", &nobody, "--protected"]).ok();
    let before = fs::read_to_string(user.folder().join("contexts.yaml")).unwrap();
    let login = ["--context", "prod", "login", "root"];
    user.type_at(&daemon, PASSWORD, &login).fails(64, "context set");
    assert_eq!(fs::read_to_string(user.folder().join("contexts.yaml")).unwrap(), before);
    assert!(!user.folder().join("tokens.yaml").exists());
    user.run(&["context", "set", "prod", "--addr", &url(&daemon)]).ok();
    user.type_in(PASSWORD, &login).ok();
    user.run(&["get", "account"]).ok();
    user.type_at(&daemon, PASSWORD, &login).ok();
}

#[test]
fn a_token_comes_from_an_option_a_file_or_the_environment() {
    let daemon = start(with_accounts());
    let user = User::new();
    let token = token_of("root");
    user.at(&daemon, &["--token", &token, "get", "account"]).ok();
    fs::write(user.home().join("token"), format!("{token}\n")).unwrap();
    user.at(&daemon, &["--token-file", "token", "get", "account"]).ok();
    User::new().with("SCCTL_TOKEN", &token).at(&daemon, &["get", "account"]).ok();
    let accounts = user.at(&daemon, &["--token", &token, "get", "account", "-o", "name"]);
    assert_eq!(accounts.ok(), "root\n");
    let refused = user.at(&daemon, &["--token", "not-a-token", "-v", "get", "account"]);
    refused.fails(77, "401201");
    assert!(!refused.err.contains("not-a-token"), "{refused:?}");
    user.run(&["context", "set", "x", "--addr", &url(&daemon), "--token", &token])
        .fails(64, "keeps no token");
}

#[test]
fn a_node_without_tls_is_told_apart_from_one_with_an_unknown_certificate() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let https = url(&daemon).replace("http:", "https:");
    let refused = User::new().run(&["--addr", &https, "--insecure", "get", "node"]);
    refused.fails(69, &format!("write the address as {}", url(&daemon)));
    assert!(!refused.err.contains("--ca"), "{refused:?}");
}

/// A certificate of a CA that the system does not know.
#[test]
fn the_certificate_of_a_node_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let dir = folder.path().display().to_string();
    let settings =
        Settings::default().conf("ssl_mode", "1").conf("ssl_verify_client", "0").conf("ssl.dir", &dir);
    let installation = Installation::new(settings).unwrap();
    let host = installation.address().ip().to_string();
    let made = rcgen::generate_simple_self_signed([host.clone()]).unwrap();
    write("server.cer", &made.cert.pem());
    write("trust.cer", &made.cert.pem());
    write("server_key.pem", &made.signing_key.serialize_pem());
    let mut daemon = Daemon::spawn_in(installation).unwrap();
    eventually(GENEROUS, || {
        assert_eq!(daemon.process().exit_status(), None);
        daemon.process().log().contains("listening on https://")
    });
    let addr = format!("https://{}", daemon.address());
    let user = User::new();
    let get = |user: &User, more: &[&str]| {
        let mut arguments = vec!["--addr", &addr, "get", "cluster"];
        arguments.extend_from_slice(more);
        user.run(&arguments)
    };
    let trust = folder.path().join("trust.cer").display().to_string();
    get(&user, &["--ca", &trust]).ok();
    get(&user, &["--insecure"]).ok();
    get(&user, &["--ca", &trust, "--peer"]).ok();
    get(&user, &["--peer", "--insecure"]).fails(64, "cannot be used with");
    get(&User::new().with("SSL_ROOT", &dir), &[]).ok();
    let other = rcgen::generate_simple_self_signed([host]).unwrap();
    write("other.cer", &other.cert.pem());
    let other = folder.path().join("other.cer").display().to_string();
    get(&user, &["--ca", &other]).fails(69, "--ca FILE");
    let plain = addr.replace("https:", "http:");
    for (command, code) in [(&["get", "node"][..], 69), (&["health"], 2)] {
        let mut arguments = vec!["--addr", &plain];
        arguments.extend_from_slice(command);
        let refused = user.run(&arguments);
        refused.fails(code, "Client sent an HTTP request to an HTTPS server");
        refused.fails(code, &format!("write the address as {addr}"));
    }
    get(&user, &["--ca", "absent.cer"]).fails(64, "absent.cer");
    user.run(&["context", "set", "secure", "--addr", &addr, "--ca", &trust]).ok();
    user.run(&["get", "cluster"]).ok();
}
