//! The terminal in its full-screen state, and the way back out of it.
//!
//! Invariant: it is left exactly once, by whichever comes first: the end of its owner, a panic anywhere in the process,
//! or somebody who says so. A panic's own message is written after that, where it can be read.

use std::io::{self, Write};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use codes::{Error, Result};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use crate::io::Sink;

/// The other screen, no cursor, no wrapping.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
/// The first screen with its cursor and no colour.
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";

/// Gathers a frame and hands it on in one piece.
pub struct Frames {
    sink: Sink,
    gathered: Vec<u8>,
}

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let text = String::from_utf8_lossy(&self.gathered);
        let written = self.sink.write(&text);
        self.gathered.clear();
        written
    }
}

type Hook = Box<dyn Fn(&panic::PanicHookInfo<'_>) + Send + Sync>;

struct WayOut {
    sink: Sink,
    left: AtomicBool,
    raw: Raw,
}

/// Whether the terminal's own line editing was switched off, and has to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw {
    On,
    /// For a test, which has no terminal.
    Untouched,
}

impl WayOut {
    fn take(&self) {
        if self.left.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.raw == Raw::On {
            let _ = crossterm::terminal::disable_raw_mode();
        }
        let _ = self.sink.write(LEAVE);
    }
}

/// A terminal that is drawn on as a whole.
pub struct FullScreen {
    pub terminal: Terminal<CrosstermBackend<Frames>>,
    way_out: Arc<WayOut>,
}

impl FullScreen {
    /// Takes the terminal behind `sink`.
    pub fn enter(sink: Sink, raw: Raw) -> Result<Self> {
        let broken = |error: &io::Error| Error::internal("cannot take the terminal").with_source(error);
        if raw == Raw::On {
            crossterm::terminal::enable_raw_mode().map_err(|error| broken(&error))?;
        }
        let way_out = Arc::new(WayOut { sink: sink.clone(), left: AtomicBool::new(false), raw });
        let before: Hook = panic::take_hook();
        let on_panic = way_out.clone();
        panic::set_hook(Box::new(move |info| {
            on_panic.take();
            before(info);
        }));
        let frames = Frames { sink: sink.clone(), gathered: Vec::new() };
        let made = sink.write(ENTER).and_then(|()| Terminal::new(CrosstermBackend::new(frames)));
        match made {
            Ok(terminal) => Ok(Self { terminal, way_out }),
            Err(error) => {
                way_out.take();
                Err(broken(&error))
            }
        }
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        self.way_out.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Captured;

    #[test]
    fn a_panic_leaves_the_screen_before_its_message_and_only_once() {
        let captured = Captured::default();
        let sink = Sink::new(captured.clone());
        let message = sink.clone();
        let own = panic::take_hook();
        panic::set_hook(Box::new(move |_| drop(message.write("the message\n"))));
        let ended = panic::catch_unwind(|| {
            let way_out =
                Arc::new(WayOut { sink: sink.clone(), left: AtomicBool::new(false), raw: Raw::Untouched });
            let on_panic = way_out.clone();
            let before: Hook = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                on_panic.take();
                before(info);
            }));
            let _owner = Owner(way_out);
            panic!("something broke while the screen was taken");
        });
        panic::set_hook(own);
        assert!(ended.is_err());
        assert_eq!(captured.text(), format!("{LEAVE}the message\n"));
    }

    struct Owner(Arc<WayOut>);

    impl Drop for Owner {
        fn drop(&mut self) {
            self.0.take();
        }
    }
}
