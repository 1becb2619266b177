//! Tells systemd (or another manager that sets `NOTIFY_SOCKET`) what the daemon does: it starts, serves, reads files again, or stops. Tells
//! it also that the daemon is alive, if it asks for that (`WATCHDOG_USEC`).
//!
//! The daemon is alive while each actor and each worker gets a turn on its thread. A thread that is stuck never gets free again by itself, so
//! a restart helps. Waiting is no reason for a restart: with etcd or a disk away, threads go on. The watchdog runs on the main thread, so a
//! main thread that is stuck is noticed too.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::config::SupervisorConfig;
use crate::rounds::Rounds;
use crate::trouble::Trouble;

/// How many pings fit into the time after which systemd ends the daemon. An actor or worker may take three quarters of this time for one
/// turn.
const PINGS: u32 = 4;

/// The connection to the service manager. Clones share it. Without a service manager nothing is sent.
#[derive(Clone)]
pub struct Supervisor(Rc<Inner>);

struct Inner {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
    phase: Cell<Phase>,
    trouble: Trouble,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    Stopping,
}

impl Supervisor {
    /// A socket that cannot be reached is logged, and does not stop the daemon.
    pub fn connect(config: SupervisorConfig) -> Self {
        let SupervisorConfig { socket, watchdog } = config;
        let socket = socket.and_then(|name| match open(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                log::warn!(
                    "the service manager cannot be told what the daemon does: NOTIFY_SOCKET '{name}': {error}"
                );
                None
            }
        });
        let (phase, trouble) = (Cell::new(Phase::Starting), Trouble::default());
        Self(Rc::new(Inner { socket, watchdog, phase, trouble }))
    }

    /// What `systemctl status` shows while the daemon starts.
    pub fn starts(&self, doing: &str) {
        self.send(&format!("STATUS={doing}"));
    }

    pub fn serves(&self, address: &str) {
        self.0.phase.set(Phase::Serving);
        self.send(&format!("READY=1\nSTATUS=listening on {address}"));
    }

    /// Only a daemon that serves says so, because the end of a reload looks like the end of the start.
    pub fn reloads(&self) {
        if self.0.phase.get() == Phase::Serving {
            self.send("RELOADING=1");
        }
    }

    pub fn has_reloaded(&self) {
        if self.0.phase.get() == Phase::Serving {
            self.send("READY=1");
        }
    }

    pub fn stops(&self) {
        self.0.phase.set(Phase::Stopping);
        self.send("STOPPING=1\nSTATUS=finishing requests");
    }

    /// Pings as long as all members answer. Returns at once if nobody asks for pings.
    pub async fn ping(self, signs_of_life: Rounds) {
        let Some(limit) = self.0.watchdog.filter(|_| self.0.socket.is_some()) else { return };
        let mut turn = interval((limit / PINGS).max(Duration::from_millis(1)));
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_silent = false;
        loop {
            turn.tick().await;
            let silent = signs_of_life.silent();
            if silent.is_empty() {
                self.send("WATCHDOG=1");
                signs_of_life.begin();
                if was_silent {
                    log::info!("every actor and worker answers the watchdog again");
                }
            } else if !was_silent {
                log::error!(
                    "no answer to the watchdog for {:?} from {}; systemd ends the daemon {limit:?} after the last ping",
                    limit / PINGS,
                    silent.join(", ")
                );
            }
            was_silent = !silent.is_empty();
        }
    }

    /// Never waits: a service manager that does not read must not stop the registry.
    fn send(&self, states: &str) {
        let Some(socket) = &self.0.socket else { return };
        match socket.send(states.as_bytes()) {
            Ok(_) => drop(self.0.trouble.is_over()),
            Err(error) => {
                if self.0.trouble.fails(&error.to_string()) {
                    log::warn!("the service manager was not told '{}': {error}", states.escape_debug());
                }
            }
        }
    }
}

fn open(name: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.strip_prefix('@') {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(Path::new(OsStr::from_bytes(name.as_bytes())))?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::future::pending;

    use super::*;

    const WATCHDOG: Duration = Duration::from_secs(20);

    /// A service manager that listens on an abstract socket.
    struct Manager(UnixDatagram);

    impl Manager {
        fn listen(name: &str) -> (Self, Supervisor) {
            let name = format!("service-center-test-{}-{name}", std::process::id());
            let address = SocketAddr::from_abstract_name(&name).unwrap();
            let socket = UnixDatagram::bind_addr(&address).unwrap();
            socket.set_nonblocking(true).unwrap();
            let config = SupervisorConfig { socket: Some(format!("@{name}")), watchdog: Some(WATCHDOG) };
            (Self(socket), Supervisor::connect(config))
        }

        fn heard(&self) -> Vec<String> {
            let mut buffer = [0; 256];
            let message = |_| {
                let length = self.0.recv(&mut buffer).ok()?;
                Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
            };
            std::iter::repeat(()).map_while(message).collect()
        }
    }

    #[test]
    fn a_reload_is_told_only_while_the_daemon_serves() {
        let (manager, supervisor) = Manager::listen("reload");
        let reload = || {
            supervisor.reloads();
            supervisor.has_reloaded();
        };
        supervisor.starts("waiting for the store");
        reload();
        assert_eq!(manager.heard(), ["STATUS=waiting for the store"]);
        supervisor.serves("http://127.0.0.1:30100");
        reload();
        let ready = "READY=1\nSTATUS=listening on http://127.0.0.1:30100";
        assert_eq!(manager.heard(), [ready, "RELOADING=1", "READY=1"]);
        supervisor.stops();
        reload();
        assert_eq!(manager.heard(), ["STOPPING=1\nSTATUS=finishing requests"]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_pings_while_every_member_answers() {
        let (manager, supervisor) = Manager::listen("ping");
        let rounds = Rounds::default();
        let (mut first, mut second) = (rounds.join("first"), rounds.join("second"));
        let always = async { while first.next().await {} };
        let four_times = async {
            for _ in 0..5 {
                assert!(second.next().await);
            }
            pending::<()>().await;
        };
        let pings = supervisor.ping(rounds.clone());
        let limit = tokio::time::sleep(10 * WATCHDOG);
        tokio::select! {
            () = always => unreachable!("somebody asks as long as the test runs"),
            () = four_times => unreachable!("it answers no more"),
            () = pings => unreachable!("it pings as long as the test runs"),
            () = limit => {}
        }
        assert_eq!(manager.heard(), ["WATCHDOG=1"; 5]);
        assert_eq!(rounds.silent(), ["second"]);
    }

    #[tokio::test]
    async fn without_a_service_manager_nothing_is_sent() {
        let gone = SupervisorConfig { socket: Some("/nowhere/notify".to_owned()), watchdog: Some(WATCHDOG) };
        for config in [SupervisorConfig::default(), gone] {
            let supervisor = Supervisor::connect(config);
            supervisor.serves("http://127.0.0.1:30100");
            supervisor.clone().ping(Rounds::default()).await;
            supervisor.stops();
        }
    }

    #[test]
    fn a_service_manager_that_does_not_read_stops_nothing() {
        let (manager, supervisor) = Manager::listen("deaf");
        for _ in 0..10_000 {
            supervisor.starts("waiting for the store");
        }
        assert!(supervisor.0.trouble.goes_on());
        assert!(!manager.heard().is_empty());
        supervisor.stops();
        assert!(!supervisor.0.trouble.goes_on());
    }
}
