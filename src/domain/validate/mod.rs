//! Validates what clients send. There is one file for each resource. Each function is pure and returns `Ok`, or error 400001
//! with the member, its value and the rule.
//!
//! Members are checked in the order of the document, a member before its own members. The first failure is reported. A minimum
//! counts bytes and a maximum counts characters (Unicode code points), because clients rely on both.
//!
//! Invariant: nothing here looks at what the registry holds. The store's transaction decides whether a valid id exists. No
//! text causes a panic, and no error repeats more than [`rule::SHOWN_CHARACTERS`] characters of a member.

pub mod account;
pub mod demand;
pub mod dependency;
pub mod find;
pub mod flag;
pub mod instance;
pub mod member;
pub mod pattern;
pub mod rule;
pub mod schema;
pub mod service;
pub mod size;
pub mod tag;
