//! What happens to every answer or before every handler, whatever the route: CORS, compression.

pub mod compress;
pub mod cors;
