//! Keys of the web console.

use super::super::keys::table;
use super::super::reader::ConfigReader;

/// Whether the console offers to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleWritable {
    /// With accounts, or in a browser on the machine of the node.
    Auto,
    Always,
    Never,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleConfig {
    pub enable: bool,
    pub writable: ConsoleWritable,
}

impl ConsoleConfig {
    pub(in super::super) fn read(reader: &mut ConfigReader) -> Self {
        let writable = match reader.choice(&table::CONSOLE_WRITABLE) {
            "true" => ConsoleWritable::Always,
            "false" => ConsoleWritable::Never,
            _ => ConsoleWritable::Auto,
        };
        Self { enable: reader.switch(&table::CONSOLE_ENABLE), writable }
    }
}
