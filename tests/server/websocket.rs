//! Websocket sessions.
