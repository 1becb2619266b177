//! Answers that are larger than the process can hold, one by one or together.
