//! Answers about this node.

use crate::json_object;

json_object! {
    /// Which build answers, and which API.
    pub struct VersionInfo {
        /// Version of the program.
        "version" => version: String,
        /// What it was built from.
        "buildTag" => build_tag: String,
        /// Version of the language it is written in; the name is the original server's.
        "goVersion" => language_version: String,
        /// Operating system.
        "os" => os: String,
        /// Processor.
        "arch" => arch: String,
        /// `4.0.0` on `/v4/…`, `3.0.0` on `/version`.
        "apiVersion" => api_version: String,
    }
}
