//! Keys of the record of events.

use std::path::PathBuf;

use super::super::keys::table;
use super::super::reader::ConfigReader;

/// What is kept of the record of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsConfig {
    /// How many events stay in memory. 0: none.
    pub max_events: usize,
    /// How many bytes they may take.
    pub max_bytes: usize,
    /// How many bytes the files may take. 0: no files.
    pub max_disk_bytes: u64,
    /// The folder of the files. `None`: a folder in that of the embedded store, else none.
    pub dir: Option<PathBuf>,
}

impl EventsConfig {
    pub(in super::super) fn read(reader: &mut ConfigReader) -> Self {
        Self {
            max_events: reader.integer(&table::EVENTS_MAX),
            max_bytes: reader.integer(&table::EVENTS_MAX_BYTES),
            max_disk_bytes: reader.integer(&table::EVENTS_MAX_DISK_BYTES),
            dir: reader.text_if_any(&table::EVENTS_DIR).map(PathBuf::from),
        }
    }
}
