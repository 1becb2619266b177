//! Random operations on the daemon, compared with a naive model.

mod answer;
mod draw;
mod model;
mod operation;
mod registry;
