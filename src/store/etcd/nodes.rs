//! The nodes of the etcd cluster: which one is used, which are away, and the one way a request is made. A node that
//! fails is looked after by a task of its own until it answers again; while none answers, requests are turned away at
//! once, since they would otherwise each wait for their limit and end with an unknown outcome.
//!
//! Beside the nodes that are configured there are those etcd names as its members, so that the cluster is found though the
//! configured addresses are gone. What etcd names may be reachable by others only, or lead elsewhere (by default etcd calls
//! itself `localhost`): such an address is used only after a look has found the same cluster behind it.

use std::future::Future;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use etcd_client::{
    Client, ConnectOptions, GetOptions, KvClient, LeaseClient, MaintenanceClient, ResponseHeader,
};
use futures_util::future::join_all;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;

use super::certificates::{self, Certificates};
use super::connector::Connector;
use super::failure::{Failure, of_client, unavailable};
use super::options::{Credentials, EtcdOptions, OptionsError};
use crate::config::EtcdEndpoint;
use crate::store::port::StoreError;
use crate::trouble::Trouble;

/// An answer may be this long; etcd itself knows no limit for answers. Far above a page of a listing, which is kept
/// small by other means.
pub(super) const LARGEST_ANSWER: usize = 64 << 20;

/// What is said of a node that did not answer in time.
pub(super) const LATE: &str = "no answer within the limit";

/// A look at whether a node answers takes at most this long.
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// Between two looks at a node that does not answer.
const PROBE_AGAIN: Duration = Duration::from_millis(300);
/// Between two looks at a node that is well; without them a stopped node is noticed by the first request that fails.
const PATROL_EVERY: Duration = Duration::from_secs(5);
/// One of several nodes is waited for at most this long by what may be tried at another one.
const LONGEST_TRY: Duration = Duration::from_secs(3);
/// Addresses of members that are kept.
const MAX_LEARNED: usize = 16;
/// A connection within a call is given up after this long, so that another node can be tried within the call's limit.
const CONNECT_WITHIN_CALL: Duration = Duration::from_millis(1200);

/// The key looked at to learn the revision or whether etcd answers. Below the registry's root, since a user of etcd may
/// be allowed nothing else; never written.
const PROBE_KEY: &str = "/cse-sr/";

/// What an attempt that ended without an answer may have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing: it may be tried at another node.
    Reads,
    /// Something: trying again could do it twice.
    Writes,
}

/// The clients of one node, over one connection. Each costs something to clone, so only the one that is used is.
pub(super) struct Clients {
    pub kv: KvClient,
    pub lease: LeaseClient,
    pub maintenance: MaintenanceClient,
    whole: Client,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Health {
    Up,
    /// It failed once; still used if there is nothing better.
    Suspect,
    /// It failed again when looked at: not used.
    Down,
}

/// A node, and how it is.
pub(super) struct Node {
    connector: Connector,
    origin: Origin,
    clients: tokio::sync::Mutex<Option<Arc<Clients>>>,
    health: AtomicU8,
    looked_after: AtomicBool,
    last_error: Mutex<String>,
    trouble: Trouble,
}

/// Why a node is in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Configured,
    /// A member list of this cluster names it. It is down until a look finds this cluster behind its address.
    Learned {
        cluster: u64,
    },
}

impl Node {
    fn new(connector: Connector, origin: Origin) -> Arc<Self> {
        let health = if origin == Origin::Configured { Health::Up } else { Health::Down };
        Arc::new(Self {
            connector,
            origin,
            clients: tokio::sync::Mutex::new(None),
            health: AtomicU8::new(health as u8),
            looked_after: AtomicBool::new(false),
            last_error: Mutex::default(),
            trouble: Trouble::default(),
        })
    }

    /// Makes channels to it.
    pub fn connector(&self) -> &Connector {
        &self.connector
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
    /// Of the streams that do not go through `etcd_client`.
    stream_token: RwLock<Option<AsciiMetadataValue>>,
    call_limit: Duration,
    /// The highest revision any answer has shown.
    seen: AtomicI64,
}

impl Nodes {
    /// Reads the certificates, connects to nothing.
    pub fn new(options: &EtcdOptions) -> Result<Self, OptionsError> {
        options.check()?;
        let connect_limit = options.connect_timeout.min(CONNECT_WITHIN_CALL);
        let certificates = options.tls.as_ref().map(certificates::open).transpose()?.map(Arc::new);
        let server_name = options.tls.as_ref().and_then(|tls| tls.server_name.clone());
        let node = |endpoint: &EtcdEndpoint| {
            let name = server_name.as_deref();
            let connector = Connector::new(endpoint.clone(), certificates.as_ref(), name, connect_limit)?;
            Ok(Node::new(connector, Origin::Configured))
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
            stream_token: RwLock::new(None),
            call_limit: options.call_limit(),
            seen: AtomicI64::new(0),
        })))
    }

    /// The certificates, if connections are encrypted.
    pub fn certificates(&self) -> Option<Arc<Certificates>> {
        self.0.certificates.clone()
    }

    /// Looks every few seconds at each configured node and the one in use, at once to begin with.
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

    /// Asks etcd for its members, again and again.
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
                    // An etcd that is away is told of elsewhere.
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

    /// Those addresses of members that may be used: not configured themselves, and as well protected as those are.
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

    /// Makes these the learned nodes; what is known of those that were there before stays known.
    fn keep(&self, cluster: u64, endpoints: &[EtcdEndpoint]) {
        let Cluster { certificates, server_name, connect_limit, .. } = &*self.0;
        let origin = Origin::Learned { cluster };
        let before = self.0.learned.load_full();
        let node = |endpoint: &EtcdEndpoint| {
            let known = before.iter().find(|node| node.endpoint() == endpoint && node.origin == origin);
            known.cloned().or_else(|| {
                let name = server_name.as_deref();
                let connector =
                    Connector::new(endpoint.clone(), certificates.as_ref(), name, *connect_limit).ok()?;
                Some(Node::new(connector, origin))
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

    /// Looks whether the cluster is behind a learned address.
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

    /// The learned addresses that are in use, or would be if the configured ones were gone.
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

    /// A revision the store surely has reached.
    pub fn seen(&self) -> i64 {
        self.0.seen.load(Ordering::Relaxed)
    }

    /// Remembers a revision from an answer.
    pub fn saw(&self, revision: i64) {
        self.0.seen.fetch_max(revision, Ordering::Relaxed);
    }

    /// The store was set back to this revision.
    pub fn was_set_back(&self, to: i64) {
        self.0.seen.store(to, Ordering::Relaxed);
    }

    /// Limit of everything but a page of a listing.
    pub fn call_limit(&self) -> Duration {
        self.0.call_limit
    }

    /// Whether no node answers; with the last words of one.
    pub fn away(&self) -> Option<String> {
        self.all().all(|node| node.health() == Health::Down).then(|| self.words_of_the_missing())
    }

    /// Configured ones first.
    fn all(&self) -> impl Iterator<Item = Arc<Node>> {
        let learned = self.0.learned.load_full();
        let learned = (0..learned.len()).filter_map(move |index| learned.get(index).cloned());
        self.0.configured.clone().into_iter().chain(learned)
    }

    fn is_any_up(&self) -> bool {
        self.all().any(|node| node.health() == Health::Up)
    }

    /// Makes a request at the node in use, and at others as long as it surely was not done and the limit allows.
    pub async fn call<T, F, Fut>(&self, effect: Effect, limit: Duration, request: F) -> Result<T, StoreError>
    where
        F: Fn(Arc<Clients>) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        let deadline = Instant::now() + limit;
        let candidates = self.candidates();
        let mut last = Failure::NotSent(self.words_of_the_missing());
        for (position, node) in candidates.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // A read leaves time for another node; a write must not be repeated, so it may take all there is.
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
            last = failure;
        }
        Err(outcome(effect, last))
    }

    async fn attempt<T, F, Fut>(&self, node: &Node, deadline: Instant, request: &F) -> Result<T, Failure>
    where
        F: Fn(Arc<Clients>) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        let late = |what: &str| format!("etcd {}: {what}", node.endpoint());
        let clients = match timeout_at(deadline, self.clients(node)).await {
            Ok(clients) => clients?,
            Err(_) => return Err(Failure::NotSent(late("no answer to the authentication within the limit"))),
        };
        for last_try in [false, true] {
            let answer = match timeout_at(deadline, request(Arc::clone(&clients))).await {
                Ok(answer) => answer.map_err(|error| of_client(error).explained(&node.connector)),
                Err(_) => Err(Failure::Unsettled(late(LATE))),
            };
            match answer {
                // `etcd_client` renews an invalid token itself; what comes through is an outdated one.
                Err(Failure::StaleToken(why)) if !last_try => {
                    match timeout_at(deadline, clients.whole.refresh_token()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return Err(of_client(error)),
                        Err(_) => return Err(Failure::NotSent(why)),
                    }
                }
                answer => return answer,
            }
        }
        Err(Failure::StaleToken(late("the token is refused again and again")))
    }

    /// The node streams should use.
    pub fn for_streams(&self) -> Arc<Node> {
        self.candidates().into_iter().next().unwrap_or_else(|| self.current())
    }

    /// The token for a stream; none if etcd asks for none.
    pub async fn stream_token(&self) -> Result<Option<AsciiMetadataValue>, StoreError> {
        let Some(credentials) = &self.0.credentials else { return Ok(None) };
        if let Some(token) = &*self.0.stream_token.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Some(token.clone()));
        }
        let authenticate = |clients: Arc<Clients>| async move {
            let (user, password) = (credentials.user.clone(), credentials.password.clone());
            match clients.whole.auth_client().authenticate(user, password).await {
                Ok(answer) => Ok(Some(answer.token().to_owned())),
                Err(error) if is_auth_disabled(&error) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let token = self.call(Effect::Reads, self.0.call_limit, authenticate).await?;
        let Some(token) = token else { return Ok(None) };
        let token = AsciiMetadataValue::try_from(token)
            .map_err(|_| unavailable("etcd's token cannot be sent in a header"))?;
        *self.0.stream_token.write().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(Some(token))
    }

    /// Has the next stream authenticate anew.
    pub fn forget_stream_token(&self) {
        *self.0.stream_token.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Says that a node failed: another one is used from now on, if one is well.
    pub fn suspect(&self, node: &Arc<Node>, why: &str) {
        *lock(&node.last_error) = why.to_owned();
        if node.health() == Health::Up {
            // What is behind a learned address is looked at before it is used again.
            node.set_health(if node.is_learned() { Health::Down } else { Health::Suspect });
        }
        self.prefer_another();
        self.look_after(node);
    }

    fn prefer_another(&self) {
        match self.candidates().first() {
            Some(better) => self.0.current.store(Arc::clone(better)),
            // Nothing is left: any address will do.
            None => self.0.learned.load_full().iter().for_each(|node| self.look_after(node)),
        }
    }

    fn well(&self, node: &Arc<Node>) {
        if node.health() == Health::Up && self.0.current.load().health() != Health::Up {
            self.0.current.store(Arc::clone(node));
        }
    }

    /// Has a node looked at until it answers.
    fn look_after(&self, node: &Arc<Node>) {
        if !node.looked_after.swap(true, Ordering::AcqRel) {
            let (nodes, node) = (self.clone(), Arc::clone(node));
            tokio::spawn(async move {
                nodes.look_until_it_answers(&node).await;
                node.looked_after.store(false, Ordering::Release);
            });
        }
    }

    async fn look_until_it_answers(&self, node: &Arc<Node>) {
        let endpoint = node.endpoint();
        while let Err(failure) = self.probe(node).await {
            let why = describe(&failure);
            // Who waits for the first answer says so himself, and nobody has asked for a learned address.
            if self.seen() > 0 && !node.is_learned() && node.trouble.fails(&why) {
                log::warn!("etcd {endpoint} does not answer: {why}");
            }
            self.is_down(node, why).await;
            // A learned one is looked at when etcd is asked for its members again.
            if node.is_learned() && self.is_any_up() {
                return;
            }
            tokio::time::sleep(PROBE_AGAIN).await;
        }
        if node.trouble.is_over() {
            log::info!("etcd {endpoint} answers again");
        }
        node.set_health(Health::Up);
        self.well(node);
    }

    async fn is_down(&self, node: &Arc<Node>, why: String) {
        *lock(&node.last_error) = why;
        node.set_health(Health::Down);
        self.prefer_another();
        // A connection whose other end is gone without a word would stay for minutes.
        *node.clients.lock().await = None;
    }

    async fn probe(&self, node: &Node) -> Result<(), Failure> {
        let ProbeAnswer { cluster, revision } =
            match self.attempt(node, Instant::now() + PROBE_LIMIT, &look).await {
                // It answers; what it thinks of our rights is for the requests to find out.
                Err(Failure::Refused { .. }) if !node.is_learned() => return Ok(()),
                answer => answer?,
            };
        if node.is_learned() && node.origin != (Origin::Learned { cluster }) {
            return Err(Failure::NotSent(format!("etcd {}: belongs to another cluster", node.endpoint())));
        }
        self.saw(revision);
        Ok(())
    }

    /// The clients of a node; authenticates if there are credentials and this was not done.
    async fn clients(&self, node: &Node) -> Result<Arc<Clients>, Failure> {
        let mut slot = node.clients.lock().await;
        if let Some(clients) = &*slot {
            return Ok(Arc::clone(clients));
        }
        let refused = |error: OptionsError| Failure::Refused {
            reason: crate::store::port::Reason::Refused,
            message: error.0,
        };
        let channel = node.connector.channel().map_err(refused)?;
        let whole = match self.client(channel.clone(), self.0.credentials.as_ref()).await {
            Err(error) if is_auth_disabled(&error) => self.client(channel, None).await,
            made => made,
        };
        // Only the authentication can have failed: the request itself was not sent.
        let whole = whole.map_err(|error| match of_client(error).explained(&node.connector) {
            Failure::Unsettled(why) => Failure::NotSent(why),
            failure => failure,
        })?;
        let clients = Arc::new(Clients {
            kv: whole.kv_client().max_decoding_message_size(LARGEST_ANSWER),
            lease: whole.lease_client(),
            maintenance: whole.maintenance_client(),
            whole,
        });
        *slot = Some(Arc::clone(&clients));
        Ok(clients)
    }

    async fn client(
        &self,
        channel: Channel,
        credentials: Option<&Credentials>,
    ) -> Result<Client, etcd_client::Error> {
        let mut options = ConnectOptions::new().with_require_leader(true).with_auto_token_refresh(true);
        if let Some(Credentials { user, password }) = credentials {
            options = options.with_user(user, password);
        }
        let made = Client::from_channel(etcd_client::Channel::Tonic(channel), Some(options));
        match timeout(self.0.call_limit, made).await {
            Ok(made) => made,
            Err(_) => Err(etcd_client::Error::EndpointError("no answer to the authentication".to_owned())),
        }
    }

    /// The nodes worth trying, best first: the one in use, other well ones, those that failed once; among equals the
    /// configured ones first.
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
        let words = lock(&node.last_error).clone();
        format!("etcd is away ({}): {words}", node.endpoint())
    }

    fn current(&self) -> Arc<Node> {
        self.0.current.load_full()
    }
}

/// What a look finds.
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

fn describe(failure: &Failure) -> String {
    match failure {
        Failure::NotSent(why)
        | Failure::StaleToken(why)
        | Failure::Unsettled(why)
        | Failure::AnswerTooLarge(why) => why.clone(),
        Failure::Refused { message, .. } => message.clone(),
    }
}

fn is_auth_disabled(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status)
        if status.message() == "etcdserver: authentication is not enabled")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
