//! Keys of the log.

use std::path::PathBuf;

use log::LevelFilter;

use super::super::expand::expand_path;
use super::super::keys::table;
use super::super::reader::ConfigReader;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `2026-01-02T03:04:05.678Z INFO service_center::app: text`
    Text,
    /// One JSON object on each line.
    Json,
}

/// A log file and its rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    pub path: PathBuf,
    /// The file rotates when it has this many bytes.
    pub rotate_bytes: u64,
    /// How many old files are kept.
    pub backups: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub level: LevelFilter,
    /// `RUST_LOG`. It decides instead of `level`.
    pub filter: Option<String>,
    /// `None`: standard output.
    pub file: Option<LogFile>,
    pub format: LogFormat,
    /// The access log. `None`: it is off.
    pub access: Option<LogFile>,
}

impl LogConfig {
    pub(in super::super) fn read(reader: &mut ConfigReader) -> Self {
        let level = match reader.choice(&table::LOG_LEVEL) {
            "TRACE" => LevelFilter::Trace,
            "DEBUG" => LevelFilter::Debug,
            "WARN" => LevelFilter::Warn,
            "ERROR" | "FATAL" => LevelFilter::Error,
            _ => LevelFilter::Info,
        };
        let megabytes: u64 = reader.integer(&table::LOG_ROTATE_SIZE);
        let backups = reader.integer(&table::LOG_BACKUP_COUNT);
        let is_access_on = reader.switch(&table::LOG_ACCESS_ENABLE);
        let named = |path: String| LogFile {
            path: PathBuf::from(expand_path(&path, &|name| reader.variables.find(name))),
            rotate_bytes: megabytes * 1024 * 1024,
            backups,
        };
        let file = reader.text_if_any(&table::LOG_FILE).map(named);
        let access = reader.text_if_any(&table::LOG_ACCESS_FILE).filter(|_| is_access_on).map(named);
        if is_access_on && access.is_none() {
            reader.refuse(&table::LOG_ACCESS_FILE, "write the path of a file, or turn log.accessEnable off");
        }
        if access.is_some() && access == file {
            let expected = "log.file is the same file; write another one";
            reader.refuse(&table::LOG_ACCESS_FILE, expected);
        }
        let format = match reader.choice(&table::LOG_FORMAT) {
            "json" => LogFormat::Json,
            _ => LogFormat::Text,
        };
        let filter = reader.variables.find("RUST_LOG").filter(|filter| !filter.trim().is_empty());
        Self { level, filter, file, format, access }
    }
}
