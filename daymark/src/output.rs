//! Standard output and error that may be full, closed or unread: what can't be written is counted,
//! and nobody who has something to say waits for whoever reads it.

use std::{
    io::{self, Write},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    time::{Duration, Instant},
};

use prometheus::IntCounter;
use tracing_subscriber::fmt::MakeWriter;

/// Log lines that may wait to be written; the next is lost and counted.
const WAITING: usize = 1024;
/// How long the end of the process waits for lines that are still to be written.
const FAREWELL: Duration = Duration::from_secs(1);

/// Writes to standard output. A full disk or a reader that went away is no reason to stop.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes to standard error, on the same terms.
pub(crate) fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Where log lines go: to a thread that writes them.
#[derive(Clone)]
pub(crate) struct Lines {
    send: SyncSender<Message>,
    lost: IntCounter,
}

enum Message {
    Line(Vec<u8>),
    /// Answered when all before it is written.
    Flush(SyncSender<()>),
}

impl Lines {
    /// Lines to `out`; `lost` counts those that did not get there.
    pub(crate) fn to(out: impl Write + Send + 'static, lost: IntCounter) -> io::Result<Self> {
        let (send, receive) = sync_channel(WAITING);
        let counter = lost.clone();
        let writer = std::thread::Builder::new().name("log".to_owned());
        writer.spawn(move || write_all(out, &receive, &counter))?;
        Ok(Lines { send, lost })
    }

    /// Waits until what was logged so far is written, but not for ever.
    pub(crate) fn flush(&self) {
        let start = Instant::now();
        let (done, written) = sync_channel(1);
        let mut message = Message::Flush(done);
        while let Err(error) = self.send.try_send(message) {
            if start.elapsed() > FAREWELL {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
            let (TrySendError::Full(back) | TrySendError::Disconnected(back)) = error;
            message = back;
        }
        // Either way there is no more to be done.
        let _ = written.recv_timeout(FAREWELL);
    }
}

fn write_all(mut out: impl Write, lines: &Receiver<Message>, lost: &IntCounter) {
    while let Ok(message) = lines.recv() {
        match message {
            Message::Line(line) => {
                if out.write_all(&line).and_then(|()| out.flush()).is_err() {
                    lost.inc();
                }
            }
            // Nobody waits any more if it can't be sent.
            Message::Flush(done) => drop(done.try_send(())),
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter { lines: self }
    }
}

/// Takes one line, which tracing writes at once.
pub(crate) struct LineWriter<'a> {
    lines: &'a Lines,
}

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.send.try_send(Message::Line(line.to_vec())).is_err() {
            self.lines.lost.inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;

    fn counter() -> IntCounter {
        IntCounter::new("lost", "for a test").unwrap()
    }

    fn log(lines: &Lines, text: &str) {
        lines.make_writer().write_all(text.as_bytes()).unwrap();
    }

    /// Longer than any machine takes.
    fn wait_until(done: impl Fn() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(60), "it never came");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Takes nothing until it is opened.
    #[derive(Clone, Default)]
    struct Gate(Arc<GateState>);

    #[derive(Default)]
    struct GateState {
        open: Mutex<bool>,
        opened: Condvar,
        written: AtomicU64,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let open = self.0.open.lock().unwrap();
            drop(self.0.opened.wait_while(open, |open| !*open).unwrap());
            self.0.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_does_not_wait_for_who_reads() {
        let (gate, lost) = (Gate::default(), counter());
        let lines = Lines::to(gate.clone(), lost.clone()).unwrap();
        for _ in 0..2 * WAITING {
            log(&lines, "x\n");
        }
        // One may be in the writer's hands.
        let waiting = 2 * WAITING as u64 - lost.get();
        assert!([WAITING, WAITING + 1].contains(&(waiting as usize)), "{waiting} wait");
        *gate.0.open.lock().unwrap() = true;
        gate.0.opened.notify_all();
        wait_until(|| gate.0.written.load(Ordering::Relaxed) == 2 * waiting);
        lines.flush();
    }

    #[test]
    fn what_can_not_be_written_is_counted() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lost = counter();
        let lines = Lines::to(Full, lost.clone()).unwrap();
        (0..3).for_each(|_| log(&lines, "x\n"));
        wait_until(|| lost.get() == 3);
    }
}
