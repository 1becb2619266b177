//! Paths and ids that mean one thing to a proxy and another to the daemon.
