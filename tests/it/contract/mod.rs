//! What the API answers, seen by a client.

mod golden;
