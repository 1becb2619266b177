//! Objects that are larger, or more, than a limit allows, by every route that accepts them.
