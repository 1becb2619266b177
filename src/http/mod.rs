//! The HTTP side.

pub mod dto;
