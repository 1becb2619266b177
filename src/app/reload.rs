//! SIGHUP: what may be renewed while the daemon runs is read again. `logrotate` sends it, and `systemctl reload` does.
//!
//! Whoever keeps something open that an operator replaces, such as a log file or a certificate, subscribes. Signals that come
//! while a subscriber works become one.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells subscribers to read again what they keep.
#[derive(Clone, Debug)]
pub struct Reload(watch::Sender<()>);

impl Reload {
    /// From here on SIGHUP does not end the process.
    pub fn listen() -> io::Result<Self> {
        let mut hangup = signal(SignalKind::hangup())?;
        let (sender, _) = watch::channel(());
        let reload = Self(sender.clone());
        actix::spawn(async move {
            while hangup.recv().await.is_some() {
                log::info!("SIGHUP");
                sender.send_replace(());
            }
        });
        Ok(reload)
    }

    /// `changed().await` returns once for the signals that have come since the last time, or since now.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
