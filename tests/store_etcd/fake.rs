//! A stand-in for etcd that always shows behavior of a real etcd that depends on chance: expired leases that are not revoked, long silence, and
//! grants without an answer.
//! It answers the few calls that the store makes in these tests, over plain HTTP/2, and stores nothing.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use prost::Message;
use service_center::store::LeaseId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::support::net::loopback;

/// The TTL of a living lease after its renewal, in seconds.
pub const LIVING_TTL: i64 = 600;

/// Of so many grants the first one is never answered.
pub const GRANTS_TO_ONE_LOST: usize = 8;

/// The stand-in. It ends when dropped.
pub struct FakeEtcd {
    address: SocketAddr,
    state: Arc<FakeState>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct FakeState {
    expired: Mutex<HashSet<i64>>,
    is_revoked: AtomicBool,
    revoked: Notify,
    held_up: AtomicUsize,
    grants: AtomicUsize,
    signs_of_life: AtomicUsize,
    /// The last put: key and revision.
    put: watch::Sender<Option<(String, i64)>>,
}

impl FakeEtcd {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((loopback(), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<FakeState>::default();
        let served = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&served)));
            }
        });
        Self { address, state, accepting }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Marks leases as expired. Their renewals wait, and so do later requests in the same stream.
    pub fn expire(&self, leases: &[LeaseId]) {
        self.state.expired.lock().unwrap().extend(leases.iter().map(|lease| lease.0));
    }

    /// Revokes the expired leases, and answers the waiting renewals.
    pub fn revoke_expired(&self) {
        self.state.is_revoked.store(true, Ordering::SeqCst);
        self.state.revoked.notify_waiters();
    }

    /// The number of renewals that have waited.
    pub fn held_up(&self) -> usize {
        self.state.held_up.load(Ordering::SeqCst)
    }

    /// The number of signs of life that watches got.
    pub fn signs_of_life(&self) -> usize {
        self.state.signs_of_life.load(Ordering::SeqCst)
    }

    /// Sends a put to all watches.
    pub fn put(&self, key: &str, revision: i64) {
        self.state.put.send_replace(Some((key.to_owned(), revision)));
    }
}

impl Drop for FakeEtcd {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Header {
    #[prost(uint64, tag = "1")]
    cluster_id: u64,
    #[prost(int64, tag = "3")]
    revision: i64,
}

/// An answer of which only the header is read.
#[derive(Clone, PartialEq, Message)]
struct Plain {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

/// A request of which nothing is read.
#[derive(Clone, Copy, PartialEq, Message)]
struct Unread {}

/// A renewal or a request for the remaining time, and the answers to both.
#[derive(Clone, PartialEq, Message)]
struct LeaseQuestion {
    #[prost(int64, tag = "1")]
    id: i64,
}

#[derive(Clone, PartialEq, Message)]
struct LeaseAnswer {
    #[prost(int64, tag = "2")]
    id: i64,
    #[prost(int64, tag = "3")]
    ttl: i64,
    #[prost(int64, tag = "4")]
    granted_ttl: i64,
}

#[derive(Clone, PartialEq, Message)]
struct WatchQuestion {
    #[prost(message, optional, tag = "1")]
    create: Option<Unread>,
}

#[derive(Clone, PartialEq, Message)]
struct WatchAnswer {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(bool, tag = "3")]
    created: bool,
    #[prost(message, repeated, tag = "11")]
    events: Vec<Event>,
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(message, optional, tag = "2")]
    kv: Option<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(int64, tag = "3")]
    mod_revision: i64,
}

async fn serve(stream: TcpStream, state: Arc<FakeState>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond, Arc::clone(&state)));
    }
}

/// Ends when the other side does.
async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    state: Arc<FakeState>,
) -> Option<()> {
    let path = request.uri().path().to_owned();
    let mut questions = Questions { body: request.into_body(), read: BytesMut::new() };
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut answers = respond.send_response(head, false).ok()?;
    let header = Some(Header { cluster_id: 1, revision: 1 });
    match path.as_str() {
        "/etcdserverpb.Lease/LeaseKeepAlive" => {
            while let Some(LeaseQuestion { id }) = questions.next().await {
                let ttl = if state.is_expired(id) { 0 } else { LIVING_TTL };
                if ttl == 0 {
                    state.wait_for_revocation().await;
                }
                send(&mut answers, &LeaseAnswer { id, ttl, granted_ttl: 0 })?;
            }
        }
        "/etcdserverpb.Lease/LeaseGrant" => {
            questions.only::<Unread>().await?;
            let number = state.grants.fetch_add(1, Ordering::SeqCst);
            if number.is_multiple_of(GRANTS_TO_ONE_LOST) {
                return std::future::pending().await;
            }
            send(&mut answers, &LeaseAnswer { id: number as i64, ttl: LIVING_TTL, granted_ttl: 0 })?;
        }
        "/etcdserverpb.Lease/LeaseTimeToLive" => {
            let LeaseQuestion { id } = questions.only().await?;
            let (ttl, granted_ttl) = match (state.is_expired(id), state.is_revoked.load(Ordering::SeqCst)) {
                (true, true) => (-1, 0),
                (true, false) => (-1, LIVING_TTL),
                (false, _) => (LIVING_TTL, LIVING_TTL),
            };
            send(&mut answers, &LeaseAnswer { id, ttl, granted_ttl })?;
        }
        "/etcdserverpb.Watch/Watch" => return watch(questions, answers, &state).await,
        // A read of the revision or of the rights.
        _ => {
            questions.only::<Unread>().await?;
            send(&mut answers, &Plain { header })?;
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    answers.send_trailers(trailers).ok()
}

async fn watch(mut questions: Questions, mut answers: SendStream<Bytes>, state: &FakeState) -> Option<()> {
    let mut puts = state.put.subscribe();
    let header = Some(Header { cluster_id: 1, revision: 1 });
    loop {
        tokio::select! {
            question = questions.next::<WatchQuestion>() => {
                let created = question?.create.is_some();
                if !created {
                    state.signs_of_life.fetch_add(1, Ordering::SeqCst);
                }
                send(&mut answers, &WatchAnswer { header, created, events: Vec::new() })?;
            }
            changed = puts.changed() => {
                changed.ok()?;
                let (key, revision) = puts.borrow_and_update().clone()?;
                let kv = Some(KeyValue { key: key.into_bytes(), mod_revision: revision });
                let header = Some(Header { cluster_id: 1, revision });
                send(&mut answers, &WatchAnswer { header, created: false, events: vec![Event { kv }] })?;
            }
        }
    }
}

impl FakeState {
    fn is_expired(&self, lease: i64) -> bool {
        self.expired.lock().unwrap().contains(&lease)
    }

    async fn wait_for_revocation(&self) {
        let revoked = self.revoked.notified();
        if !self.is_revoked.load(Ordering::SeqCst) {
            self.held_up.fetch_add(1, Ordering::SeqCst);
            revoked.await;
        }
    }
}

/// The messages of a stream. Each comes after a byte and its length.
struct Questions {
    body: RecvStream,
    read: BytesMut,
}

impl Questions {
    /// The only message of a call. A body that is not read to its end would count as refused.
    async fn only<Q: Message + Default>(&mut self) -> Option<Q> {
        let question = self.next().await?;
        while self.body.data().await.is_some() {}
        Some(question)
    }

    async fn next<Q: Message + Default>(&mut self) -> Option<Q> {
        loop {
            if let Some(length) = self.read.get(1..5) {
                let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
                if self.read.len() >= 5 + length {
                    self.read.advance(5);
                    return Q::decode(self.read.split_to(length)).ok();
                }
            }
            let data = self.body.data().await?.ok()?;
            self.body.flow_control().release_capacity(data.len()).ok()?;
            self.read.extend_from_slice(&data);
        }
    }
}

fn send(answers: &mut SendStream<Bytes>, answer: &impl Message) -> Option<()> {
    let message = answer.encode_to_vec();
    let mut framed = BytesMut::from(&[0][..]);
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(&message);
    answers.send_data(framed.freeze(), false).ok()
}
