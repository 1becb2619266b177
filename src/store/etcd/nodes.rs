//! The nodes of the etcd cluster: which one is used, which are away, and the one way a request is made. A node that
//! fails is looked after by a task of its own until it answers again; while none answers, requests are turned away at
//! once, since they would otherwise each wait for their limit and end with an unknown outcome.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, GetOptions, KvClient, LeaseClient, MaintenanceClient};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;

use super::connector::Connector;
use super::failure::{Failure, of_client, unavailable};
use super::options::{Credentials, EtcdOptions, OptionsError};
use crate::store::port::StoreError;

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

struct Node {
    connector: Connector,
    clients: tokio::sync::Mutex<Option<Arc<Clients>>>,
    health: AtomicU8,
    looked_after: AtomicBool,
    last_error: Mutex<String>,
}

/// All nodes. Cheap to clone.
#[derive(Clone)]
pub(super) struct Nodes(Arc<Shared>);

struct Shared {
    nodes: Vec<Node>,
    current: AtomicUsize,
    credentials: Option<Credentials>,
    /// Of the streams that do not go through `etcd_client`.
    stream_token: RwLock<Option<AsciiMetadataValue>>,
    call_limit: Duration,
    /// The highest revision any answer has shown.
    seen: AtomicI64,
}

impl Nodes {
    /// Parses everything, connects to nothing.
    pub fn new(options: &EtcdOptions) -> Result<Self, OptionsError> {
        let limit = options.connect_timeout.min(CONNECT_WITHIN_CALL);
        let nodes = options
            .addresses()?
            .into_iter()
            .map(|address| {
                Ok(Node {
                    connector: Connector::new(address, options.tls.as_ref(), limit)?,
                    clients: tokio::sync::Mutex::new(None),
                    health: AtomicU8::new(Health::Up as u8),
                    looked_after: AtomicBool::new(false),
                    last_error: Mutex::new(String::new()),
                })
            })
            .collect::<Result<Vec<_>, OptionsError>>()?;
        Ok(Self(Arc::new(Shared {
            nodes,
            current: AtomicUsize::new(0),
            credentials: options.credentials.clone(),
            stream_token: RwLock::new(None),
            call_limit: options.call_limit(),
            seen: AtomicI64::new(0),
        })))
    }

    /// Looks at every node every few seconds, at once to begin with.
    pub fn patrol(&self) {
        for index in 0..self.0.nodes.len() {
            let nodes = self.clone();
            tokio::spawn(async move {
                loop {
                    if nodes.health(index) == Health::Up
                        && let Err(failure) = nodes.probe(index).await
                    {
                        nodes.suspect(index, &describe(&failure));
                    }
                    tokio::time::sleep(PATROL_EVERY).await;
                }
            });
        }
    }

    /// The current revision, linearizable.
    pub async fn revision(&self, limit: Duration) -> Result<i64, StoreError> {
        let revision = self.call(Effect::Reads, limit, probe).await?;
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
        let all_down = (0..self.0.nodes.len()).all(|index| self.health(index) == Health::Down);
        all_down.then(|| self.words_of_the_missing())
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
        for (position, index) in candidates.iter().copied().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // A read leaves time for another node; a write must not be repeated, so it may take all there is.
            let is_last = position + 1 == candidates.len();
            let share = if effect == Effect::Reads && !is_last { (left / 2).min(LONGEST_TRY) } else { left };
            let failure = match self.attempt(index, Instant::now() + share, &request).await {
                Ok(answer) => {
                    self.well(index);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            match &failure {
                Failure::NotSent(why) | Failure::Unsettled(why) => self.suspect(index, why),
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

    async fn attempt<T, F, Fut>(&self, index: usize, deadline: Instant, request: &F) -> Result<T, Failure>
    where
        F: Fn(Arc<Clients>) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        let address = self.node(index).connector.address();
        let late = |what: &str| format!("etcd {address}: {what}");
        let clients = match timeout_at(deadline, self.clients(index)).await {
            Ok(clients) => clients?,
            Err(_) => return Err(Failure::NotSent(late("no answer to the authentication within the limit"))),
        };
        for last_try in [false, true] {
            let answer = match timeout_at(deadline, request(Arc::clone(&clients))).await {
                Ok(answer) => answer.map_err(of_client),
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

    /// The node streams should use, with its index.
    pub fn connector(&self) -> (usize, Connector) {
        let index = self.candidates().first().copied().unwrap_or_else(|| self.current());
        (index, self.node(index).connector.clone())
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
    pub fn suspect(&self, index: usize, why: &str) {
        let node = self.node(index);
        *lock(&node.last_error) = why.to_owned();
        if self.health(index) == Health::Up {
            self.set_health(index, Health::Suspect);
        }
        if let Some(better) = self.candidates().first() {
            self.0.current.store(*better, Ordering::Relaxed);
        }
        if !node.looked_after.swap(true, Ordering::AcqRel) {
            tokio::spawn(self.clone().look_after(index));
        }
    }

    fn well(&self, index: usize) {
        if self.health(index) == Health::Up && self.health(self.current()) != Health::Up {
            self.0.current.store(index, Ordering::Relaxed);
        }
    }

    /// Looks at a node until it answers.
    async fn look_after(self, index: usize) {
        let node = self.node(index);
        let address = node.connector.address();
        let mut said = false;
        loop {
            match self.probe(index).await {
                Ok(_) => break,
                Err(failure) => {
                    let why = describe(&failure);
                    // Who waits for the first answer says so himself.
                    if !said && self.seen() > 0 {
                        log::warn!("etcd {address} does not answer: {why}");
                        said = true;
                    }
                    *lock(&node.last_error) = why;
                    self.set_health(index, Health::Down);
                    if let Some(better) = self.candidates().first() {
                        self.0.current.store(*better, Ordering::Relaxed);
                    }
                    // A connection whose other end is gone without a word would stay for minutes.
                    *node.clients.lock().await = None;
                }
            }
            tokio::time::sleep(PROBE_AGAIN).await;
        }
        if said {
            log::info!("etcd {address} answers again");
        }
        self.set_health(index, Health::Up);
        self.well(index);
        node.looked_after.store(false, Ordering::Release);
    }

    async fn probe(&self, index: usize) -> Result<i64, Failure> {
        match self.attempt(index, Instant::now() + PROBE_LIMIT, &probe).await {
            // It answers; what it thinks of our rights is for the requests to find out.
            Err(Failure::Refused { .. }) => Ok(0),
            answer => answer.inspect(|revision| self.saw(*revision)),
        }
    }

    /// The clients of a node; authenticates if there are credentials and this was not done.
    async fn clients(&self, index: usize) -> Result<Arc<Clients>, Failure> {
        let node = self.node(index);
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
        let whole = whole.map_err(|error| match of_client(error) {
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

    /// The nodes worth trying, best first: the one in use, other well ones, those that failed once.
    fn candidates(&self) -> Vec<usize> {
        let count = self.0.nodes.len();
        let first = self.current();
        let mut all: Vec<usize> = (0..count).map(|offset| (first + offset) % count).collect();
        all.retain(|index| self.health(*index) != Health::Down);
        all.sort_by_key(|index| self.health(*index) != Health::Up);
        all
    }

    fn words_of_the_missing(&self) -> String {
        let node = self.node(self.current());
        let words = lock(&node.last_error).clone();
        format!("etcd is away ({}): {words}", node.connector.address())
    }

    fn current(&self) -> usize {
        self.0.current.load(Ordering::Relaxed)
    }

    #[expect(clippy::indexing_slicing, reason = "indices come from this list, which never changes")]
    fn node(&self, index: usize) -> &Node {
        &self.0.nodes[index]
    }

    fn health(&self, index: usize) -> Health {
        match self.node(index).health.load(Ordering::Relaxed) {
            0 => Health::Up,
            1 => Health::Suspect,
            _ => Health::Down,
        }
    }

    fn set_health(&self, index: usize, health: Health) {
        self.node(index).health.store(health as u8, Ordering::Relaxed);
    }
}

async fn probe(clients: Arc<Clients>) -> Result<i64, etcd_client::Error> {
    let answer =
        clients.kv.clone().get(PROBE_KEY, Some(GetOptions::new().with_keys_only().with_limit(1))).await?;
    Ok(answer.header().map_or(0, etcd_client::ResponseHeader::revision))
}

fn outcome(effect: Effect, failure: Failure) -> StoreError {
    match effect {
        Effect::Reads => failure.of_read(),
        Effect::Writes => failure.of_write(),
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
