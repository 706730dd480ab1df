//! Where the tool reads from and writes to: the process's own streams, or memory in a test.
//!
//! Invariants: nothing else touches stdout or stderr (except the bars, which know that stderr is a terminal); a closed
//! pipe is remembered and never an error; the process's environment is read here once.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One output stream. Clones write to the same place.
#[derive(Clone)]
pub struct Sink {
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    closed: Arc<AtomicBool>,
}

impl Sink {
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        Self { writer: Arc::new(Mutex::new(Box::new(writer))), closed: Arc::default() }
    }

    /// Writes and flushes. A reader that has gone away is not an error; see [`Sink::is_closed`].
    pub fn write(&self, text: &str) -> io::Result<()> {
        if self.is_closed() {
            return Ok(());
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        match writer.write_all(text.as_bytes()).and_then(|()| writer.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed.store(true, Ordering::Relaxed);
                Ok(())
            }
            result => result,
        }
    }

    /// Whether the reader has gone away; a command that streams stops then.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// Everything that comes from outside the program.
pub struct Io {
    pub stdin: Box<dyn Read + Send>,
    pub stdout: Sink,
    pub stderr: Sink,
    pub stdin_is_terminal: bool,
    pub stdout_is_terminal: bool,
    pub stderr_is_terminal: bool,
    /// Columns of the terminal behind stdout, if there is one.
    pub width: Option<usize>,
    pub variables: BTreeMap<String, String>,
    pub current_dir: PathBuf,
    pub executable: Option<PathBuf>,
}

impl Io {
    /// The process's own streams and environment.
    pub fn system() -> Self {
        let width = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        Self {
            stdin: Box::new(io::stdin()),
            stdout: Sink::new(io::stdout()),
            stderr: Sink::new(io::stderr()),
            stdin_is_terminal: io::stdin().is_terminal(),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            width: width.filter(|columns| *columns > 0),
            variables: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            current_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            executable: std::env::current_exe().ok(),
        }
    }

    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether the terminal says of itself that it can do nothing.
    pub fn is_dumb(&self) -> bool {
        self.variable("TERM") == Some("dumb")
    }
}

/// Forgets what was typed into the terminal behind stdin and was not read yet.
pub fn forget_typed() {
    let stdin = io::stdin();
    // Whoever does that from the background is stopped by the terminal.
    let is_in_front =
        rustix::termios::tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp());
    if is_in_front {
        let _ = rustix::termios::tcflush(&stdin, rustix::termios::QueueSelector::IFlush);
    }
}

/// What a test reads back.
#[derive(Clone, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_remembered_and_is_no_error() {
        let sink = Sink::new(Gone);
        assert!(!sink.is_closed());
        sink.write("hello").unwrap();
        assert!(sink.is_closed());
        sink.write("again").unwrap();
    }
}
