//! SIGHUP: the daemon opens or reads files again that an operator has replaced. `logrotate` and `systemctl reload` send it.
//!
//! Code that keeps such a file, for example the log or a certificate, subscribes. Signals that arrive while a subscriber works become
//! one.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells subscribers about SIGHUP.
#[derive(Clone, Debug)]
pub struct Hangups(watch::Sender<()>);

impl Hangups {
    /// After this call SIGHUP no longer ends the process.
    pub fn listen() -> io::Result<Self> {
        let mut hangup = signal(SignalKind::hangup())?;
        let (sender, _) = watch::channel(());
        let hangups = Self(sender.clone());
        actix::spawn(async move {
            while hangup.recv().await.is_some() {
                log::info!("SIGHUP");
                sender.send_replace(());
            }
        });
        Ok(hangups)
    }

    /// `changed().await` returns once for all signals since its last return, or since this call.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
