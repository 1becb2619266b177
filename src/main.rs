//! The program: reads the command line and the configuration, then calls [`service_center::app`].

use std::io;
use std::process::ExitCode;

use service_center::cli::{self, CliTask, Progress, Started, Terminal};
use service_center::{app, config};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let mut terminal = Terminal::new(&mut out, &mut err);
    let mut args = std::env::args_os();
    let implied = cli::implied_argument(args.next().as_ref());
    let args = implied.into_iter().chain(args);
    let configured = match cli::start(args, config::Inputs::from_process(), &mut terminal) {
        Started::Exit(code) => return ExitCode::from(code),
        Started::Run(configured) => configured,
    };
    if let Err(code) = configured.open_log(&mut terminal) {
        return ExitCode::from(code);
    }
    let mut progress = Progress::new("entries");
    let mut report = |done, all| progress.show(&mut terminal, done, all);
    let code = match configured.task {
        CliTask::Serve => app::serve(configured.config),
        CliTask::Export { to } => app::export(&configured.config, &to, &mut report),
        CliTask::Import { from } => app::import(&configured.config, &from, &mut report),
    };
    progress.finish(&mut terminal);
    log::logger().flush();
    code
}
