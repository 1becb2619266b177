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
/// handler learns that its client is slow. When the server stops, it asks for one more, in which a handler can say why the answer ends.
pub(super) struct StreamedBody {
    pieces: LocalBoxStream<'static, Bytes>,
    stopped: LocalBoxFuture<'static, ()>,
    /// The handler was asked for its last piece.
    is_over: bool,
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
        Self { pieces, stopped, is_over: false, connection, _open: exchange.open_stream() }
    }
}

impl MessageBody for StreamedBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        if !this.is_over && this.stopped.as_mut().poll(cx).is_ready() {
            this.is_over = true;
            if let Poll::Ready(Some(last)) = this.pieces.as_mut().poll_next(cx)
                && !last.is_empty()
            {
                return Poll::Ready(Some(Ok(last)));
            }
        }
        if this.is_over {
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::StreamExt as _;
    use futures_util::stream::{iter, pending};

    use super::*;

    /// What a client gets when the server stops before these pieces were asked for.
    async fn stopped_before(pieces: &[&'static str]) -> Vec<Bytes> {
        let stop = Arc::<Signal>::default();
        let pieces: Vec<Bytes> = pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect();
        let pieces = Box::pin(iter(pieces).chain(pending()));
        let mut body = StreamedBody::new(pieces, &Rc::new(Exchange::new(false)), None, &stop);
        stop.raise();
        let mut sent = Vec::new();
        while let Some(Ok(piece)) = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await {
            sent.push(piece);
        }
        sent
    }

    #[tokio::test]
    async fn a_handler_has_the_last_word_when_the_server_stops() {
        assert_eq!(stopped_before(&["why it ends", "too much"]).await, ["why it ends"]);
        assert!(stopped_before(&[""]).await.is_empty(), "an empty chunk is the end");
        assert!(stopped_before(&[]).await.is_empty(), "nothing is waited for");
    }
}
