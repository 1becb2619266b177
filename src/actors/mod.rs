//! The actors: who changes the registry, keeps leases, follows the store and feeds watchers.

pub mod hub;
