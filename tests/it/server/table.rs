//! Routes and state for tests, and a server with them.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_http::StatusCode;
use bytes::Bytes;
use futures_util::stream::unfold;
use service_center::actors::hub::outbox::{Outbox, outbox};
use service_center::http::call::{Answer, Call};
use service_center::http::reply::{Gzip, Reply};
use service_center::http::route::{Handler, Route, route};
use service_center::http::server::{Bound, RunningServer, Settings, start};
use service_center::http::spec::{Body, Load, Method, Operation, Permission, V3};
use service_center::http::ws::{End, Session, SessionStart};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::still_time::StillTime;
use crate::support::eventually::{GENEROUS, eventually_async};

/// The state that handlers and tests share.
#[derive(Default)]
pub struct State {
    /// How many handlers ran.
    pub ran: AtomicUsize,
    /// Lets `/wait` answer.
    pub go: Notify,
    /// A compressed body that the server handed over.
    pub kept: Arc<Mutex<Option<Bytes>>>,
    /// Outboxes of watch sessions, newest last.
    pub outboxes: Mutex<Vec<Outbox>>,
    /// How many guards of watch sessions were dropped.
    pub unsubscribed: Arc<AtomicUsize>,
    /// How many pongs heartbeat sessions got.
    pub pongs: Arc<AtomicUsize>,
    /// Where the pieces of the answers of `/stream` come from, newest last.
    pub pieces: Mutex<Vec<UnboundedSender<Bytes>>>,
}

const fn row(method: Method, path: &'static str, body: Body, handler: Handler<State>) -> Route<State> {
    route(method, path, V3::None, body, Load::Memory, Permission::Open, handler, &NOTHING)
}

const NOTHING: Operation = Operation::new("", "", "");

use Body::{Configured, Ignored};
use Handler::{Answer as To, Websocket};
use Method::{Delete, Get, Post, Put};

pub static TABLE: &[Route<State>] = &[
    route(
        Get,
        "/v4/{project}/registry/show/{id}",
        V3::Prefixed,
        Ignored,
        Load::Memory,
        Permission::Open,
        To(show),
        &NOTHING,
    ),
    route(
        Get,
        "/v4/{project}/registry/version",
        V3::Bare,
        Ignored,
        Load::Always,
        Permission::Open,
        To(show_bare),
        &NOTHING,
    ),
    route(Get, "/find", V3::None, Ignored, Load::Find, Permission::Open, To(empty), &NOTHING),
    route(Get, "/find-wait", V3::None, Ignored, Load::Find, Permission::Open, To(wait), &NOTHING),
    route(Get, "/store-wait", V3::None, Ignored, Load::Store, Permission::Open, To(wait), &NOTHING),
    route(Post, "/store", V3::None, Configured, Load::Store, Permission::Open, To(echo), &NOTHING),
    row(Put, "/v4/{project}/registry/show/{id}", Configured, To(echo)),
    row(Delete, "/v4/{project}/registry/show/{id}", Ignored, To(empty)),
    row(Post, "/instances", Body::Instance, To(echo)),
    row(Get, "/empty", Ignored, To(empty)),
    row(Get, "/unchanged", Ignored, To(unchanged)),
    row(Get, "/refused", Ignored, To(refused)),
    row(Get, "/panic", Ignored, To(panics)),
    row(Get, "/panic-later", Ignored, To(panics_later)),
    row(Get, "/wait", Ignored, To(wait)),
    row(Get, "/bytes/{count}", Ignored, To(bytes)),
    row(Get, "/gzip/{how}", Ignored, To(gzip)),
    row(Get, "/stream", Ignored, To(stream)),
    row(Get, "/watch", Ignored, Websocket(watch)),
    row(Get, "/watch-unknown", Ignored, Websocket(watch_unknown)),
    row(Get, "/watch-refused", Ignored, Websocket(watch_refused)),
    row(Get, "/heartbeat/{pongs}", Ignored, Websocket(heartbeat)),
];

/// Answers with the properties of the call.
fn show(state: &Arc<State>, call: Call) -> Answer {
    state.ran.fetch_add(1, Ordering::SeqCst);
    let consumer = match call.consumer_id() {
        Ok(consumer) => consumer,
        Err(error) => return error.into(),
    };
    let text = format!(
        "id={} tenant={} surface={:?} consumer={} q={:?} noCache={} cacheOnly={}",
        call.param("id"),
        call.tenant(),
        call.surface(),
        consumer,
        call.query("q"),
        call.wants_current(),
        call.flag("cacheOnly"),
    );
    Reply::json(text).revision("abc").into()
}

fn show_bare(_: &Arc<State>, call: Call) -> Answer {
    Reply::json(format!("{:?} {}", call.surface(), call.tenant())).into()
}

fn echo(state: &Arc<State>, call: Call) -> Answer {
    state.ran.fetch_add(1, Ordering::SeqCst);
    Answer::later(async move { Reply::json(format!("{} bytes", call.body().len())) })
}

fn empty(_: &Arc<State>, _: Call) -> Answer {
    Reply::empty().into()
}

fn unchanged(_: &Arc<State>, _: Call) -> Answer {
    Reply::not_modified("abc").into()
}

fn refused(_: &Arc<State>, _: Call) -> Answer {
    service_center::error::Error::invalid("a detail").into()
}

fn panics(_: &Arc<State>, _: Call) -> Answer {
    panic!("at once")
}

fn panics_later(_: &Arc<State>, _: Call) -> Answer {
    Answer::later(async { if true { panic!("later") } else { Reply::empty() } })
}

fn wait(state: &Arc<State>, _: Call) -> Answer {
    let state = Arc::clone(state);
    Answer::later(async move {
        state.ran.fetch_add(1, Ordering::SeqCst);
        state.go.notified().await;
        Reply::json("waited")
    })
}

fn bytes(_: &Arc<State>, call: Call) -> Answer {
    let count = call.param("count").parse().unwrap();
    Reply::text(StatusCode::OK, vec![b'x'; count]).gzip(Gzip::Never).into()
}

fn gzip(state: &Arc<State>, call: Call) -> Answer {
    let reply = Reply::json(vec![b'y'; 1400]);
    match call.param("how") {
        "short" => Reply::json(vec![b'y'; 1399]),
        "long" => Reply::json(vec![b'y'; 200_000]),
        "ready" => reply.gzip(Gzip::Ready(Bytes::from_static(b"made before"))),
        "never" => reply.gzip(Gzip::Never),
        "keep" => {
            let kept = Arc::clone(&state.kept);
            reply.gzip(Gzip::CompressAndKeep(Box::new(move |packed| *kept.lock().unwrap() = Some(packed))))
        }
        _ => reply,
    }
    .into()
}

fn stream(state: &Arc<State>, _: Call) -> Answer {
    let (sender, pieces) = unbounded_channel();
    state.pieces.lock().unwrap().push(sender);
    Reply::events(unfold(pieces, |mut pieces| async { pieces.recv().await.map(|piece| (piece, pieces)) }))
        .into()
}

struct Unsubscribe(Arc<AtomicUsize>);

impl Drop for Unsubscribe {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn watch(state: &Arc<State>, _: Call) -> SessionStart {
    let (outbox, reader) = outbox(100);
    state.outboxes.lock().unwrap().push(outbox);
    Session::watch(reader, Unsubscribe(Arc::clone(&state.unsubscribed))).into()
}

fn watch_unknown(_: &Arc<State>, _: Call) -> SessionStart {
    Session::ended(End::Say("service does not exist".into())).into()
}

fn watch_refused(_: &Arc<State>, _: Call) -> SessionStart {
    Reply::text(StatusCode::UNAUTHORIZED, "who?").into()
}

/// Ends with 4001 at the given pong.
fn heartbeat(state: &Arc<State>, call: Call) -> SessionStart {
    let last: usize = call.param("pongs").parse().unwrap();
    let pongs = Arc::clone(&state.pongs);
    let on_pong = Box::new(move || -> futures_util::future::LocalBoxFuture<'static, Option<End>> {
        let count = pongs.fetch_add(1, Ordering::SeqCst) + 1;
        Box::pin(async move {
            (count >= last).then(|| End::Close { code: 4001, reason: "no such instance".into() })
        })
    });
    Session::heartbeat(Duration::from_millis(20), on_pong).into()
}

/// A server, and the state of its handlers.
pub struct Fixture {
    pub server: RunningServer,
    pub state: Arc<State>,
}

/// Starts a server on a free port.
pub async fn serve(settings: Settings) -> Fixture {
    serve_with(settings, || {}).await
}

/// Starts a server with one worker, whose time stands still: no limit of a connection runs out unless the test lets time
/// pass.
pub async fn serve_in_still_time(settings: Settings) -> (Fixture, StillTime) {
    assert_eq!(settings.workers, 1, "each worker has its own time");
    let (sender, receiver) = std::sync::mpsc::channel();
    let fixture = serve_with(settings, move || sender.send(StillTime::begin()).unwrap()).await;
    (fixture, receiver.try_recv().expect("a worker that has begun"))
}

/// Starts a server on a free port. Each worker calls `begin` before it serves.
async fn serve_with(settings: Settings, begin: impl Fn() + Clone + Send + 'static) -> Fixture {
    let state = Arc::new(State::default());
    let bound = Bound::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let of_worker = Arc::clone(&state);
    let state_of_worker = move || {
        begin();
        Arc::clone(&of_worker)
    };
    let server = start(vec![bound], state_of_worker, TABLE, settings).await.unwrap();
    Fixture { server, state }
}

/// Settings with one worker.
pub fn settings() -> Settings {
    Settings { workers: 1, ..Settings::default() }
}

/// Waits until a condition holds.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) -> impl Future<Output = ()> {
    eventually_async(GENEROUS, async move || if is_so() { Ok(()) } else { Err(what) })
}
