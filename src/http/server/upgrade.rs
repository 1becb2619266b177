//! Requests that ask for a websocket. The HTTP library hands over the socket, so that an idle session keeps none of the library's
//! buffers.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use actix_codec::Framed;
use actix_http::body::MessageBody as _;
use actix_http::h1::{self, Codec};
use actix_http::{ConnectionType, Request, Response};
use actix_service::Service;
use actix_web::HttpResponse;
use actix_web::dev::ServiceResponse;
use futures_util::SinkExt as _;

use super::connection::ClientConnection;
use super::record::X_REQUEST_ID;
use super::terms::ServerTerms;
use crate::http::ws;

/// Serves one upgrade request with the application, and then runs the session that its handler has accepted.
pub(super) async fn serve<A>(
    app: Rc<A>,
    request: Request,
    framed: Framed<ClientConnection, Codec>,
    terms: Rc<ServerTerms>,
) -> Result<(), A::Error>
where
    A: Service<Request, Response = ServiceResponse>,
{
    let exchange = Rc::clone(framed.io_ref().exchange());
    exchange.begin_upgrade();
    let (request, response) = app.call(request).await?.into_parts();
    let Some(session) = exchange.take_session() else {
        // An error means that the client is gone. The connection ends in any case.
        let _ = send(response, framed).await;
        return Ok(());
    };
    let limits = terms.settings.websocket;
    let mut parts = framed.into_parts();
    let ahead = parts.io.take_over(limits.write_stall);
    parts.read_buf.extend_from_slice(&ahead);
    let opened = ws::OpenedSocket {
        io: parts.io,
        received: parts.read_buf.freeze(),
        unsent: parts.write_buf.freeze(),
        accept: ws::accept_line(request.head(), response.headers().get(&X_REQUEST_ID)),
    };
    // The session gets a task of its own, because the task of the HTTP connection takes some kilobytes.
    actix_rt::spawn(ws::run(opened, session, limits, Arc::clone(&terms.end_sessions)));
    Ok(())
}

/// Sends an ordinary answer and ends the connection.
async fn send(mut response: HttpResponse, mut framed: Framed<ClientConnection, Codec>) -> io::Result<()> {
    response.head_mut().set_connection_type(ConnectionType::Close);
    let (response, mut body) = Response::from(response).into_parts();
    framed.send(h1::Message::Item((response, body.size()))).await?;
    while let Some(piece) = poll_fn(|cx| body.as_pin_mut().poll_next(cx)).await {
        let piece = piece.map_err(|error| io::Error::other(error.to_string()))?;
        framed.send(h1::Message::Chunk(Some(piece))).await?;
    }
    framed.send(h1::Message::Chunk(None)).await?;
    framed.close().await
}
