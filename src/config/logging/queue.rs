//! A bounded queue of log lines, and the thread that writes them to the output. A pipe that nobody reads, or a disk that hangs, stops
//! only this thread.
//!
//! If the queue is full, the newest line is dropped and counted. When there is room again, the log says how many lines were dropped.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::metrics::Counter;

/// Bytes that may wait. This is some thousands of lines, more than a start or a burst of warnings writes. A longer line is dropped.
const MAX_BYTES: usize = 1 << 20;
/// How long a flush waits. The process flushes before it ends, and an output that nobody reads must not keep it from ending.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);
/// How long the thread waits if the output is full and does not block.
const REST: Duration = Duration::from_millis(20);

/// Where the lines of a log go.
pub trait LogOutput: Write + Send + 'static {
    /// Opens the output again, because somebody may have moved the file.
    fn reopen(&mut self) -> io::Result<()>;
}

impl LogOutput for io::Stdout {
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The sending end of the queue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogQueue(Arc<QueuedLines>);

#[derive(Debug)]
struct QueuedLines {
    state: Mutex<LogQueueState>,
    changed: Condvar,
    /// Counts lines that were dropped.
    lost: &'static Counter,
}

#[derive(Debug, Default)]
struct LogQueueState {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines put into the queue since the start, and lines that were written or lost since then.
    accepted: u64,
    done: u64,
    dropped: u64,
    /// Open the output again when `done` has reached this number.
    reopen_at: Option<u64>,
}

impl LogQueue {
    /// Starts a thread of this name. The thread calls `report` with the number of lines that were dropped. `lost` counts them too.
    pub fn start(
        name: &'static str,
        output: impl LogOutput,
        lost: &'static Counter,
        report: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (state, changed) = (Mutex::default(), Condvar::default());
        let queue = Self(Arc::new(QueuedLines { state, changed, lost }));
        let writer = LogWriter { name, queue: queue.clone(), output, report };
        std::thread::Builder::new().name(name.to_owned()).spawn(move || writer.run())?;
        Ok(queue)
    }

    /// Opens the output again as soon as the lines that are waiting now are written.
    pub fn reopen(&self) {
        let mut state = self.0.state.lock();
        state.reopen_at = Some(state.accepted);
        drop(state);
        self.0.changed.notify_all();
    }

    /// Waits up to 1 s until the lines that are waiting now are written.
    pub fn flush(&self) {
        let mut state = self.0.state.lock();
        let until = state.accepted;
        // The result does not matter: the process ends in any case.
        let _ = self.0.changed.wait_while_for(&mut state, |state| state.done < until, FLUSH_LIMIT);
    }

    /// Puts a line, with its line end, into the queue.
    pub fn put(&self, line: &[u8]) {
        let mut state = self.0.state.lock();
        if state.bytes + line.len() > MAX_BYTES {
            state.dropped += 1;
            self.0.lost.add(1);
            return;
        }
        state.bytes += line.len();
        state.accepted += 1;
        state.lines.push_back(line.to_vec());
        drop(state);
        self.0.changed.notify_all();
    }
}

/// Each call of `write` is one line: the logger formats a line in a buffer and writes it at once.
impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    /// Does nothing. The logger calls it after each line, and must not wait.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The state of the thread.
struct LogWriter<O, R> {
    name: &'static str,
    queue: LogQueue,
    output: O,
    report: R,
}

impl<O: LogOutput, R: Fn(u64)> LogWriter<O, R> {
    /// Runs as long as the process.
    fn run(mut self) {
        loop {
            let Some(line) = self.next() else {
                if let Err(error) = self.output.reopen() {
                    log::error!(
                        "the file of the {} cannot be opened again, so the {0} goes on in the old file: {error}",
                        self.name
                    );
                }
                continue;
            };
            let written = write_whole(&mut self.output, &line);
            let mut state = self.queue.0.state.lock();
            state.bytes -= line.len();
            state.done += 1;
            if written.is_err() {
                state.dropped += 1;
                self.queue.0.lost.add(1);
            }
            // Report only if there is room for the line, and if the output works.
            let has_room = state.bytes < MAX_BYTES / 2 && written.is_ok();
            let dropped = if has_room { std::mem::take(&mut state.dropped) } else { 0 };
            drop(state);
            self.queue.0.changed.notify_all();
            if dropped > 0 {
                (self.report)(dropped);
            }
        }
    }

    /// Waits for the next line. `None` if the output is to be opened again.
    fn next(&self) -> Option<Vec<u8>> {
        let mut state = self.queue.0.state.lock();
        loop {
            if state.reopen_at.is_some_and(|at| at <= state.done) {
                state.reopen_at = None;
                return None;
            }
            if let Some(line) = state.lines.pop_front() {
                return Some(line);
            }
            self.queue.0.changed.wait(&mut state);
        }
    }
}

/// Writes all bytes. Waits and tries again if the output does not block, because whoever started the process may have set its
/// standard output so.
fn write_whole(output: &mut impl Write, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match output.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(REST),
            Err(error) => return Err(error),
        }
    }
    loop {
        match output.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(REST),
            flushed => return flushed,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

    use super::*;
    use crate::metrics;

    /// An output that sends each write to the test, and waits until the test takes it.
    struct SlowOutput(SyncSender<String>);

    impl Write for SlowOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.0.send(text).map_err(|_| ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl LogOutput for SlowOutput {
        fn reopen(&mut self) -> io::Result<()> {
            self.write(b"reopened").map(drop)
        }
    }

    /// As a flush, without its limit: on a busy machine the thread may be slower.
    fn wait_until_done(queue: &LogQueue, lines: u64) {
        queue.0.changed.wait_while(&mut queue.0.state.lock(), |state| state.done < lines);
    }

    fn queue() -> (LogQueue, Receiver<String>, Receiver<u64>) {
        let ((out, written), (report, reported)): (_, (Sender<u64>, _)) = (sync_channel(0), channel());
        let queue = LogQueue::start("log", SlowOutput(out), &metrics::LOG_LINES_DROPPED, move |dropped| {
            report.send(dropped).unwrap_or(());
        })
        .unwrap();
        (queue, written, reported)
    }

    #[test]
    fn lines_are_written_in_their_order_and_a_flush_waits_for_them() {
        let (queue, written, _) = queue();
        for line in ["a\n", "b\n", "c\n"] {
            queue.put(line.as_bytes());
        }
        let reader = std::thread::spawn(move || {
            (written.recv().unwrap(), written.recv().unwrap(), written.recv().unwrap())
        });
        queue.flush();
        assert_eq!(reader.join().unwrap(), ("a\n".to_owned(), "b\n".to_owned(), "c\n".to_owned()));
        wait_until_done(&queue, 3);
        assert_eq!(queue.0.state.lock().done, 3);
    }

    #[test]
    fn a_full_queue_drops_the_newest_line_and_reports_how_many() {
        let (queue, written, reported) = queue();
        let line = vec![b'x'; MAX_BYTES / 4];
        for _ in 0..7 {
            queue.put(&line);
        }
        queue.put(&vec![b'y'; MAX_BYTES + 1]);
        // Nothing is read from the output. The flush returns all the same.
        queue.flush();
        for _ in 0..4 {
            assert_eq!(written.recv().unwrap().len(), line.len());
        }
        assert_eq!(reported.recv().unwrap(), 4);
        queue.put(b"next\n");
        assert_eq!(written.recv().unwrap(), "next\n");
        assert!(queue.0.state.lock().dropped == 0 && reported.try_recv().is_err());
    }

    #[test]
    fn an_output_is_opened_again_after_the_waiting_lines() {
        let (queue, written, _) = queue();
        queue.put(b"a\n");
        queue.put(b"b\n");
        queue.reopen();
        queue.put(b"c\n");
        let all: Vec<String> = written.iter().take(4).collect();
        assert_eq!(all, ["a\n", "b\n", "reopened", "c\n"]);
    }

    #[test]
    fn failures_of_the_output_are_not_reported_to_it() {
        let (queue, written, reported) = queue();
        drop(written);
        for _ in 0..3 {
            queue.put(b"a\n");
        }
        wait_until_done(&queue, 3);
        let state = queue.0.state.lock();
        assert_eq!((state.done, state.dropped), (3, 3));
        assert!(reported.try_recv().is_err());
    }
}
