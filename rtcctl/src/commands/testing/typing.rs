//! An operator who types when something is read on the screen, and one who types before anything is asked.
//!
//! Invariant: what is typed does not depend on how fast anything is: a screen that is waited at goes on when the lines have
//! been taken in.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::io::Captured;

/// What is typed when `prompt` is read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key {
    /// Whoever waits for it reads it.
    Answer { prompt: &'static str, typed: &'static str },
    /// Somebody reads already, and the screen stands still until every line has been taken in.
    Ahead { prompt: &'static str, typed: &'static str },
}

pub(super) struct Keyboard {
    typed: Receiver<String>,
    read: VecDeque<u8>,
    took_in: Sender<()>,
}

pub(super) struct Screen {
    captured: Captured,
    /// Up to where it has been read.
    seen: usize,
    keys: VecDeque<Key>,
    /// Gone when nothing more will be typed.
    typed: Option<Sender<String>>,
    taken_in: Receiver<()>,
    sent: usize,
    came_back: usize,
}

pub(super) fn desk(keys: &[Key], captured: Captured) -> (Keyboard, Screen) {
    let (typed, waiting) = channel();
    let (took_in, taken_in) = channel();
    let typed = Some(typed).filter(|_| !keys.is_empty());
    let keys = keys.iter().copied().collect();
    let screen = Screen { captured, seen: 0, keys, typed, taken_in, sent: 0, came_back: 0 };
    (Keyboard { typed: waiting, read: VecDeque::new(), took_in }, screen)
}

impl Read for Keyboard {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.read.is_empty() {
            // Whoever comes back has done with what there was.
            let _ = self.took_in.send(());
            self.read.extend(self.typed.recv().unwrap_or_default().into_bytes());
        }
        self.read.read(into)
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.captured.write_all(bytes)?;
        let text = self.captured.text();
        if let Some(&(Key::Answer { prompt, typed } | Key::Ahead { prompt, typed })) = self.keys.front()
            && let Some(at) = text[self.seen..].find(prompt)
        {
            self.seen += at + prompt.len();
            let key = self.keys.pop_front();
            let sent = self.typed.as_ref().is_some_and(|to| to.send(typed.to_owned()).is_ok());
            self.sent += usize::from(sent);
            // It comes once for each text, and once more when it has taken in the last.
            while matches!(key, Some(Key::Ahead { .. })) && self.came_back <= self.sent {
                self.came_back += 1;
                if self.taken_in.recv().is_err() {
                    break;
                }
            }
            if self.keys.is_empty() {
                self.typed = None;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
