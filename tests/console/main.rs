//! The console in a real browser: a built daemon, and a headless Chromium that a test drives as a person would, by `chromedriver`.
//!
//! - `pages`: each page in both languages and both themes, at three sizes, checked by axe-core.
//! - `live`: changes that appear by themselves, a lost connection, a token that has ended.
//! - `hostile`: a registry full of markup, bidirectional and control characters.
//! - `keyboard`: a search and a change without a mouse.
//! - `rights`: what a page offers to whom.
//! - `actions`: what a page changes, and the receipts that it shows.
//! - `sub_path`: the console behind a proxy that adds a path.
//! - `figures`: 10,000 services and 100,000 instances; prints times and memory, and judges none.
//! - `pictures`: a picture of each page (`make screenshots`).
//! - `browser`, `console`, `axe`, `staging`, `support`: helpers.
//!
//! A test fails if its pages log an error, violate their Content Security Policy, or ask any address but that of the console. It finds what
//! it clicks by the text that a person reads.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests fail by panicking, and some print figures"
)]

#[allow(dead_code, unused_imports, reason = "shared with another binary, which uses the rest")]
#[path = "../it/support"]
mod support {
    pub mod daemon;
    pub mod etcd;
    pub mod eventually;
    pub mod http;
    pub mod net;
    pub mod process;
    pub mod proxy;
    pub mod registry;
    pub mod store;
    pub mod ws;
}

mod axe;
mod browser;
mod console;
mod staging;

mod actions;
mod figures;
mod hostile;
mod keyboard;
mod live;
mod pages;
mod pictures;
mod rights;
mod sub_path;
