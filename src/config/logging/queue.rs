//! A bounded queue between the threads that log and the output, and a thread that writes. A pipe that nobody reads, or a disk
//! that hangs, stops only that thread.
//!
//! When the queue is full the newest line is dropped and counted; the number is reported once there is room again.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::metrics;

/// Bytes that may wait: some thousands of lines, which is more than a start or a burst of warnings writes. A line that is
/// longer is dropped.
const MAX_BYTES: usize = 1 << 20;
/// How long a flush waits. The process flushes before it ends, and an output that nobody reads must not delay the end.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);
/// How long the thread rests when an output is full and does not block.
const REST: Duration = Duration::from_millis(20);

/// Where the lines go.
pub trait Output: Write + Send + 'static {
    /// Opens it again, since somebody may have moved the file away.
    fn reopen(&mut self) -> io::Result<()>;
}

impl Output for io::Stdout {
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end of the queue into which lines are put. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines taken in since the start, and lines that are written or lost.
    accepted: u64,
    done: u64,
    dropped: u64,
    /// The output is opened again when so many lines are done.
    reopen_at: Option<u64>,
}

impl Queue {
    /// Starts the thread. `report` is told, on that thread, how many lines were dropped.
    pub fn start(output: impl Output, report: impl Fn(u64) + Send + 'static) -> io::Result<Self> {
        let queue = Self(Arc::default());
        let writer = Writer { queue: queue.clone(), output, report };
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.run())?;
        Ok(queue)
    }

    /// Opens the output again after the lines that wait now are written.
    pub fn reopen(&self) {
        let mut state = self.lock();
        state.reopen_at = Some(state.accepted);
        drop(state);
        self.0.changed.notify_all();
    }

    /// Waits until what was put in before is written, 1 s at most.
    pub fn flush(&self) {
        let state = self.lock();
        let until = state.accepted;
        // The process ends now, whether or not the time was enough.
        drop(self.0.changed.wait_timeout_while(state, FLUSH_LIMIT, |state| state.done < until));
    }

    fn put(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.bytes + line.len() > MAX_BYTES {
            state.dropped += 1;
            metrics::LOG_LINES_DROPPED.add(1);
            return;
        }
        state.bytes += line.len();
        state.accepted += 1;
        state.lines.push_back(line.to_vec());
        drop(state);
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call is a line: the logger formats each into a buffer and writes it whole.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    /// Nothing: the logger calls it behind each line.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the thread has.
struct Writer<O, R> {
    queue: Queue,
    output: O,
    report: R,
}

impl<O: Output, R: Fn(u64)> Writer<O, R> {
    /// Runs as long as the process.
    fn run(mut self) {
        loop {
            let Some(line) = self.next() else {
                if let Err(error) = self.output.reopen() {
                    log::error!("the log cannot be opened again, the former file is written to: {error}");
                }
                continue;
            };
            let written = write_whole(&mut self.output, &line);
            let mut state = self.queue.lock();
            state.bytes -= line.len();
            state.done += 1;
            if written.is_err() {
                state.dropped += 1;
                metrics::LOG_LINES_DROPPED.add(1);
            }
            // A report needs room, and an output that takes it.
            let has_room = state.bytes < MAX_BYTES / 2 && written.is_ok();
            let dropped = if has_room { std::mem::take(&mut state.dropped) } else { 0 };
            drop(state);
            self.queue.0.changed.notify_all();
            if dropped > 0 {
                (self.report)(dropped);
            }
        }
    }

    /// The next line; `None`: the output is to be opened again.
    fn next(&self) -> Option<Vec<u8>> {
        let mut state = self.queue.lock();
        loop {
            if state.reopen_at.is_some_and(|at| at <= state.done) {
                state.reopen_at = None;
                return None;
            }
            if let Some(line) = state.lines.pop_front() {
                return Some(line);
            }
            state = self.queue.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Writes all of it. Whoever started the process may have made its standard output one that does not block.
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

    /// Hands over each write, and waits until somebody takes it.
    struct Slow(SyncSender<String>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.0.send(text).map_err(|_| ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Output for Slow {
        fn reopen(&mut self) -> io::Result<()> {
            self.write(b"reopened").map(drop)
        }
    }

    fn queue() -> (Queue, Receiver<String>, Receiver<u64>) {
        let ((out, written), (report, reported)): (_, (Sender<u64>, _)) = (sync_channel(0), channel());
        let queue = Queue::start(Slow(out), move |dropped| report.send(dropped).unwrap_or(())).unwrap();
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
        assert_eq!(queue.lock().done, 3);
    }

    #[test]
    fn a_full_queue_drops_the_newest_and_says_how_many() {
        let (queue, written, reported) = queue();
        let line = vec![b'x'; MAX_BYTES / 4];
        for _ in 0..7 {
            queue.put(&line);
        }
        queue.put(&vec![b'y'; MAX_BYTES + 1]);
        // Nobody reads: this ends all the same.
        queue.flush();
        for _ in 0..4 {
            assert_eq!(written.recv().unwrap().len(), line.len());
        }
        assert_eq!(reported.recv().unwrap(), 4);
        queue.put(b"next\n");
        assert_eq!(written.recv().unwrap(), "next\n");
        assert!(queue.lock().dropped == 0 && reported.try_recv().is_err());
    }

    #[test]
    fn an_output_is_opened_again_behind_what_waits() {
        let (queue, written, _) = queue();
        queue.put(b"a\n");
        queue.put(b"b\n");
        queue.reopen();
        queue.put(b"c\n");
        let all: Vec<String> = written.iter().take(4).collect();
        assert_eq!(all, ["a\n", "b\n", "reopened", "c\n"]);
    }

    #[test]
    fn an_output_that_fails_is_not_told_of_its_failures() {
        let (queue, written, reported) = queue();
        drop(written);
        for _ in 0..3 {
            queue.put(b"a\n");
        }
        queue.flush();
        let state = queue.lock();
        assert_eq!((state.done, state.dropped), (3, 3));
        assert!(reported.try_recv().is_err());
    }
}
