//! `debug`: an archive for a bug report.
//!
//! It holds what a node tells operators: versions, numbers, alarms, metrics and the last events. It holds no token, no account, no property
//! and no schema, because those may be secret. Members of answers that hold such are left out. The token of the caller is removed should it
//! appear anyway.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::super::progress::Progress;
use super::client::{Call, CallError, Refusal};
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

/// Members of the answers that the archive does not get.
const LEFT_OUT: [&str; 2] = ["account", "properties"];

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
        let mut is_answered = false;
        let mut is_lost = false;
        let mut failure: Option<Failure> = None;
        for (number, (name, place)) in PARTS.into_iter().enumerate() {
            progress.show(session.terminal, number + 1, Some(PARTS.len()));
            let path = if place.starts_with('/') { place.to_owned() } else { session.path(place) };
            let bytes = match session.client.call(&Call::get(path)).await {
                Ok(bytes) => {
                    is_answered = true;
                    if bytes.is_empty() { b"200 without a body\n".to_vec() } else { shortened(&bytes) }
                }
                // What the node does not tell is told in the archive: it may be why somebody asks for help.
                Err(error) => {
                    is_lost = matches!(error, CallError::Unreachable(_));
                    let text = format!("no answer: {}\n", without_account(error.clone()));
                    failure.get_or_insert_with(|| error.into());
                    text.into_bytes()
                }
            };
            files.push((name, without_secrets(&bytes, session.client.target().token.as_deref())));
            // The other parts would wait for the same node.
            if is_lost {
                break;
            }
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
        match failure {
            Some(failure) if is_lost || !is_answered => Err(failure),
            _ => Ok(()),
        }
    }
}

/// An answer without the members that the archive does not get. What is not JSON stays.
fn shortened(bytes: &[u8]) -> Vec<u8> {
    let Ok(mut answer) = serde_json::from_slice::<Value>(bytes) else { return bytes.to_vec() };
    leave_out(&mut answer);
    answer.to_string().into_bytes()
}

fn leave_out(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !LEFT_OUT.contains(&name.as_str()));
            members.values_mut().for_each(leave_out);
        }
        Value::Array(items) => items.iter_mut().for_each(leave_out),
        _ => {}
    }
}

/// The detail of a refusal may name the account of the caller.
fn without_account(error: CallError) -> CallError {
    match error {
        CallError::Refused(refusal) if refusal.status < 500 => {
            CallError::Refused(Refusal { detail: String::new(), ..refusal })
        }
        error => error,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_left_out_at_any_depth() {
        let answer =
            br#"{"items":[{"cause":{"account":"root","type":"request"}},{"properties":{"a":"b"},"id":1}]}"#;
        let expected = r#"{"items":[{"cause":{"type":"request"}},{"id":1}]}"#;
        assert_eq!(String::from_utf8_lossy(&shortened(answer)), expected);
        assert_eq!(shortened(b"no JSON, account"), b"no JSON, account");
    }
}
