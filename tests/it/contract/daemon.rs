//! The program as an operator sees it: command line, configuration, exit codes, and how it stops.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use crate::support::daemon::{Daemon, Finished, Installation, Settings};
use crate::support::etcd::{Etcd, EtcdSetup, TlsFiles};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::Connection;
use crate::support::net::free_address;
use crate::support::registry::Registry;
use crate::support::store::{Backing, Embedded, on_etcd};
use crate::support::ws::{Frame, WebSocket};

/// Exit code for a wrong command line or configuration (`EX_USAGE`).
const USAGE: Option<i32> = Some(64);

fn run(settings: Settings, arguments: &[&str]) -> Finished {
    Installation::new(settings).unwrap().run(arguments).unwrap()
}

/// Each source of the configuration has a mistake. The program reports all of them at once, each with its place, its value and the valid
/// values. It starts nothing: it does not create the folder of the store, and does not open the port, which another process has.
#[test]
fn all_mistakes_are_told_at_once_before_anything_starts() {
    let settings = Settings::default()
        .conf("max_body_bytes", "2MB")
        .yaml("log.level", json!("LOUD"))
        .yaml("quota.cap.service.limit", json!("many"))
        .environment("INSTANCE_TTL", "soon");
    let installation = Installation::new(settings).unwrap();
    let _taken = TcpListener::bind(installation.address()).unwrap();
    let finished = installation.run(&["--registry.kind=mongo"]).unwrap();
    assert_eq!(finished.code, USAGE, "{finished:?}");
    for (place, value) in [
        ("conf/app.conf line 3", "\"2MB\""),
        ("conf/app.yaml line 2", "\"LOUD\""),
        ("conf/app.yaml line 6", "\"many\""),
        ("environment INSTANCE_TTL", "\"soon\""),
        ("flag --registry.kind", "\"mongo\""),
    ] {
        let told = finished
            .output
            .lines()
            .any(|line| line.contains("mistake: ") && line.contains(place) && line.contains(value));
        assert!(told, "no word of {value} at {place}:\n{}", finished.output);
    }
    assert!(finished.output.contains("5 mistake(s)"), "{}", finished.output);
    assert!(!finished.output.contains("in use"), "{}", finished.output);
    assert!(!installation.folder().join("data").exists(), "nothing was begun");
}

#[test]
fn a_wrong_command_line_is_told_and_ends_with_64() {
    for (arguments, word) in [
        (&["sevre"][..], "did you mean serve?"),
        (&["--server.prot=1"], "did you mean --server.port?"),
        (&["export"], "export needs --to FILE"),
        (&["import"], "import needs --from FILE"),
    ] {
        let finished = run(Settings::default(), arguments);
        assert_eq!(finished.code, USAGE, "{arguments:?}: {finished:?}");
        assert!(finished.output.contains(word), "{arguments:?}: {finished:?}");
    }
}

/// Each of the two keys of the metrics closes `/metrics` or most of it, and changes nothing else.
#[test]
fn metrics_can_be_switched_off() {
    for (key, value, status) in [
        ("metrics.enable", json!(true), 200),
        ("metrics.enable", json!(false), 200),
        ("metrics.exporter", json!("other"), 404),
    ] {
        let daemon = Daemon::start(Settings::default().yaml(key, value.clone())).unwrap();
        let metrics = daemon.client().get("/metrics").unwrap();
        assert_eq!(metrics.status, status, "{key} = {value}");
        assert_eq!(metrics.text() == "404 page not found\n", status == 404, "{key} = {value}");
        let is_on = value == json!(true);
        assert_eq!(metrics.text().contains("\nprocess_open_fds "), status == 200, "{key} = {value}");
        assert_eq!(metrics.text().contains("service_center_snapshot_revision "), is_on, "{key} = {value}");
        assert_eq!(daemon.client().get("/v4/default/registry/health").unwrap().status, 200);
    }
}

/// A port that another process has is not a mistake of the configuration. The message names the address.
#[test]
fn a_port_in_use_is_told_with_its_address() {
    let installation = Installation::new(Settings::default()).unwrap();
    let _taken = TcpListener::bind(installation.address()).unwrap();
    let finished = installation.run(&[]).unwrap();
    assert_eq!(finished.code, Some(69), "{finished:?}");
    assert!(finished.output.contains(&format!("{}: Address", installation.address())), "{finished:?}");
}

#[test]
fn version_and_help_end_well_also_beside_mistakes() {
    let broken = || Settings::default().environment("INSTANCE_TTL", "soon");
    for arguments in [&["--version"][..], &["-v"], &["--nonsense=1", "--version"]] {
        let finished = run(broken(), arguments);
        assert_eq!(finished.code, Some(0), "{arguments:?}: {finished:?}");
        assert_eq!(finished.output, format!("service-center {}\n", env!("CARGO_PKG_VERSION")));
    }
    for arguments in [&["--help"][..], &["-h"], &["--nonsense=1", "--help"]] {
        let finished = run(broken(), arguments);
        assert_eq!(finished.code, Some(0), "{arguments:?}: {finished:?}");
        for word in [
            "serve",
            "check-config",
            "export --to FILE",
            "import --from FILE",
            "keys --out DIR",
            "--conf DIR",
        ] {
            assert!(finished.output.contains(word), "{word}: {}", finished.output);
        }
    }
}

#[test]
fn check_config_shows_values_and_where_they_come_from_but_no_password() {
    let settings = Settings::default()
        .yaml("registry.etcd.username", json!("root"))
        .yaml("registry.etcd.password", json!("hunter2"))
        .yaml("quota.cap.tag.limit", json!(7))
        .environment("LOG_LEVEL", "DEBUG");
    let installation = Installation::new(settings).unwrap();
    let finished = installation.run(&["check-config", "--registry.kind=etcd"]).unwrap();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let address = installation.address();
    for (setting, origin) in [
        (format!("server.host = {}", address.ip()), "conf/app.conf line 1"),
        (format!("server.port = {}", address.port()), "conf/app.conf line 2"),
        ("quota.cap.tag.limit = 7".to_owned(), "conf/app.yaml line"),
        ("log.level = DEBUG".to_owned(), "environment LOG_LEVEL"),
        ("registry.kind = etcd".to_owned(), "flag --registry.kind"),
        ("registry.instance.minTimes = 3".to_owned(), "default"),
        ("registry.etcd.password = ******".to_owned(), "conf/app.yaml line"),
    ] {
        let shown = finished.output.lines().any(|line| {
            line.split_once('#').is_some_and(|(left, right)| left.trim() == setting && right.contains(origin))
        });
        assert!(shown, "{setting} # {origin}:\n{}", finished.output);
    }
    assert!(!finished.output.contains("hunter2"), "{}", finished.output);
    assert!(!installation.folder().join("data").exists(), "it only looks");

    let finished = run(Settings::default().environment("INSTANCE_TTL", "soon"), &["check-config"]);
    assert_eq!(finished.code, USAGE, "{finished:?}");
    assert!(finished.output.contains("1 mistake(s)"), "{finished:?}");
}

/// A password in an endpoint is a mistake. The message does not show the password to readers of the log.
#[test]
fn a_password_inside_an_endpoint_is_refused_and_not_shown() {
    for command in ["check-config", "serve"] {
        let settings = Settings::default().conf("manager_cluster", "\"http://bob:hunter2@127.0.0.1:2379\"");
        let finished = run(settings, &[command]);
        assert_eq!(finished.code, USAGE, "{finished:?}");
        assert!(finished.output.contains("registry.etcd.password"), "{finished:?}");
        assert!(!finished.output.contains("hunter2"), "{command}: {}", finished.output);
    }
}

/// If the etcd user may not take the locks, the daemon does not start. Otherwise it would answer 200 although it records no dependency and
/// informs no watcher.
#[test]
fn missing_permissions_of_etcd_end_the_start_with_one_line() {
    let etcd = Etcd::start();
    for command in [
        "user add root:open",
        "user grant-role root root",
        "user add registry:open",
        "role add registry",
        "role grant-permission registry --prefix=true readwrite /cse-sr/",
        "role grant-permission registry --prefix=true readwrite /service-center/",
        "user grant-role registry registry",
        "auth enable",
    ] {
        etcd.ctl(&command.split(' ').collect::<Vec<_>>());
    }
    let settings = on_etcd(Settings::default(), &[etcd.address()])
        .conf("registry.etcd.username", "registry")
        .conf("registry.etcd.password", "open");
    let finished = run(settings.clone(), &["serve"]);
    assert_eq!(finished.code, Some(69), "{finished:?}");
    let complaints: Vec<&str> = finished.output.lines().filter(|line| line.contains(" ERROR ")).collect();
    let [complaint] = complaints.as_slice() else { panic!("{finished:?}") };
    for says in [r#"user "registry""#, "write /lock/", "etcdctl role grant-permission"] {
        assert!(complaint.contains(says), "{complaint}");
    }
    etcd.ctl(&[
        "--user=root:open",
        "role",
        "grant-permission",
        "registry",
        "--prefix=true",
        "readwrite",
        "/lock/",
    ]);
    Daemon::start(settings).unwrap();
}

/// The format in which OpenSSL 3 writes encrypted keys: PKCS#8 with AES-256, PBKDF2 and SHA-256.
#[test]
fn an_encrypted_key_opens_the_port_of_https() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let der = made.signing_key.serialize_der();
    let parameters =
        pkcs8::pkcs5::pbes2::Parameters::pbkdf2_sha256_aes256cbc(2_048, &[7; 8], &[9; 16]).unwrap();
    let key = pkcs8::PrivateKeyInfo::try_from(der.as_slice()).unwrap();
    let encrypted = key.encrypt_with_params(parameters, "Test#Pwd1").unwrap();
    write("server.cer", &made.cert.pem());
    write("server_key.pem", &encrypted.to_pem("ENCRYPTED PRIVATE KEY", pkcs8::LineEnding::LF).unwrap());
    write("cert_pwd", "Test#Pwd1\n");
    let settings = Settings::default()
        .conf("ssl_mode", "1")
        .conf("ssl_verify_client", "0")
        .conf("ssl.dir", &folder.path().display().to_string());
    let mut daemon = Daemon::spawn(settings.clone()).unwrap();
    eventually(GENEROUS, || {
        assert_eq!(daemon.process().exit_status(), None);
        daemon.process().log().contains("listening on https://")
    });
    write("cert_pwd", "another one");
    let finished = run(settings, &["serve"]);
    assert_eq!(finished.code, Some(69), "{finished:?}");
    assert!(finished.output.contains("cert_pwd does not open the key"), "{finished:?}");
}

/// Injected: SIGTERM or SIGINT, on both stores, with an idle connection and an idle watch. The watch is closed with 1001, the connection
/// ends, the exit code is 0, and the port is free.
#[test]
fn a_stop_in_order_ends_with_0() {
    let etcd = Etcd::start();
    for settings in [Embedded.chosen_in(Settings::default()), on_etcd(Settings::default(), &[etcd.address()])]
    {
        for signal in [Signal::TERM, Signal::INT] {
            let mut daemon = Daemon::start(settings.clone()).unwrap();
            let registry = Registry::new(daemon.client(), "default");
            let consumer = registry.create_service("consumer", "1.0.0").unwrap();
            let mut watch =
                WebSocket::open(daemon.address(), &registry.watch_target(&consumer), &[]).unwrap();
            let mut idle = idle_connection(daemon.address());
            daemon.process().signal(signal);
            let close = watch.next_data(GENEROUS).unwrap();
            assert_eq!(close, Frame::Close(Some((1001, "the registry node stops".to_owned()))));
            drop(watch);
            assert!(idle.closes_within(GENEROUS));
            assert_eq!(daemon.process().wait(GENEROUS).unwrap().code(), Some(0));
            eventually(GENEROUS, || TcpListener::bind(daemon.address()).is_ok());
            let log = daemon.process().log();
            assert!(log.trim_end().ends_with("stopped"), "{log}");
        }
    }
}

/// Injected: SIGHUP after the log file was renamed, as by logrotate. The daemon opens a new file and goes on serving.
#[test]
fn sighup_opens_the_log_file_again() {
    let mut daemon = Daemon::start(Settings::default().conf("logfile", "log/sc.log")).unwrap();
    let file = daemon.folder().join("log/sc.log");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    eventually(GENEROUS, || read(&file).contains("listening on"));
    for before in 0..2 {
        let aside = file.with_extension(before.to_string());
        std::fs::rename(&file, &aside).unwrap();
        daemon.process().signal(Signal::HUP);
        eventually(GENEROUS, || read(&file).contains("the log goes on here after SIGHUP"));
        assert_eq!(read(&aside).matches("goes on here").count(), before, "{}", read(&aside));
    }
    assert_eq!(daemon.client().get("/v4/default/registry/health").unwrap().status, 200);
    assert_eq!(daemon.terminate(GENEROUS).unwrap().code(), Some(0));
    assert!(read(&file).trim_end().ends_with("stopped"), "{}", read(&file));
}

/// Injected: the certificates for etcd are replaced, first by an invalid file. The daemon logs this once by itself and again at each
/// SIGHUP, and goes on with the old ones. It uses the valid file that comes afterwards.
#[test]
fn replaced_certificates_for_etcd_are_read_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    let made = rcgen::generate_simple_self_signed(["etcd.test".to_owned()]).unwrap();
    write("etcd.pem", &made.cert.pem());
    write("etcd.key", &made.signing_key.serialize_pem());
    let tls =
        TlsFiles { ca: path("etcd.pem"), certificate: path("etcd.pem"), key: path("etcd.key"), client: None };
    let etcd = Etcd::start_with(EtcdSetup { tls: Some(tls), ..EtcdSetup::default() });
    write("ca.pem", &made.cert.pem());
    let settings = Settings::default()
        .conf("manager_cluster", &format!("\"{}\"", etcd.endpoint()))
        .conf("registry.etcd.ssl.caFile", &path("ca.pem").display().to_string())
        .conf("registry.etcd.ssl.serverName", "etcd.test");
    let mut daemon = Daemon::start(settings).unwrap();
    let broken = "the certificates for etcd cannot be used, so the old ones stay in use";
    write("ca.pem", "no certificate");
    eventually(GENEROUS, || daemon.process().log().contains(broken));
    assert_eq!(daemon.process().log().matches(broken).count(), 1);
    daemon.process().signal(Signal::HUP);
    eventually(GENEROUS, || daemon.process().log().matches(broken).count() == 2);
    assert!(
        daemon.process().log().contains("ca.pem: the file holds no certificate"),
        "{}",
        daemon.process().log()
    );
    let metrics = || daemon.client().get("/metrics").unwrap().text();
    assert!(metrics().contains("certificates_last_reload_successful{files=\"etcd\"} 0\n"), "{}", metrics());
    assert!(metrics().contains("certificate_expiry_seconds{certificate=\"etcd_ca\"} "), "{}", metrics());
    write("ca.pem", &made.cert.pem());
    eventually(GENEROUS, || {
        daemon.process().log().contains("the certificates for etcd have changed and are in use")
    });
    Registry::new(daemon.client(), "default").create_service("written", "1.0.0").unwrap();
}

/// Injected: SIGHUP without a log file, on each store, and while a daemon waits for its etcd.
#[test]
fn sighup_ends_no_daemon() {
    let etcd = Etcd::start();
    let served = |settings: Settings| Daemon::start(settings).unwrap();
    let waits = |settings: Settings| {
        let mut daemon = Daemon::spawn(settings).unwrap();
        eventually(GENEROUS, || daemon.process().log().contains("waiting for etcd"));
        daemon
    };
    let nowhere = free_address().unwrap();
    for mut daemon in [
        served(Embedded.chosen_in(Settings::default())),
        served(on_etcd(Settings::default(), &[etcd.address()])),
        waits(on_etcd(Settings::default(), &[nowhere])),
    ] {
        daemon.process().signal(Signal::HUP);
        eventually(GENEROUS, || daemon.process().log().contains("SIGHUP"));
        assert_eq!(daemon.terminate(GENEROUS).unwrap().code(), Some(0));
    }
}

fn idle_connection(address: SocketAddr) -> Connection {
    let mut connection = Connection::open(address, GENEROUS).unwrap();
    connection.send_bytes(b"GET /v4/default/registry/version HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
    assert_eq!(connection.read_response("GET").unwrap().status, 200);
    connection
}
