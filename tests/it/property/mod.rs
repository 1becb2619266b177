//! Random operations against a naive model, and one way of doing a thing against another way of doing it.

mod answer;
mod draw;
mod model;
mod operation;
mod registry;
