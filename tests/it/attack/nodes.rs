//! Requests that pretend to be a node of the registry.
