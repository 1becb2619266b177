//! `debug`: an archive for a bug report.
//!
//! It holds what a node tells operators: versions, numbers, alarms, metrics and the last events. It holds no token, no account, no property
//! and no schema, because those may be secret. The token of the caller is removed should it appear anyway.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::progress::Progress;
use super::client::Call;
use super::failure::Failure;
use super::session::Session;

/// The files of the archive, and what each holds. A path that begins with `/` is not below the project.
const PARTS: [(&str, &str); 14] = [
    ("version.json", "/version"),
    ("health.json", "registry/health"),
    ("readiness.json", "registry/health/readiness"),
    ("clusters.json", "admin/clusters"),
    ("alarms.json", "admin/alarms"),
    ("nodes.json", "admin/nodes"),
    ("diagnose.json", "admin/diagnose"),
    ("expiries.json", "admin/expiries"),
    ("retirements.json", "admin/retirements"),
    ("statistics.json", "govern/statistics"),
    ("services.json", "govern/services?sort=changed&order=desc&limit=200"),
    ("instances.json", "govern/instances?sort=changed&order=desc&limit=200"),
    ("events.json", "admin/events?since=1h&limit=200"),
    ("metrics.txt", "/metrics"),
];

/// Write an archive for a bug report: versions, alarms, numbers, metrics and events of a node, without secrets
#[derive(Args)]
pub struct Debug {
    /// The archive. Default: service-center-debug-TIME.tar.gz in this folder
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Debug {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        let now = session.clock.unix_seconds();
        let path = self.file.unwrap_or_else(|| format!("service-center-debug-{now}.tar.gz").into());
        let mut progress = Progress::new("files");
        let mut files = Vec::new();
        for (number, (name, place)) in PARTS.into_iter().enumerate() {
            progress.show(session.terminal, number + 1, Some(PARTS.len()));
            let path = if place.starts_with('/') { place.to_owned() } else { session.path(place) };
            let bytes = match session.client.call(&Call::get(path)).await {
                Ok(bytes) if bytes.is_empty() => b"200 without a body\n".to_vec(),
                Ok(bytes) => bytes.to_vec(),
                // What the node does not tell is told in the archive: it may be why somebody asks for help.
                Err(error) => format!("no answer: {error}\n").into_bytes(),
            };
            files.push((name, without_secrets(&bytes, session.client.target().token.as_deref())));
        }
        progress.finish(session.terminal);
        let about = format!(
            "scctl {}\nnode {}\ntime {now} (seconds since 1970)\n",
            env!("CARGO_PKG_VERSION"),
            session.client.address()
        );
        files.push(("about.txt", about.into_bytes()));
        let failed = |error: io::Error| Failure::usage(format!("{}: {error}", path.display()));
        write(&path, now, &files).map_err(failed)?;
        session.terminal.say(&path.display().to_string());
        session.note("look through the archive before you send it: it has names and addresses of services");
        Ok(())
    }
}

fn without_secrets(bytes: &[u8], token: Option<&str>) -> Vec<u8> {
    match token.filter(|token| !token.is_empty()) {
        Some(token) => String::from_utf8_lossy(bytes).replace(token, "(token)").into_bytes(),
        None => bytes.to_vec(),
    }
}

/// Writes a new file, which only its owner may read.
fn write(path: &Path, now: u64, files: &[(&str, Vec<u8>)]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(now);
        archive.append_data(&mut header, format!("service-center-debug/{name}"), bytes.as_slice())?;
    }
    archive.into_inner()?.finish()?.sync_all()
}
