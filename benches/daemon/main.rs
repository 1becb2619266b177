//! What the daemon does on this machine: one table of figures, each beside its target. `make bench` runs it; README.md in
//! the folder above says how and what the figures mean. Without `--bench`, as `cargo test` calls it, it runs every row with
//! tiny counts, to see that each still works.
//!
//! Loopback only; what it starts it ends, by process id; every count and wait has a limit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program that prints measurements, on the real clock"
)]

#[allow(dead_code, unused_imports, reason = "shared with the tests, which use the rest")]
#[path = "../../tests/it/support"]
mod support {
    pub mod collector;
    pub mod daemon;
    pub mod etcd;
    pub mod eventually;
    pub mod http;
    pub mod net;
    pub mod process;
}

mod client;
mod compare;
mod crowd;
mod encryption;
mod fill;
mod fleet;
mod floor;
mod http2;
mod latency;
mod node;
mod options;
mod paced;
mod roaming;
mod rows;
mod steady;
mod table;
mod usage;
mod wrk;

use std::process::ExitCode;

use options::{Asked, Options};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc; // the daemon's, so that the floor has it as well

fn main() -> ExitCode {
    match options::asked(std::env::args().skip(1)) {
        Ok(Asked::Nothing) => ExitCode::SUCCESS,
        Ok(Asked::Floor(setup)) => floor::serve(&setup),
        Ok(Asked::Crowd(setup)) => crowd::hold(setup),
        Ok(Asked::Rows(options)) => measure(&options),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn measure(options: &Options) -> ExitCode {
    // Data lies where the project lies: a temporary folder may be memory, where nothing waits for a disk.
    tempfile::env::override_temp_dir(env!("CARGO_TARGET_TMPDIR").as_ref()).ok();
    node::raise_open_files();
    let table = rows::run(options);
    println!("{table}");
    if options.save {
        match table.save() {
            Ok(path) => println!("added to {}", path.display()),
            Err(error) => {
                eprintln!("benches/RESULTS.md: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    if table.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
