//! Helpers of the tests: they start processes, send requests and wait. They block unless their name has `async`. Every wait has a limit.
//!
//! A helper asserts no rule of the registry. It returns what it saw, and the test judges.

pub mod collector;
pub mod daemon;
pub mod description;
#[allow(dead_code, reason = "the tests of the etcd store use the rest")]
pub mod etcd;
pub mod etcd_keys;
pub mod eventually;
pub mod golden;
pub mod http;
pub mod json_schema;
pub mod net;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod registry;
pub mod scale;
pub mod script;
pub mod seed;
pub mod sse;
pub mod stop;
pub mod store;
pub mod ws;
