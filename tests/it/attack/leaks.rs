//! What reaches places it must not reach: the log, other users of the machine, the store behind an import.
