//! Fan-out of changes to watch sessions.

pub mod outbox;
