//! Schema texts that pile up.
