//! The body of an answer that goes on until its handler ends it, its client is gone, or the server stops.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_http::body::{BodySize, MessageBody};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::LocalBoxStream;

use super::connection::{Exchange, OpenStream};
use crate::http::signal::Signal;

/// It asks the handler for the next piece only when the client has taken the piece before. So it holds one piece at most, and a
/// handler learns that its client is slow.
pub(super) struct StreamedBody {
    pieces: LocalBoxStream<'static, Bytes>,
    stopped: LocalBoxFuture<'static, ()>,
    /// The connection, if it tells whether the client has taken what was written.
    connection: Option<Rc<Exchange>>,
    _open: OpenStream,
}

impl StreamedBody {
    /// HTTP/2 asks for the next piece when the client's window has room, so it needs no `connection`.
    pub(super) fn new(
        pieces: LocalBoxStream<'static, Bytes>,
        exchange: &Rc<Exchange>,
        connection: Option<Rc<Exchange>>,
        stop: &Arc<Signal>,
    ) -> Self {
        let stopped = Box::pin(Arc::clone(stop).wait());
        Self { pieces, stopped, connection, _open: exchange.open_stream() }
    }
}

impl MessageBody for StreamedBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        if this.stopped.as_mut().poll(cx).is_ready() {
            // The connection has looked for the stop while it was in use, and must look again.
            cx.waker().wake_by_ref();
            return Poll::Ready(None);
        }
        if let Some(connection) = &this.connection {
            ready!(connection.poll_written(cx));
        }
        loop {
            let piece = ready!(this.pieces.as_mut().poll_next(cx));
            // An empty chunk would be the end of the answer.
            if piece.as_ref().is_none_or(|piece| !piece.is_empty()) {
                return Poll::Ready(piece.map(Ok));
            }
        }
    }
}
