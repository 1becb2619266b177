//! When what a client sent is valid. One file a resource, each function pure: `Ok`, or 400001 that names the member,
//! its value and the rule.
//!
//! Members are checked in the order of the document, a member before what is inside it, and the first failure is
//! reported. A minimum counts bytes and a maximum characters (Unicode code points): clients rely on both.
//!
//! Invariant: nothing here looks at what the registry holds; whether a valid id exists is decided by the store's
//! transaction. Nothing panics, whatever the text, and no refusal repeats more than
//! [`rule::SHOWN_CHARACTERS`] characters of a member.

pub mod dependency;
pub mod find;
pub mod flag;
pub mod instance;
mod member;
pub mod pattern;
pub mod rule;
pub mod schema;
pub mod service;
pub mod size;
pub mod tag;

pub use flag::{ExistenceKind, Force, SchemaTexts};
