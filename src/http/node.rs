//! What a node says of itself: its version, and whether it serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::api::Api;
use super::call::{Answer, Call, Surface};
use super::reply::Reply;
use crate::error::{Code, Error};

/// Facts about this node that never change, and whether it is ready.
#[derive(Debug)]
pub struct Node {
    version_v4: Bytes,
    version_v3: Bytes,
    ready: AtomicBool,
}

impl Node {
    /// A node that is not ready yet. `api_version`: the release of the original server whose API this one speaks.
    pub fn new(api_version: &str) -> Self {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let answer = |api: &str| {
            Bytes::from(format!(
                concat!(
                    r#"{{"version":"{}","buildTag":"{}/{}","goVersion":"Rust","os":"{}","arch":"{}","#,
                    r#""apiVersion":"{}"}}"#
                ),
                api_version,
                env!("CARGO_PKG_NAME"),
                env!("CARGO_PKG_VERSION"),
                std::env::consts::OS,
                arch,
                api
            ))
        };
        Self { version_v4: answer("4.0.0"), version_v3: answer("3.0.0"), ready: AtomicBool::new(false) }
    }

    /// From now on this node serves.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// From now on this node drains: readiness is 503, everything else goes on.
    pub fn set_draining(&self) {
        self.ready.store(false, Ordering::Release);
    }
}

/// `GET …/version`.
pub fn version(api: &Arc<Api>, call: Call) -> Answer {
    let body = match call.surface() {
        Surface::V4 => &api.node.version_v4,
        Surface::V3 | Surface::Plain => &api.node.version_v3,
    };
    Reply::json(body.clone()).into()
}

/// `GET …/health/readiness`: 200 while this node serves.
pub fn readiness(api: &Arc<Api>, _: Call) -> Answer {
    if api.node.ready.load(Ordering::Acquire) {
        Reply::empty().into()
    } else {
        Reply::error(&Error::new(Code::Overloaded, "this node is starting or stopping")).into()
    }
}
