//! Rules about the source itself, kept by reading it.
