//! The request that a thread works for: its id, and its trace if it has one.
//!
//! The server enters the [`RequestContext`] of a request while it polls the request's handler. A message to an actor carries the
//! context, and the actor enters it while it does the work. So each line of the log has the id of the request that caused it, and each
//! step of a traced request becomes a span. This module starts no thread and sends nothing.

mod parent;
mod request_id;
mod span;

use std::cell::RefCell;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

pub use parent::{Decision, TraceParent};
pub use request_id::{RequestId, RequestIds};
pub use span::{ParentRule, ServerSpan, Step, StepKind, TraceIds, Tracer};

use span::SpanPlace;

thread_local! {
    static CURRENT: RefCell<Option<RequestContext>> = const { RefCell::new(None) };
}

/// What the work for a request carries from thread to thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestContext {
    id: RequestId,
    /// The span under which further spans belong. `None` if the request is not traced.
    span: Option<Arc<SpanPlace>>,
    /// Known of requests that may change something.
    sender: Option<Arc<Sender>>,
}

/// Who sent a request.
#[derive(Debug)]
pub struct Sender {
    /// The address of the client.
    pub client: IpAddr,
    account: OnceLock<Arc<str>>,
}

impl Sender {
    pub fn new(client: IpAddr) -> Self {
        Self { client, account: OnceLock::new() }
    }

    /// `None` if the request needs no account.
    pub fn account(&self) -> Option<&Arc<str>> {
        self.account.get()
    }
}

impl RequestContext {
    pub fn new(id: RequestId) -> Self {
        Self { id, span: None, sender: None }
    }

    pub fn sender(&self) -> Option<&Sender> {
        self.sender.as_deref()
    }

    /// Notes who sent the request.
    pub fn sent_by(&mut self, sender: Sender) {
        self.sender = Some(Arc::new(sender));
    }

    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// The ids of the trace and the span, if the request is traced.
    pub fn trace_ids(&self) -> Option<TraceIds> {
        self.span.as_ref().map(|span| span.ids())
    }

    pub fn is_traced(&self) -> bool {
        self.span.is_some()
    }

    /// This thread works for the request until the guard is dropped.
    pub fn enter(&self) -> Entered {
        Entered { before: replace(Some(self.clone())) }
    }
}

/// The request that this thread works for.
pub fn current() -> Option<RequestContext> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Notes the account of the request that this thread works for, if its sender is known.
pub fn signed_in(account: &Arc<str>) {
    let note = |current: &RefCell<Option<RequestContext>>| {
        if let Some(sender) = current.borrow().as_ref().and_then(RequestContext::sender) {
            // A request has one account. It is noted again if the request is admitted at the second try.
            let _ = sender.account.set(Arc::clone(account));
        }
    };
    // An error means that the thread ends.
    let _ = CURRENT.try_with(note);
}

/// As [`current`], but `None` if the request is not traced.
pub fn traced() -> Option<RequestContext> {
    current().filter(RequestContext::is_traced)
}

/// Begins a step of the request that this thread works for. Does nothing if there is none, or if it is not traced.
pub fn step(name: &'static str, kind: StepKind) -> Step {
    step_of(traced().as_ref(), name, kind)
}

/// Begins a step of a request. Does nothing if there is none, or if it is not traced.
pub fn step_of(request: Option<&RequestContext>, name: &'static str, kind: StepKind) -> Step {
    request.map_or(Step::NONE, |request| Step::of(request, name, kind))
}

fn replace(context: Option<RequestContext>) -> Option<RequestContext> {
    // An error means that the thread ends, and that it works for no request any more.
    CURRENT.try_with(|current| current.replace(context)).ok().flatten()
}

/// Ends the work of this thread for a request when it is dropped.
#[must_use = "the work is over when this is dropped"]
#[derive(Debug)]
pub struct Entered {
    before: Option<RequestContext>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(replace(self.before.take()));
    }
}

/// Polls `work` as work for a request.
pub fn within<F: Future>(context: Option<RequestContext>, work: Pin<&mut F>) -> Within<'_, F> {
    Within { context, work }
}

/// See [`within`].
#[must_use = "a future does nothing unless it is polled"]
#[derive(Debug)]
pub struct Within<'w, F> {
    context: Option<RequestContext>,
    work: Pin<&'w mut F>,
}

impl<F: Future> Future for Within<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let _entered = this.context.as_ref().map(RequestContext::enter);
        this.work.as_mut().poll(cx)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;

    use super::*;

    fn context(id: &str) -> RequestContext {
        RequestContext::new(RequestId::given(id.as_bytes()).unwrap())
    }

    fn current_id() -> Option<String> {
        current().map(|current| current.id().to_string())
    }

    #[test]
    fn guards_nest_and_end_in_reverse() {
        assert_eq!(current_id(), None);
        let outer = context("outer").enter();
        {
            let _inner = context("inner").enter();
            assert_eq!(current_id().as_deref(), Some("inner"));
            assert_eq!(std::thread::spawn(current_id).join().unwrap(), None);
        }
        assert_eq!(current_id().as_deref(), Some("outer"));
        drop(outer);
        assert_eq!(current_id(), None);
    }

    #[test]
    fn a_panic_ends_the_work() {
        let panicked = std::panic::catch_unwind(|| {
            let _entered = context("broken").enter();
            panic!("a handler");
        });
        assert!(panicked.is_err());
        assert_eq!(current_id(), None);
    }

    #[test]
    fn a_future_is_polled_as_work_for_its_request() {
        let mut waits = pin!(async {
            let first = current_id();
            tokio::task::yield_now().await;
            (first, current_id())
        });
        let mut of_a = within(Some(context("a")), waits.as_mut());
        assert!((&mut of_a).now_or_never().is_none() && current_id().is_none());
        let a = || Some("a".to_owned());
        assert_eq!((&mut of_a).now_or_never(), Some((a(), a())));
        let mut idle = pin!(async { current_id() });
        assert_eq!(within(None, idle.as_mut()).now_or_never(), Some(None));
    }

    #[test]
    fn a_request_without_a_trace_has_no_steps() {
        let _entered = context("a").enter();
        assert!(traced().is_none());
        assert!(step("nothing", StepKind::Internal).context().is_none());
    }
}
