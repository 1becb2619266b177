//! The daemon: reads command line and configuration, then hands over to [`service_center::app`].

use std::io;
use std::process::ExitCode;

use service_center::cli::{self, Next, Task, Terminal};
use service_center::{app, config};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let mut terminal = Terminal::new(&mut out, &mut err);
    let job = match cli::start(std::env::args_os().skip(1), config::Inputs::from_process(), &mut terminal) {
        Next::Exit(code) => return ExitCode::from(code),
        Next::Run(job) => job,
    };
    if let Err(code) = job.open_log(&mut terminal) {
        return ExitCode::from(code);
    }
    let code = match job.task {
        Task::Serve => app::serve(job.config),
        Task::Export { to } => app::export(&job.config, &to),
        Task::Import { from } => app::import(&job.config, &from),
    };
    log::logger().flush();
    code
}
