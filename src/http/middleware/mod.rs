//! Rules for the requests and answers of all routes: cross-origin requests (CORS) and compression.

pub mod compress;
pub mod cors;
