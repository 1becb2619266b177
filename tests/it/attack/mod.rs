//! Attacks on a running daemon: hostile and careless requests, each with the memory and the CPU time that the process may use
//! for it. The bound follows from the configured limits, never from the speed of the machine.
//!
//! `docs/security.md` lists what is tested here. Each file holds one class of attacks.

mod answers;
mod browsers;
mod connections;
mod dependencies;
mod ids;
mod leaks;
mod nodes;
mod objects;
mod paths;
mod rates;
mod schemas;
mod wire;
mod withdrawn;
