//! The program: reads the command line and the configuration, then calls [`service_center::app`].

use std::io;
use std::process::ExitCode;

use service_center::cli::{self, CliTask, Started, Terminal};
use service_center::{app, config};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let mut terminal = Terminal::new(&mut out, &mut err);
    let configured =
        match cli::start(std::env::args_os().skip(1), config::Inputs::from_process(), &mut terminal) {
            Started::Exit(code) => return ExitCode::from(code),
            Started::Run(configured) => configured,
        };
    if let Err(code) = configured.open_log(&mut terminal) {
        return ExitCode::from(code);
    }
    let code = match configured.task {
        CliTask::Serve => app::serve(configured.config),
        CliTask::Export { to } => app::export(&configured.config, &to),
        CliTask::Import { from } => app::import(&configured.config, &from),
    };
    log::logger().flush();
    code
}
