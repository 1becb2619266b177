//! Answers about the node itself.

use crate::json_object;

json_object! {
    /// The version of the node.
    pub struct BuildInfo {
        /// The release of the original server whose API the node implements.
        "version" => version: String,
        /// The name and the version of the program.
        "buildTag" => build_tag: String,
        /// `Rust`. The original server answers its Go version here.
        "goVersion" => language_version: String,
        /// The operating system.
        "os" => os: String,
        /// The processor architecture.
        "arch" => arch: String,
    }
}

json_object! {
    /// The version of the node and of its API.
    pub struct VersionInfo {
        /// The release of the original server whose API the node implements.
        "version" => version: String,
        /// The name and the version of the program.
        "buildTag" => build_tag: String,
        /// `Rust`. The original server answers its Go version here.
        "goVersion" => language_version: String,
        /// The operating system.
        "os" => os: String,
        /// The processor architecture.
        "arch" => arch: String,
        /// `4.0.0` on `/v4/…`, `3.0.0` on `/version`.
        "apiVersion" => api_version: String,
    }
}
