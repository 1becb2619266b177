//! Validation of what clients send.
