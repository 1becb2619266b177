//! What systemd tells a service in its environment. The names are those of systemd, so there are no keys for them.

use std::time::Duration;

use super::super::reader::ConfigReader;

/// How the service manager wants to hear from the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SupervisorConfig {
    /// `NOTIFY_SOCKET`: where it listens. A name that begins with `@` is an abstract one.
    pub socket: Option<String>,
    /// `WATCHDOG_USEC`: it ends a service from which it has not heard for so long.
    pub watchdog: Option<Duration>,
}

impl SupervisorConfig {
    pub(in super::super) fn read(reader: &ConfigReader) -> Self {
        let variable = |name| reader.variables.environment.get(name).filter(|value| !value.is_empty());
        // Inherited from a parent process that was meant.
        let is_other = variable("WATCHDOG_PID").is_some_and(|pid| *pid != std::process::id().to_string());
        let micros = variable("WATCHDOG_USEC").filter(|_| !is_other).and_then(|micros| micros.parse().ok());
        Self {
            socket: variable("NOTIFY_SOCKET").cloned(),
            watchdog: micros.filter(|micros| *micros > 0).map(Duration::from_micros),
        }
    }
}
