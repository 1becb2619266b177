//! The log: one line for each event, with UTC time, on standard output or in a file that rotates.
//!
//! If `RUST_LOG` is set, it decides the levels. Otherwise `log.level` is the level of this program, and other crates log no more
//! than INFO: details of HTTP/2 frames do not help an operator who asked for DEBUG.
//!
//! env_logger filters and formats the lines. [`queue`] writes them, so that no thread waits for the output.
//! `log::logger().flush()` waits up to 1 s until the lines logged before are written, and as long for the access log. Call it before the
//! process ends.
//!
//! A line that is logged while a thread works for a request ends with the id of the request. [`access`] is the log of requests.

pub mod access;
mod printable;
mod queue;
mod rotate;

use std::io::{self, Write};
use std::sync::OnceLock;

use env_logger::{Builder, Logger, Target, WriteStyle};
use log::{LevelFilter, Log, Metadata, Record};

use super::sections::{LogConfig, LogFile, LogFormat};
use crate::metrics;
use crate::trace::{self, RequestContext};
use access::AccessLog;
pub use printable::printable;
pub use queue::LogOutput;
use queue::LogQueue;
use rotate::RotatingFile;

#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error(
        "log.file = {path:?}: cannot be opened: {source}; write the path of a file that this user may write, or an empty value for standard output"
    )]
    File { path: String, source: io::Error },
    #[error(
        "log.accessFile = {path:?}: cannot be opened: {source}; write the path of a file that this user may write, or turn log.accessEnable off"
    )]
    AccessFile { path: String, source: io::Error },
    #[error("a thread that writes a log cannot be started: {0}")]
    Thread(io::Error),
    #[error("the log is set up already")]
    Twice,
}

/// The queue of the log of this process.
static QUEUE: OnceLock<LogQueue> = OnceLock::new();
/// The access log of this process, if it has one.
static ACCESS: OnceLock<AccessLog> = OnceLock::new();

/// env_logger, with a `flush` that waits for the queues.
struct QueuedLogger {
    logger: Logger,
    queue: LogQueue,
}

impl Log for QueuedLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.logger.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        self.logger.log(record);
    }

    fn flush(&self) {
        self.queue.flush();
        if let Some(access) = ACCESS.get() {
            access.flush();
        }
    }
}

/// Sets up the log of the process, and its access log. An error if it is called twice.
pub fn start(config: &LogConfig) -> Result<(), LoggingError> {
    let report = |dropped| log::error!("log lines dropped because the output did not take them: {dropped}");
    let LogConfig { level, filter, file, format, access } = config;
    let lost = &metrics::LOG_LINES_DROPPED;
    let path = |file: &LogFile| file.path.display().to_string();
    let queue = match file {
        None => LogQueue::start("log", io::stdout(), lost, report),
        Some(file) => {
            let opened =
                RotatingFile::open(file).map_err(|source| LoggingError::File { path: path(file), source })?;
            LogQueue::start("log", opened, lost, report)
        }
    };
    if let Some(file) = access {
        let opened = RotatingFile::open(file)
            .map_err(|source| LoggingError::AccessFile { path: path(file), source })?;
        let access = AccessLog::start(opened, *format).map_err(LoggingError::Thread)?;
        ACCESS.set(access).map_err(|_| LoggingError::Twice)?;
    }
    let queue = queue.map_err(LoggingError::Thread)?;
    let target = Target::Pipe(Box::new(queue.clone()));
    let logger = builder(*level, filter.as_deref(), *format, target).build();
    let level = logger.filter();
    let queued = QueuedLogger { logger, queue: queue.clone() };
    log::set_boxed_logger(Box::new(queued)).map_err(|_| LoggingError::Twice)?;
    log::set_max_level(level);
    QUEUE.set(queue).map_err(|_| LoggingError::Twice)
}

/// Opens the files of the log and of the access log again, because somebody may have moved them. Lines logged before go to the old
/// files. Does nothing if there are no files.
pub fn reopen() {
    if let Some(queue) = QUEUE.get() {
        queue.reopen();
    }
    if let Some(access) = ACCESS.get() {
        access.reopen();
    }
}

/// The access log of this process. `None` if it is off.
pub fn access_log() -> Option<AccessLog> {
    ACCESS.get().cloned()
}

fn builder(level: LevelFilter, filter: Option<&str>, format: LogFormat, target: Target) -> Builder {
    let mut builder = Builder::new();
    match filter {
        Some(filter) => drop(builder.parse_filters(filter)),
        None => {
            builder.filter_level(level.min(LevelFilter::Info));
            builder.filter_module("service_center", level);
            // At INFO these log their own start, which says nothing about the registry.
            for library in ["actix_server", "actix_rt"] {
                builder.filter_module(library, level.min(LevelFilter::Warn));
            }
            // It logs an error for each mistake of a client. A client could fill the log.
            builder.filter_module("actix_http", LevelFilter::Off);
        }
    }
    builder.format(move |out, record| {
        let time = out.timestamp_millis();
        writeln!(out, "{}", line(format, &time.to_string(), record, trace::current().as_ref()))
    });
    builder.write_style(WriteStyle::Never).target(target);
    builder
}

/// A line without its line end. Characters of the message that are not printable are escaped, so that an event is one line. In JSON
/// they are escaped before JSON's own escapes, so that they stay harmless when a program decodes the line.
fn line(format: LogFormat, time: &str, record: &Record<'_>, request: Option<&RequestContext>) -> String {
    let message = record.args().to_string();
    let message = printable(&message);
    match format {
        LogFormat::Text => {
            let mut line = format!("{time} {} {}: {message}", record.level(), record.target());
            if let Some(request) = request {
                let id = request.id();
                line += &match request.trace_ids() {
                    None => format!(" [request {id}]"),
                    Some(ids) => format!(" [request {id}, trace {}]", ids.trace),
                };
            }
            line
        }
        LogFormat::Json => {
            let mut line = serde_json::json!({
                "level": record.level().as_str(),
                "time": time,
                "logger": record.target(),
                "caller": record.file().map(|file| format!("{file}:{}", record.line().unwrap_or_default())),
                "message": message,
            });
            if let Some(request) = request {
                line["requestId"] = request.id().to_string().into();
                if let Some(ids) = request.trace_ids() {
                    line["traceId"] = ids.trace.to_string().into();
                    line["spanId"] = ids.span.to_string().into();
                }
            }
            line.to_string()
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::{Arc, Mutex};

    use log::{Level, Log};

    use super::*;
    use crate::trace::RequestId;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The log after one event of each level, from this program and from another crate.
    fn written(level: LevelFilter, filter: Option<&str>, format: LogFormat) -> String {
        let captured = Captured::default();
        let target = Target::Pipe(Box::new(captured.clone()));
        let logger = builder(level, filter, format, target).build();
        for target in ["service_center::app", "h2::codec"] {
            for level in Level::iter() {
                let record = Record::builder()
                    .level(level)
                    .target(target)
                    .file(Some("app.rs"))
                    .line(Some(7))
                    .args(format_args!("two\nlines\u{1b}[2J\u{7}\u{202e}"))
                    .build();
                logger.log(&record);
            }
        }
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn levels(text: &str, target: &str) -> Vec<String> {
        let lines = text.lines().filter(|line| line.contains(target));
        lines.filter_map(|line| line.split(' ').nth(1).map(str::to_owned)).collect()
    }

    #[test]
    fn the_level_is_that_of_this_program_and_other_crates_log_up_to_info() {
        let text = written(LevelFilter::Debug, None, LogFormat::Text);
        assert_eq!(levels(&text, "service_center"), ["ERROR", "WARN", "INFO", "DEBUG"]);
        assert_eq!(levels(&text, "h2"), ["ERROR", "WARN", "INFO"]);
        let text = written(LevelFilter::Error, None, LogFormat::Text);
        assert_eq!(
            (levels(&text, "service_center"), levels(&text, "h2")),
            (vec!["ERROR".to_owned()], vec!["ERROR".to_owned()])
        );
    }

    #[test]
    fn rust_log_decides() {
        let text = written(LevelFilter::Error, Some("warn,h2=trace"), LogFormat::Text);
        assert_eq!(levels(&text, "service_center"), ["ERROR", "WARN"]);
        assert_eq!(levels(&text, "h2").len(), 5);
    }

    #[test]
    fn an_event_is_a_line() {
        let text = written(LevelFilter::Error, Some("service_center=error"), LogFormat::Text);
        assert_eq!(text.lines().count(), 1);
        let (time, rest) = text.split_once(' ').unwrap();
        assert_eq!(rest, "ERROR service_center::app: two\\nlines\\u{1b}[2J\\u{7}\\u{202e}\n");
        assert!(time.ends_with('Z') && time.len() == "2026-01-02T03:04:05.678Z".len(), "{time}");
    }

    #[test]
    fn json() {
        let text = written(LevelFilter::Error, Some("service_center=error"), LogFormat::Json);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert_eq!(
            (value["level"].as_str(), value["logger"].as_str()),
            (Some("ERROR"), Some("service_center::app"))
        );
        assert_eq!(
            (value["message"].as_str(), value["caller"].as_str()),
            (Some("two\\nlines\\u{1b}[2J\\u{7}\\u{202e}"), Some("app.rs:7"))
        );
        assert!(value.get("requestId").is_none() && value.get("traceId").is_none());
    }

    #[test]
    fn a_line_names_the_request_that_the_thread_works_for() {
        let id = RequestId::given(b"abc-1").unwrap();
        let _entered = RequestContext::new(id).enter();
        let text = written(LevelFilter::Error, Some("service_center=error"), LogFormat::Text);
        assert!(text.ends_with("\\u{202e} [request abc-1]\n"), "{text}");
        let text = written(LevelFilter::Error, Some("service_center=error"), LogFormat::Json);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["requestId"].as_str(), Some("abc-1"));
    }
}
