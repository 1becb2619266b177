//! Builds all parts of the daemon once, in the order of the data flow, and stops them in reverse order.

mod access;
pub mod actors;
mod error;
mod limits;
mod metrics;
mod reload;
pub mod rules;
mod store;
mod stored;
mod supervisor;
mod tls;
mod traces;
mod transfer;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use self::actors::{Actors, SharedHandles};
use self::error::AppError;
pub(crate) use self::error::EXIT_UNAVAILABLE;
use self::reload::Hangups;
use self::rules::{AccessRules, Console, ProcessRules};
pub(crate) use self::stored::{StoredEntry, stored};
use self::supervisor::Supervisor;
use self::traces::Traces;
use self::transfer::TransferError;
use crate::actors::consumer::messages::LeaveOthers;
use crate::actors::lease::messages::FlushBeats;
use crate::actors::mailbox::ask;
use crate::actors::nodes::messages::EndSummary;
use crate::actors::peer::messages::{JoinCluster, LeaveCluster};
use crate::actors::recorder::messages::FlushRecord;
use crate::clock::Clock;
use crate::config::{Config, logging};
use crate::error::Code;
use crate::http::api::Api;
use crate::http::event_streams::{EventStreams, MOST_STREAMS};
use crate::http::node::ThisNode;
use crate::http::openapi::{self, ApiTerms};
use crate::http::routes::{self, Accounts};
use crate::http::search_texts::SearchTexts;
use crate::http::server::{self, Bound, ErrorAlarm, RunningServer, Settings};
use crate::http::slices::Turns;
use crate::rounds::Member;
use crate::store::Store;
use crate::store::metered::MeteredStore;
use crate::tls::files::{FileSets, LOOK_EVERY};
use crate::trouble;

/// How long `export` and `import` wait for etcd: as long as a node waits for its registration.
const COMMAND_WAITS: Duration = JOIN_LIMIT;
/// How long this node may take to register itself.
const JOIN_LIMIT: Duration = Duration::from_secs(30);
/// How long this node may take to unregister itself, and how long the last heartbeats may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(3);
/// How long running requests may take when the daemon stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(4);

/// Runs the daemon until it is told to stop.
pub fn serve(config: Config) -> ExitCode {
    match actix::System::new().block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            log::error!("{why}");
            ExitCode::from(why.exit_code())
        }
    }
}

/// SIGTERM and SIGINT.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    supervisor: Supervisor,
}

impl StopSignals {
    fn listen(supervisor: Supervisor) -> Result<Self, AppError> {
        let listen = |kind| signal(kind).map_err(AppError::Signals);
        let (terminate, interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, supervisor })
    }

    /// Returns the name of the signal, after the service manager was told.
    async fn wait(&mut self) -> &'static str {
        let signal = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        self.supervisor.stops();
        signal
    }
}

async fn run(config: Config) -> Result<(), AppError> {
    let mut rules = ProcessRules::of(config);
    let supervisor = Supervisor::connect(rules.supervisor.clone());
    let stop = StopSignals::listen(supervisor.clone())?;
    let hangups = Hangups::listen(supervisor.clone()).map_err(AppError::Signals)?;
    actix::spawn(reopen_log(hangups.subscribe("the log")));
    let most_files = limits::raise_open_files();
    let files = most_files.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    log::info!(
        "service-center {} (API of {}), open files: {files}",
        env!("CARGO_PKG_VERSION"),
        rules.version
    );
    metrics::begin(&rules.metrics);
    let traces = Traces::start(rules.tracing.clone())?;
    rules.server.tracer = traces.as_ref().map(Traces::tracer);
    let ran = run_node(rules, limits::connections(most_files), stop, hangups, supervisor).await;
    if let Some(traces) = traces {
        traces.stop().await;
    }
    ran
}

/// Runs everything that serves requests, until a signal to stop.
async fn run_node(
    rules: ProcessRules,
    max_connections: usize,
    mut stop: StopSignals,
    hangups: Hangups,
    supervisor: Supervisor,
) -> Result<(), AppError> {
    let ProcessRules {
        version,
        store,
        host,
        port,
        server,
        tls,
        access,
        metrics,
        api,
        console,
        actors,
        tracing: _,
        supervisor: _,
    } = rules;
    let setup = match access {
        AccessRules::Open => None,
        AccessRules::Accounts(setup) => Some(setup),
    };
    let keys = setup.as_ref().map(access::load_keys).transpose()?;
    let (clock, file_sets) = (Clock::system(), FileSets::default());
    supervisor.starts("waiting for the store");
    let store = tokio::select! {
        store = store::open(&store, &clock, &file_sets) => store?,
        signal = stop.wait() => {
            log::info!("{signal} while the daemon waited for the store; stopping");
            return Ok(());
        }
    };
    let tls = tls::server(&tls)?;
    if let Some(certificates) = &tls {
        file_sets.add(certificates.clone());
    }
    actix::spawn(renew(file_sets.clone(), hangups.subscribe("certificates and keys")));
    let store: Arc<dyn Store> = Arc::new(MeteredStore::new(store));
    actix::spawn(metrics::tick(clock.clone()));
    supervisor.starts("listing the store");
    let (actors, shared) = actors::start(actors, &store, clock);
    tokio::select! {
        () = shared.reader.wait_until_complete() => {}
        signal = stop.wait() => {
            log::info!("{signal} while the daemon listed the store; stopping");
            return leave(&actors, &shared, &store).await;
        }
    }
    if let Some(setup) = &setup {
        tokio::select! {
            prepared = access::prepare(setup, &actors, &shared) => prepared?,
            signal = stop.wait() => {
                log::info!("{signal} while the daemon wrote the built-in accounts and roles; stopping");
                return leave(&actors, &shared, &store).await;
            }
        }
    }
    let routes = routes::table(if setup.is_some() { Accounts::On } else { Accounts::Off });
    let metrics_elsewhere = metrics.listen.is_some();
    let routes = routes.filter(move |row| !metrics_elsewhere || !routes::is_metrics(row));
    let routes = routes.filter(move |row| console == Console::On || !routes::is_console(row));
    let access_scope = setup.as_ref().map(|setup| setup.scope.clone());
    let (accounts, access) = match setup.zip(keys) {
        Some((setup, keys)) => {
            let (accounts, access) = access::serve(setup, &keys, &actors, &shared)?;
            (Some(accounts), Some(access))
        }
        None => (None, None),
    };
    let terms = ApiTerms {
        quotas: api.quotas,
        sizes: api.sizes,
        max_body: server.max_body_bytes,
        max_batch: api.max_batch,
        access: access_scope,
    };
    let api = Api {
        reader: shared.reader.clone(),
        registry: actors.registry.clone(),
        hub: actors.hub.clone(),
        watch: actors.watch.clone(),
        retire: actors.retire.clone(),
        scrub: actors.scrub.clone(),
        nodes: actors.nodes.clone(),
        beats: shared.beats.clone(),
        freshness: shared.freshness.clone(),
        interests: shared.interests.clone(),
        pollers: shared.pollers.clone(),
        consumers: actors.consumers.clone(),
        contact: shared.contact.clone(),
        record: shared.record.clone(),
        answers: Arc::clone(&server.answers),
        node: Arc::new(ThisNode::new(&version)),
        openapi: openapi::describe(routes.clone(), &terms).to_string().into(),
        file_sets,
        clock: shared.clock.clone(),
        rules: api,
        turns: Turns::default(),
        search_texts: SearchTexts::default(),
        accounts,
        streams: EventStreams::default(),
    };
    let streams = api.streams.clone();
    shared.node_limits.add("eventStreams", MOST_STREAMS, move || streams.open());
    let node = Arc::clone(&api.node);
    let scheme = if tls.is_some() { "https" } else { "http" };
    let address = listen_address("server.host", &host, port)?;
    let bound = Bound::bind(address).map_err(|error| AppError::Listen { address, error })?;
    let of_metrics = match &metrics.listen {
        Some(url) => Some(metrics::listen(url, &api, &server, tls.clone()).await?),
        None => None,
    };
    let errors =
        ErrorAlarm { alarms: shared.alarms.clone(), clock: shared.clock.clone(), ..ErrorAlarm::default() };
    let settings = Settings { max_connections, tls, access, errors, ..server };
    let signs_of_life = shared.lifelines.signs_of_life().clone();
    let of_workers = signs_of_life.clone();
    let of_worker = move || {
        actix::spawn(show_life(of_workers.join("a worker")));
        Arc::new(api.clone())
    };
    let server = server::start(vec![bound], of_worker, routes, settings).await;
    let server = server.map_err(|error| AppError::Listen { address, error })?;
    server.add_limits(&shared.node_limits);
    let servers = [Some(server), of_metrics];
    let joined = tokio::select! {
        joined = ask(&actors.peer, JoinCluster, JOIN_LIMIT) => joined,
        signal = stop.wait() => {
            log::info!("{signal} while this node registered itself; stopping");
            node.set_draining();
            unregister(&actors).await;
            stop_all(servers).await;
            return leave(&actors, &shared, &store).await;
        }
    };
    match joined {
        Ok(Ok(())) => {}
        // The store takes no writes now, because it is full or unreachable. The node answers from memory all the same.
        Ok(Err(error)) if matches!(error.code, Code::Unavailable | Code::Overloaded) => {
            log::warn!("this node is not registered yet and tries again: {error}");
        }
        Ok(Err(error)) => return Err(AppError::Register(error)),
        Err(refused) => log::warn!("this node is not registered yet and tries again: {refused}"),
    }
    node.set_ready();
    welcome(scheme, address, console);
    supervisor.serves(&format!("{scheme}://{address}"));
    actix::spawn(supervisor.ping(signs_of_life));
    let signal = stop.wait().await;
    log::info!("{signal}; stopping");
    node.set_draining();
    unregister(&actors).await;
    stop_all(servers).await;
    leave(&actors, &shared, &store).await
}

async fn stop_all(servers: [Option<RunningServer>; 2]) {
    for server in servers.into_iter().flatten() {
        server.stop(DRAIN_LIMIT).await;
    }
}

/// Logs where the daemon listens, for a person who started it by hand.
fn welcome(scheme: &str, address: SocketAddr, console: Console) {
    log::info!("listening on {scheme}://{address}");
    if console == Console::On {
        log::info!("the web console is at {scheme}://{}/console/", on_this_machine(address));
    }
    log::info!("try: curl {scheme}://{address}/v4/default/registry/health");
}

/// An address by which this machine reaches a listener. Browsers do not open the address that stands for all addresses.
fn on_this_machine(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Answers the watchdog from a worker's thread.
async fn show_life(mut member: Member) {
    while member.next().await {}
}

/// Opens the files of the logs again on SIGHUP, because somebody may have moved them.
async fn reopen_log(mut reload: Member) {
    while reload.next().await {
        logging::reopen();
        log::info!("the log goes on here after SIGHUP");
    }
}

/// Reads renewed certificates again: every few seconds those whose files have changed, and all certificates on SIGHUP.
async fn renew(file_sets: FileSets, mut reload: Member) {
    loop {
        let is_told = tokio::select! {
            asks = reload.next() => {
                if !asks {
                    return;
                }
                true
            }
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let file_sets = file_sets.clone();
        let read = move || {
            if is_told {
                file_sets.reload().iter().for_each(|error| log::warn!("{error}"));
            } else {
                file_sets.look();
            }
        };
        // Reading may wait for a disk. An error here means that the process ends.
        drop(tokio::task::spawn_blocking(read).await);
    }
}

/// `key` is the key of the configuration that names the host.
fn listen_address(key: &'static str, host: &str, port: u16) -> Result<SocketAddr, AppError> {
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let found = (host, port).to_socket_addrs();
    let mut found = found.map_err(|error| AppError::Host { key, host: host.to_owned(), error })?;
    found.next().ok_or_else(|| AppError::NoAddress { key, host: host.to_owned() })
}

/// Writes all entries of the store to a new file.
///
/// `report` gets the number of entries that are written, again and again, and how many there are if that is known.
pub fn export(config: &Config, to: &Path, report: &mut dyn FnMut(usize, Option<usize>)) -> ExitCode {
    transfer(config, "exported", async |store| transfer::export(store, to, report).await)
}

/// Reads the file of an export into an empty store.
pub fn import(config: &Config, from: &Path, report: &mut dyn FnMut(usize, Option<usize>)) -> ExitCode {
    transfer(config, "imported", async |store| transfer::import(store, from, report).await)
}

fn transfer(
    config: &Config,
    done: &str,
    work: impl AsyncFnOnce(&Arc<dyn Store>) -> Result<usize, TransferError>,
) -> ExitCode {
    let moved = actix::System::new().block_on(async {
        let (kind, clock, file_sets) = (&config.registry.kind, Clock::system(), FileSets::default());
        let store = store::open_within(COMMAND_WAITS, kind, &clock, &file_sets).await?;
        let moved = work(&store).await;
        store.close().await;
        moved.map_err(AppError::from)
    });
    match moved {
        Ok(entries) => {
            log::info!("{entries} entries {done}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            log::error!("{why}");
            ExitCode::from(why.exit_code())
        }
    }
}

async fn unregister(actors: &Actors) {
    let (left, ended) = tokio::join!(
        ask(&actors.peer, LeaveCluster, LEAVE_LIMIT),
        ask(&actors.nodes, EndSummary, LEAVE_LIMIT)
    );
    if let Err(refused) = left {
        log::warn!("this node could not unregister itself: {refused}");
    }
    if let Err(refused) = ended {
        log::warn!("the summary of this node ends with its lease: {refused}");
    }
}

/// The last part of a stop: sends the last heartbeats, then closes the store. From here on actors may end.
async fn leave(actors: &Actors, shared: &SharedHandles, store: &Arc<dyn Store>) -> Result<(), AppError> {
    if let Err(refused) = ask(&actors.lease, FlushBeats, LEAVE_LIMIT).await {
        log::warn!("the last heartbeats were not sent: {refused}");
    }
    // If this fails, the others wait until its lease ends.
    let _ = ask(&actors.consumers, LeaveOthers, LEAVE_LIMIT).await;
    shared.lifelines.release();
    if let Err(refused) = ask(&actors.recorder, FlushRecord, LEAVE_LIMIT).await {
        log::warn!("the last events were not recorded: {refused}");
    }
    trouble::stop_telling();
    store.close().await;
    log::info!("stopped");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_is_found_at_an_address_that_browsers_open() {
        for (listens, expected) in [
            ("0.0.0.0:30100", "127.0.0.1:30100"),
            ("[::]:30100", "[::1]:30100"),
            ("10.12.0.1:80", "10.12.0.1:80"),
            ("127.0.0.1:1", "127.0.0.1:1"),
        ] {
            let shown = listens.parse().map(|address| on_this_machine(address).to_string());
            assert_eq!(shown.as_deref(), Ok(expected));
        }
    }
}
