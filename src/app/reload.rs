//! SIGHUP: the daemon opens or reads files again that an operator has replaced. `logrotate` and `systemctl reload` send it.
//!
//! Code that keeps such a file, for example the log or a certificate, subscribes. Signals that arrive while a subscriber works become
//! one.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::supervisor::Supervisor;
use crate::rounds::{Member, Rounds};

/// How long the service manager waits for those who read files again. They go on all the same.
const LIMIT: Duration = Duration::from_secs(30);

/// Tells subscribers about SIGHUP.
#[derive(Clone, Debug)]
pub struct Hangups(Rounds);

impl Hangups {
    /// After this call SIGHUP no longer ends the process.
    pub fn listen(supervisor: Supervisor) -> io::Result<Self> {
        let mut hangup = signal(SignalKind::hangup())?;
        let rounds = Rounds::default();
        let hangups = Self(rounds.clone());
        actix::spawn(async move {
            while hangup.recv().await.is_some() {
                log::info!("SIGHUP");
                supervisor.reloads();
                rounds.begin();
                if tokio::time::timeout(LIMIT, rounds.complete()).await.is_err() {
                    log::warn!("still read after {LIMIT:?}: {}", rounds.silent().join(", "));
                }
                supervisor.has_reloaded();
            }
        });
        Ok(hangups)
    }

    /// `next().await` returns `true` once for all signals since its last return, or since this call. A subscriber is done with its files
    /// when it calls `next` again.
    pub fn subscribe(&self, files: &'static str) -> Member {
        self.0.join(files)
    }
}
