//! The version of this node, and whether it is ready to serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::signal::Signal;
use super::spec::Surface;

/// The version of this node, and whether it is ready to serve.
#[derive(Debug)]
pub struct ThisNode {
    version_v4: Bytes,
    version_v3: Bytes,
    /// The same without the version of the API.
    info: Bytes,
    ready: AtomicBool,
    /// Raised when the node stops.
    draining: Arc<Signal>,
}

impl ThisNode {
    /// A node that is not ready yet. `api_version`: the release of the original server whose API this node implements.
    pub fn new(api_version: &str) -> Self {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let info = format!(
            r#"{{"version":"{}","buildTag":"{}/{}","goVersion":"Rust","os":"{}","arch":"{}""#,
            api_version,
            env!("CARGO_PKG_NAME"),
            env!("CARGO_PKG_VERSION"),
            std::env::consts::OS,
            arch,
        );
        let answer = |api: &str| Bytes::from(format!(r#"{info},"apiVersion":"{api}"}}"#));
        Self {
            version_v4: answer("4.0.0"),
            version_v3: answer("3.0.0"),
            info: Bytes::from(format!("{info}}}")),
            ready: AtomicBool::new(false),
            draining: Arc::default(),
        }
    }

    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Makes readiness answer 503, and ends the streams of events. Other requests are still served.
    pub fn set_draining(&self) {
        self.ready.store(false, Ordering::Release);
        self.draining.raise();
    }

    /// Raised when the node stops.
    pub fn draining(&self) -> &Arc<Signal> {
        &self.draining
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// The version of this node as JSON.
    pub fn info(&self) -> &Bytes {
        &self.info
    }

    /// The body of `GET …/version`.
    pub fn version(&self, surface: Surface) -> &Bytes {
        match surface {
            Surface::V4 => &self.version_v4,
            Surface::V3 | Surface::Plain => &self.version_v3,
        }
    }
}
