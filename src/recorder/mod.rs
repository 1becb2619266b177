//! The record of what happened to instances and services.
//!
//! Invariant: pure code over domain types. It does no I/O and reads no clock.

pub mod delivery;
