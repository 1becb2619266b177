//! Requests that ask for a websocket: taken out of the HTTP library with their socket, so that an idle session keeps none of
//! its buffers.

use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use actix_codec::Framed;
use actix_http::body::MessageBody as _;
use actix_http::h1::{self, Codec};
use actix_http::{Request, Response};
use actix_web::HttpResponse;
use futures_util::SinkExt as _;

use super::connection::Connection;
use super::dispatch::{Dispatcher, Upgrade};
use crate::http::signal::Signal;
use crate::http::ws;

/// Serves the upgrade requests of one worker.
pub(super) struct Upgrades<S: 'static> {
    pub(super) dispatcher: Rc<Dispatcher<S>>,
    pub(super) limits: ws::Limits,
    pub(super) end: Arc<Signal>,
}

impl<S> Clone for Upgrades<S> {
    fn clone(&self) -> Self {
        Self { dispatcher: Rc::clone(&self.dispatcher), limits: self.limits, end: Arc::clone(&self.end) }
    }
}

impl<S: Send + Sync + 'static> Upgrades<S> {
    pub(super) async fn serve(
        self,
        request: Request,
        framed: Framed<Connection, Codec>,
    ) -> Result<(), Infallible> {
        let exchange = Rc::clone(framed.io_ref().exchange());
        match self.dispatcher.upgrade(request, &exchange).await {
            Upgrade::Refused(response) => {
                // A client that does not take its answer is gone or broken; the connection ends either way.
                let _ = send(response, framed).await;
            }
            Upgrade::Start(head, session) => {
                let mut parts = framed.into_parts();
                let ahead = parts.io.take_over(self.limits.write_stall);
                parts.read_buf.extend_from_slice(&ahead);
                let accept = ws::accept_line(head.get());
                let opened = ws::Opened {
                    io: parts.io,
                    received: parts.read_buf.freeze(),
                    unsent: parts.write_buf.freeze(),
                    accept,
                };
                // In a task of its own: the one of the HTTP connection is some kilobytes.
                actix_rt::spawn(ws::run(opened, session, self.limits, self.end));
            }
        }
        Ok(())
    }
}

/// Sends an ordinary answer and ends the connection.
async fn send(response: HttpResponse, mut framed: Framed<Connection, Codec>) -> Result<(), std::io::Error> {
    let (response, mut body) = Response::from(response).into_parts();
    framed.send(h1::Message::Item((response, body.size()))).await?;
    while let Some(piece) = poll_fn(|cx| body.as_pin_mut().poll_next(cx)).await {
        let piece = piece.map_err(|error| std::io::Error::other(error.to_string()))?;
        framed.send(h1::Message::Chunk(Some(piece))).await?;
    }
    framed.send(h1::Message::Chunk(None)).await?;
    framed.close().await
}
