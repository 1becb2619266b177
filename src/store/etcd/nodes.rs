//! The nodes of the etcd cluster: which node is used, which nodes are away, and how a request is sent. If a node fails, a task
//! probes it until it answers again. While no node answers, requests fail at once. Otherwise each would wait for its limit and
//! end with an unknown outcome.
//!
//! Besides the configured nodes there are learned nodes: the members that etcd itself names. With them the cluster is found even
//! if all configured addresses are gone. An address that etcd names may not be reachable from here, or may lead elsewhere (by
//! default etcd calls itself `localhost`). So it is used only after a probe has found the same cluster there.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use etcd_client::{
    Client, ConnectOptions, GetOptions, KvClient, LeaseClient, MaintenanceClient, ResponseHeader,
};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use tower::util::BoxCloneSyncService;

use super::certificates::{self, Certificates};
use super::connector::Connector;
use super::failure::{Failure, of_client};
use super::login::{Authorized, Login, Token};
use super::options::{Credentials, EtcdOptions, OptionsError};
use crate::config::EtcdEndpoint;
use crate::store::port::StoreError;
use crate::trouble::Trouble;

/// The longest answer, bytes. etcd has no limit for answers. A page of a listing is far smaller.
pub(super) const LARGEST_ANSWER: usize = 64 << 20;

/// The error of a node that did not answer in time.
pub(super) const LATE: &str = "no answer within the limit";

/// The pause between two probes of a node that does not answer.
const PROBE_AGAIN: Duration = Duration::from_millis(300);
/// The pause between two probes of a node that answers. They find a stopped node before a request fails.
const PATROL_EVERY: Duration = Duration::from_secs(5);
/// The longest attempt at one of several nodes, for a request that may be tried at another node.
const LONGEST_TRY: Duration = Duration::from_secs(3);
/// The most learned nodes.
const MAX_LEARNED: usize = 16;
/// The longest connection attempt within a call, so that another node can be tried within the call's limit.
const CONNECT_WITHIN_CALL: Duration = Duration::from_millis(1200);

/// A probe reads this key, which is never written. It is below the registry's root, because etcd's user may be allowed nothing
/// else.
const PROBE_KEY: &str = "/cse-sr/";

/// How often a request is made in all, if etcd refuses its token. More than twice, because users may change during a login.
const TRIES_WITH_TOKENS: usize = 3;

/// What an attempt without an answer may have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing. The request may be tried at another node.
    Reads,
    /// A write. Another try could do it twice.
    Writes,
}

/// The clients of one node, over one connection. They are fields because a clone costs something, and a call needs only one.
pub(super) struct Clients {
    pub kv: KvClient,
    pub lease: LeaseClient,
    /// For requests of `wire`.
    pub channel: Authorized,
    pub maintenance: MaintenanceClient,
    whole: Client,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Health {
    Up,
    /// A request failed. The node is used if no other node is up.
    Suspect,
    /// A probe failed. The node is not used.
    Down,
}

pub(super) struct Node {
    connector: Connector,
    origin: Origin,
    login: Login,
    clients: tokio::sync::Mutex<Option<Arc<Clients>>>,
    health: AtomicU8,
    looked_after: AtomicBool,
    last_error: Mutex<String>,
    trouble: Trouble,
    /// The version that was logged.
    version: Mutex<String>,
}

/// Why a node is in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Configured,
    /// The member list of this cluster names it. The node is down until a probe finds this cluster at its address.
    Learned {
        cluster: u64,
    },
}

impl Node {
    fn new(connector: Connector, origin: Origin, credentials: Option<&Credentials>) -> Arc<Self> {
        let health = if origin == Origin::Configured { Health::Up } else { Health::Down };
        Arc::new(Self {
            connector,
            origin,
            login: Login::new(credentials.cloned()),
            clients: tokio::sync::Mutex::new(None),
            health: AtomicU8::new(health as u8),
            looked_after: AtomicBool::new(false),
            last_error: Mutex::default(),
            trouble: Trouble::default(),
            version: Mutex::default(),
        })
    }

    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// A channel with a connection of its own. Its requests carry the token, if there is one: see [`Nodes::logged_in`].
    pub fn channel(&self) -> Result<Authorized, OptionsError> {
        Ok(self.login.authorize(self.connector.channel()?))
    }

    fn endpoint(&self) -> &EtcdEndpoint {
        self.connector.endpoint()
    }

    fn is_learned(&self) -> bool {
        self.origin != Origin::Configured
    }

    fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            0 => Health::Up,
            1 => Health::Suspect,
            _ => Health::Down,
        }
    }

    fn set_health(&self, health: Health) {
        self.health.store(health as u8, Ordering::Relaxed);
    }
}

/// All nodes. Cheap to clone.
#[derive(Clone)]
pub(super) struct Nodes(Arc<Cluster>);

struct Cluster {
    configured: Vec<Arc<Node>>,
    learned: ArcSwap<Vec<Arc<Node>>>,
    current: ArcSwap<Node>,
    certificates: Option<Arc<Certificates>>,
    server_name: Option<String>,
    connect_limit: Duration,
    credentials: Option<Credentials>,
    call_limit: Duration,
    longest_call: Duration,
    /// The highest revision of all answers.
    seen: AtomicI64,
    has_warned_of_version: AtomicBool,
}

impl Nodes {
    /// Reads the certificates, but does not connect.
    pub fn new(options: &EtcdOptions) -> Result<Self, OptionsError> {
        options.check()?;
        let connect_limit = options.connect_timeout.min(CONNECT_WITHIN_CALL);
        let certificates = options.tls.as_ref().map(certificates::open).transpose()?.map(Arc::new);
        let server_name = options.tls.as_ref().and_then(|tls| tls.server_name.clone());
        let node = |endpoint: &EtcdEndpoint| {
            let name = server_name.as_deref();
            let connector = Connector::new(endpoint.clone(), certificates.as_ref(), name, connect_limit)?;
            Ok(Node::new(connector, Origin::Configured, options.credentials.as_ref()))
        };
        let configured = options.endpoints.iter().map(node).collect::<Result<Vec<_>, OptionsError>>()?;
        let first = configured.first().map(Arc::clone);
        let first = first.ok_or_else(|| OptionsError("no etcd endpoint is given".to_owned()))?;
        Ok(Self(Arc::new(Cluster {
            configured,
            learned: ArcSwap::default(),
            current: ArcSwap::new(first),
            certificates,
            server_name,
            connect_limit,
            credentials: options.credentials.clone(),
            call_limit: options.call_limit(),
            longest_call: options.longest_call,
            seen: AtomicI64::new(0),
            has_warned_of_version: AtomicBool::new(false),
        })))
    }

    /// `None` if connections are not encrypted.
    pub fn certificates(&self) -> Option<Arc<Certificates>> {
        self.0.certificates.clone()
    }

    /// Probes each configured node and the current node, now and every few seconds.
    pub async fn patrol(self) {
        loop {
            let current = self.current();
            let is_learned = current.is_learned();
            let looked_at = self.0.configured.iter().cloned().chain(is_learned.then_some(current));
            let looks = looked_at.filter(|node| node.health() == Health::Up).map(|node| {
                let nodes = self.clone();
                async move {
                    if let Err(failure) = nodes.probe(&node).await {
                        nodes.suspect(&node, &describe(&failure));
                    }
                }
            });
            join_all(looks).await;
            tokio::time::sleep(PATROL_EVERY).await;
        }
    }

    /// Logs the version of the node that is used.
    pub async fn log_version_in_use(self) {
        self.log_version(&self.current()).await;
    }

    /// Logs the version of a node, unless it was logged before.
    async fn log_version(&self, node: &Node) {
        let endpoint = node.endpoint();
        let ask = |clients: Arc<Clients>| async move { clients.maintenance.clone().status().await };
        let status = match self.attempt(node, Instant::now() + self.probe_limit(), &ask).await {
            Ok(status) => status,
            Err(failure) => {
                log::debug!("etcd {endpoint} does not tell its version: {}", describe(&failure));
                return;
            }
        };
        let version = status.version();
        if std::mem::replace(&mut *node.version.lock(), version.to_owned()) == version {
            return;
        }
        if is_outdated(version) && !self.0.has_warned_of_version.swap(true, Ordering::Relaxed) {
            log::warn!(
                "etcd {endpoint} has version {version}, which no longer gets corrections, and makes registrations slower; \
                 upgrade etcd to version 3.6, or to 3.5 first"
            );
        } else {
            log::info!("etcd {endpoint} has version {version}");
        }
    }

    /// Asks etcd for its members at an interval.
    pub async fn learn(self, every: Duration) {
        let trouble = Trouble::default();
        loop {
            let pause = match self.ask_for_members().await {
                Ok(()) => {
                    trouble.is_over();
                    every
                }
                Err(error) => {
                    let why = error.to_string();
                    // If etcd is away, that is logged elsewhere.
                    if self.away().is_none() && trouble.fails(&why) {
                        log::warn!("etcd does not name its members: {why}");
                    }
                    every.min(PATROL_EVERY)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn ask_for_members(&self) -> Result<(), StoreError> {
        let answer = self
            .call(Effect::Reads, self.0.call_limit, |clients| async move {
                clients.whole.cluster_client().member_list().await
            })
            .await?;
        let cluster = answer.header().map_or(0, ResponseHeader::cluster_id);
        let urls = answer.members().iter().flat_map(|member| member.client_urls());
        self.keep(cluster, &self.usable(urls.map(String::as_str)));
        let learned = self.0.learned.load_full();
        join_all(learned.iter().map(|node| self.prove(node))).await;
        Ok(())
    }

    /// The addresses of members that may be used: not configured, and with the same scheme as the configured ones.
    fn usable<'a>(&self, urls: impl Iterator<Item = &'a str>) -> Vec<EtcdEndpoint> {
        let mut usable: Vec<EtcdEndpoint> = Vec::new();
        for endpoint in urls.filter_map(|url| EtcdEndpoint::parse(url).ok()) {
            let is_configured = self.0.configured.iter().any(|node| *node.endpoint() == endpoint);
            let is_alike = self.0.configured.iter().all(|node| node.endpoint().scheme == endpoint.scheme);
            let is_wildcard = endpoint.host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
            if !is_configured && is_alike && !is_wildcard && !usable.contains(&endpoint) {
                usable.push(endpoint);
            }
        }
        usable.truncate(MAX_LEARNED);
        usable
    }

    /// Replaces the learned nodes. Nodes that were there before keep their state.
    fn keep(&self, cluster: u64, endpoints: &[EtcdEndpoint]) {
        let Cluster { certificates, server_name, connect_limit, credentials, .. } = &*self.0;
        let origin = Origin::Learned { cluster };
        let before = self.0.learned.load_full();
        let node = |endpoint: &EtcdEndpoint| {
            let known = before.iter().find(|node| node.endpoint() == endpoint && node.origin == origin);
            known.cloned().or_else(|| {
                let name = server_name.as_deref();
                let connector =
                    Connector::new(endpoint.clone(), certificates.as_ref(), name, *connect_limit).ok()?;
                Some(Node::new(connector, origin, credentials.as_ref()))
            })
        };
        let now: Vec<Arc<Node>> = endpoints.iter().filter_map(node).collect();
        let texts = |nodes: &[Arc<Node>]| -> Vec<String> {
            nodes.iter().map(|node| node.endpoint().to_string()).collect()
        };
        if texts(&now) != texts(&before) {
            log::info!("etcd's members beside the configured addresses: [{}]", texts(&now).join(", "));
        }
        self.0.learned.store(Arc::new(now));
    }

    /// Probes whether a learned address leads to the cluster.
    async fn prove(&self, node: &Arc<Node>) {
        match self.probe(node).await {
            Ok(()) => {
                node.set_health(Health::Up);
                self.well(node);
            }
            Err(failure) => {
                let why = describe(&failure);
                log::debug!("etcd {} is not used: {why}", node.endpoint());
                self.is_down(node, why).await;
            }
        }
    }

    /// The addresses of the learned nodes that may be used.
    #[cfg(feature = "test-doubles")]
    pub fn learned(&self) -> Vec<EtcdEndpoint> {
        let learned = self.0.learned.load();
        let up = learned.iter().filter(|node| node.health() == Health::Up);
        up.map(|node| node.endpoint().clone()).collect()
    }

    /// The current revision, linearizable.
    pub async fn revision(&self, limit: Duration) -> Result<i64, StoreError> {
        let ProbeAnswer { revision, .. } = self.call(Effect::Reads, limit, look).await?;
        self.saw(revision);
        Ok(revision)
    }

    /// A revision that the store has certainly reached.
    pub fn seen(&self) -> i64 {
        self.0.seen.load(Ordering::Relaxed)
    }

    /// Records the revision of an answer.
    pub fn saw(&self, revision: i64) {
        self.0.seen.fetch_max(revision, Ordering::Relaxed);
    }

    /// Records that the store was set back to this revision.
    pub fn was_set_back(&self, to: i64) {
        self.0.seen.store(to, Ordering::Relaxed);
    }

    /// The limit of all calls except a page of a listing.
    pub fn call_limit(&self) -> Duration {
        self.0.call_limit
    }

    /// An etcd that answers nothing for so long is away.
    pub fn longest_call(&self) -> Duration {
        self.0.longest_call
    }

    /// The limit of one probe of a node. Two probes fail before the node counts as down.
    pub fn probe_limit(&self) -> Duration {
        self.0.longest_call / 2
    }

    /// The last error of a node if no node answers, else `None`.
    pub fn away(&self) -> Option<String> {
        self.all().all(|node| node.health() == Health::Down).then(|| self.words_of_the_missing())
    }

    /// Configured nodes come first.
    fn all(&self) -> impl Iterator<Item = Arc<Node>> {
        let learned = self.0.learned.load_full();
        let learned = (0..learned.len()).filter_map(move |index| learned.get(index).cloned());
        self.0.configured.clone().into_iter().chain(learned)
    }

    fn is_any_up(&self) -> bool {
        self.all().any(|node| node.health() == Health::Up)
    }

    /// Sends a request to the current node. Tries other nodes within the limit, if the request may be tried again.
    pub async fn call<T, F, Fut>(&self, effect: Effect, limit: Duration, request: F) -> Result<T, StoreError>
    where
        F: Fn(Arc<Clients>) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        let deadline = Instant::now() + limit;
        let candidates = self.candidates();
        let mut last = None;
        for (position, node) in candidates.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // A read leaves time for another node. A write must not be repeated, so it may take the whole limit.
            let is_last = position + 1 == candidates.len();
            let share = if effect == Effect::Reads && !is_last { (left / 2).min(LONGEST_TRY) } else { left };
            let failure = match self.attempt(node, Instant::now() + share, &request).await {
                Ok(answer) => {
                    self.well(node);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            match &failure {
                Failure::NotSent(why) | Failure::Unsettled(why) => self.suspect(node, why),
                Failure::Refused { .. } | Failure::StaleToken(_) | Failure::AnswerTooLarge(_) => {
                    return Err(outcome(effect, failure));
                }
            }
            if effect == Effect::Writes && matches!(failure, Failure::Unsettled(_)) {
                return Err(outcome(effect, failure));
            }
            last = Some(failure);
        }
        Err(outcome(effect, last.unwrap_or_else(|| Failure::NotSent(self.words_of_the_missing()))))
    }

    async fn attempt<T, F, Fut>(&self, node: &Node, deadline: Instant, request: &F) -> Result<T, Failure>
    where
        F: Fn(Arc<Clients>) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        let late = |what: &str| format!("etcd {}: {what}", node.endpoint());
        match timeout_at(deadline, self.logged_in(node)).await {
            Ok(token) => drop(token?),
            Err(_) => return Err(Failure::NotSent(late("no answer to the authentication within the limit"))),
        }
        let clients = self.clients(node).await?;
        let mut last = String::new();
        for _ in 0..TRIES_WITH_TOKENS {
            let token = node.login.token();
            let answer = match timeout_at(deadline, request(Arc::clone(&clients))).await {
                Ok(answer) => answer.map_err(|error| of_client(error).explained(&node.connector)),
                Err(_) => Err(Failure::Unsettled(late(LATE))),
            };
            match answer {
                Err(Failure::StaleToken(why)) if node.login.has_credentials() => {
                    match timeout_at(deadline, self.renew(node, &token)).await {
                        Ok(renewed) => renewed?,
                        Err(_) => return Err(Failure::NotSent(late(&why))),
                    }
                    last = why;
                }
                answer => return answer,
            }
        }
        Err(Failure::StaleToken(late(&format!("the token is refused again and again: {last}"))))
    }

    /// The token of a node, once there was a login.
    pub async fn logged_in(&self, node: &Node) -> Result<Arc<Token>, Failure> {
        let token = node.login.token();
        if !matches!(*token, Token::Unknown) {
            return Ok(token);
        }
        self.renew(node, &token).await?;
        Ok(node.login.token())
    }

    /// Replaces a token that the node has refused.
    pub async fn renew(&self, node: &Node, refused: &Arc<Token>) -> Result<(), Failure> {
        let auth = self.clients(node).await?.whole.auth_client();
        let renewed = node.login.renew(refused, auth, self.0.call_limit).await;
        renewed.map_err(|failure| failure.explained(&node.connector))
    }

    /// The node for a new stream.
    pub fn for_streams(&self) -> Arc<Node> {
        self.candidates().into_iter().next().unwrap_or_else(|| self.current())
    }

    /// Records that a node failed. Another node is used from now on, if one is up.
    pub fn suspect(&self, node: &Arc<Node>, why: &str) {
        *node.last_error.lock() = why.to_owned();
        if node.health() == Health::Up {
            // A learned address must be proven again before it is used.
            node.set_health(if node.is_learned() { Health::Down } else { Health::Suspect });
        }
        self.prefer_another();
        self.look_after(node);
    }

    fn prefer_another(&self) {
        match self.candidates().first() {
            Some(better) => self.0.current.store(Arc::clone(better)),
            // No node is left, so all learned addresses are tried.
            None => self.0.learned.load_full().iter().for_each(|node| self.look_after(node)),
        }
    }

    fn well(&self, node: &Arc<Node>) {
        if node.health() == Health::Up && self.0.current.load().health() != Health::Up {
            self.0.current.store(Arc::clone(node));
        }
    }

    /// Starts a task that probes a node until it answers.
    fn look_after(&self, node: &Arc<Node>) {
        if !node.looked_after.swap(true, Ordering::AcqRel) {
            let (nodes, node) = (self.clone(), Arc::clone(node));
            tokio::spawn(async move {
                let answers = nodes.look_until_it_answers(&node).await;
                // Before the node is up: from then on, a failure must start the next task.
                node.looked_after.store(false, Ordering::Release);
                if answers {
                    node.set_health(Health::Up);
                    nodes.well(&node);
                    // It may have been upgraded.
                    nodes.log_version(&node).await;
                }
            });
        }
    }

    /// Returns `false` if the node need not be probed any more, although it does not answer.
    async fn look_until_it_answers(&self, node: &Arc<Node>) -> bool {
        let endpoint = node.endpoint();
        while let Err(failure) = self.probe(node).await {
            let why = describe(&failure);
            // Before the first answer, the caller of `connect` logs the error. A learned address is not worth a warning.
            if self.seen() > 0 && !node.is_learned() && node.trouble.fails(&why) {
                log::warn!("etcd {endpoint} does not answer: {why}");
            }
            self.is_down(node, why).await;
            // A learned node is probed again with the next list of members.
            if node.is_learned() && self.is_any_up() {
                return false;
            }
            tokio::time::sleep(PROBE_AGAIN).await;
        }
        if node.trouble.is_over() {
            log::info!("etcd {endpoint} answers again");
        }
        true
    }

    async fn is_down(&self, node: &Arc<Node>, why: String) {
        *node.last_error.lock() = why;
        node.set_health(Health::Down);
        self.prefer_another();
        // If the other end vanished without closing the connection, the connection would stay open for minutes.
        *node.clients.lock().await = None;
    }

    async fn probe(&self, node: &Node) -> Result<(), Failure> {
        let ProbeAnswer { cluster, revision } =
            match self.attempt(node, Instant::now() + self.probe_limit(), &look).await {
                // The node answers. Missing rights are reported by the requests that need them.
                Err(Failure::Refused { .. } | Failure::StaleToken(_)) if !node.is_learned() => return Ok(()),
                answer => answer?,
            };
        if node.is_learned() && node.origin != (Origin::Learned { cluster }) {
            return Err(Failure::NotSent(format!("etcd {} belongs to another cluster", node.endpoint())));
        }
        self.saw(revision);
        Ok(())
    }

    /// The clients of a node. Nothing is sent to make them.
    async fn clients(&self, node: &Node) -> Result<Arc<Clients>, Failure> {
        let mut slot = node.clients.lock().await;
        if let Some(clients) = &*slot {
            return Ok(Arc::clone(clients));
        }
        let refused = |error: OptionsError| Failure::Refused {
            reason: crate::store::port::Reason::Refused,
            message: error.0,
        };
        let channel = node.channel().map_err(refused)?;
        // Without a user: the channel puts the token into requests.
        let options = ConnectOptions::new().with_require_leader(true);
        let custom = etcd_client::Channel::Custom(BoxCloneSyncService::new(channel.clone()));
        let whole = Client::from_channel(custom, Some(options)).await;
        let whole = whole.map_err(of_client)?;
        let clients = Arc::new(Clients {
            kv: whole.kv_client().max_decoding_message_size(LARGEST_ANSWER),
            lease: whole.lease_client(),
            maintenance: whole.maintenance_client(),
            channel,
            whole,
        });
        *slot = Some(Arc::clone(&clients));
        Ok(clients)
    }

    /// The nodes to try: nodes that are up, then suspect ones. Within each of the two groups the current node comes first, then
    /// the configured nodes.
    fn candidates(&self) -> Vec<Arc<Node>> {
        let current = self.current();
        let others = self.all().filter(|node| !Arc::ptr_eq(node, &current));
        let mut all: Vec<Arc<Node>> = std::iter::once(Arc::clone(&current)).chain(others).collect();
        all.retain(|node| node.health() != Health::Down);
        all.sort_by_key(|node| node.health() != Health::Up);
        all
    }

    fn words_of_the_missing(&self) -> String {
        let node = self.current();
        format!("etcd is away ({}): {}", node.endpoint(), node.last_error.lock())
    }

    fn current(&self) -> Arc<Node> {
        self.0.current.load_full()
    }
}

struct ProbeAnswer {
    cluster: u64,
    revision: i64,
}

async fn look(clients: Arc<Clients>) -> Result<ProbeAnswer, etcd_client::Error> {
    let options = GetOptions::new().with_keys_only().with_limit(1);
    let answer = clients.kv.clone().get(PROBE_KEY, Some(options)).await?;
    let header = answer.header();
    Ok(ProbeAnswer {
        cluster: header.map_or(0, ResponseHeader::cluster_id),
        revision: header.map_or(0, ResponseHeader::revision),
    })
}

/// Whether a version of etcd is below 3.5.
fn is_outdated(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    numbers.next().zip(numbers.next()).is_some_and(|version| version < (3, 5))
}

fn outcome(effect: Effect, failure: Failure) -> StoreError {
    match effect {
        Effect::Reads => failure.of_read(),
        Effect::Writes => failure.of_write(),
    }
}

impl Failure {
    fn explained(self, connector: &Connector) -> Self {
        match self {
            Failure::NotSent(words) => Failure::NotSent(connector.explained(words)),
            Failure::Unsettled(words) => Failure::Unsettled(connector.explained(words)),
            other => other,
        }
    }
}

pub(super) fn describe(failure: &Failure) -> String {
    match failure {
        Failure::NotSent(why)
        | Failure::StaleToken(why)
        | Failure::Unsettled(why)
        | Failure::AnswerTooLarge(why) => why.clone(),
        Failure::Refused { message, .. } => message.clone(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::store::etcd::{TlsOptions, Verification};

    fn nodes(endpoint: &str) -> Nodes {
        let tls =
            TlsOptions { ca: None, identity: None, server_name: None, verification: Verification::Nothing };
        let options = EtcdOptions::plain([EtcdEndpoint::parse(endpoint).unwrap()]);
        Nodes::new(&EtcdOptions { tls: Some(tls), ..options }).unwrap()
    }

    fn usable(configured: &str, urls: &[&str]) -> Vec<String> {
        let usable = nodes(configured).usable(urls.iter().copied());
        usable.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_of_members_are_chosen() {
        let urls =
            ["http://a:1", "https://a:1", "https://b:1", "https://b:1", "unix://c", "https://0.0.0.0:1"];
        assert_eq!(
            usable("https://a:1", &urls),
            ["https://b:1"],
            "encrypted ones where the configured one is"
        );
        assert_eq!(usable("http://b:1", &urls), ["http://a:1"]);
        assert_eq!(usable("http://a:1", &["http://[::]:1", "http://[::1]:1", ""]), ["http://[::1]:1"]);
        let many: Vec<String> = (1..100).map(|port| format!("http://b:{port}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(usable("http://a:1", &many).len(), MAX_LEARNED);
    }

    #[test]
    fn versions_below_3_5_are_outdated() {
        let all = "2.3.8 3.4.23 3.4.0-rc.1 3.5.21 3.6.5 3.10.0 4.0.0 3 3.x unknown";
        let outdated: Vec<&str> = all.split(' ').filter(|version| is_outdated(version)).collect();
        assert_eq!(outdated, ["2.3.8", "3.4.23", "3.4.0-rc.1"]);
    }

    #[test]
    fn learned_nodes_are_down_until_they_are_proven_and_come_last() {
        let nodes = nodes("http://a:1");
        let endpoints = |texts: &[&str]| -> Vec<EtcdEndpoint> {
            texts.iter().map(|text| EtcdEndpoint::parse(text).unwrap()).collect()
        };
        let candidates =
            || -> Vec<String> { nodes.candidates().iter().map(|node| node.endpoint().to_string()).collect() };
        nodes.keep(7, &endpoints(&["http://b:1", "http://c:1"]));
        assert_eq!(candidates(), ["http://a:1"]);
        let learned = nodes.0.learned.load_full();
        learned.iter().for_each(|node| node.set_health(Health::Up));
        assert_eq!(candidates(), ["http://a:1", "http://b:1", "http://c:1"]);
        nodes.0.configured[0].set_health(Health::Down);
        assert_eq!(
            (candidates(), nodes.away()),
            (vec!["http://b:1".to_owned(), "http://c:1".to_owned()], None)
        );
        // What was proven stays so, in the same cluster only.
        nodes.keep(7, &endpoints(&["http://c:1", "http://d:1"]));
        assert_eq!(candidates(), ["http://c:1"]);
        nodes.keep(8, &endpoints(&["http://c:1"]));
        assert_eq!(candidates(), [""; 0]);
        assert!(nodes.away().is_some());
    }
}
