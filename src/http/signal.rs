//! A flag that is raised once and wakes whoever waits for it, on any thread.
//!
//! `tokio_util::sync::CancellationToken` does the same, but takes a lock for each look, and every answer looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Raised once, for good.
#[derive(Debug, Default)]
pub struct Signal {
    raised: AtomicBool,
    notify: Notify,
}

impl Signal {
    /// Raises it and wakes all who wait.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed)
    }

    /// Waits until it is raised.
    pub async fn wait(self: Arc<Self>) {
        let notified = self.notify.notified();
        tokio::pin!(notified);
        // In line first, then a look: a raise in between is not missed.
        notified.as_mut().enable();
        if !self.raised.load(Ordering::SeqCst) {
            notified.await;
        }
    }
}
