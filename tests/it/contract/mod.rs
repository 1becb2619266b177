//! What the API answers, seen by a client.

mod cluster;
mod daemon;
mod golden;
mod transfer;
