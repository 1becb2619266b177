//! What the tests start, send and wait with. It blocks, unless a name says `async`. Every wait has a limit.
//!
//! Nothing here asserts a rule of the registry: a helper reports what it saw, and the test judges.

pub mod daemon;
#[allow(dead_code, reason = "the tests of the etcd store use the rest")]
pub mod etcd;
pub mod etcd_keys;
pub mod eventually;
pub mod golden;
pub mod http;
pub mod net;
pub mod process;
pub mod proxy;
pub mod registry;
pub mod scale;
pub mod seed;
pub mod stop;
pub mod store;
pub mod ws;
