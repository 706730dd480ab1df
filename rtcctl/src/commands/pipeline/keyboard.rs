//! Answers of the operator while something else goes on.
//!
//! Invariants: one thread reads all lines, from the first question on; what was typed before a question answers nothing.

use std::io::{BufRead, BufReader};
use std::sync::PoisonError;

use tokio::sync::mpsc::{self, error::TryRecvError};

use crate::context::{Consent, Context};

#[derive(Default)]
pub struct Keyboard {
    lines: Option<mpsc::UnboundedReceiver<String>>,
    is_closed: bool,
}

impl Keyboard {
    /// Whether somebody is there who may be asked.
    pub fn is_there(&self, context: &Context) -> bool {
        context.consent == Consent::Ask && !self.is_closed
    }

    /// Before a question: forgets what was typed while it was not there yet.
    pub fn forget(&mut self) {
        crate::io::forget_typed();
        let Some(lines) = &mut self.lines else { return };
        loop {
            match lines.try_recv() {
                Ok(_) => {}
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.is_closed = true;
                    return;
                }
            }
        }
    }

    /// The next line; `None` when nobody is there any more. Waiting may be given up and taken up again.
    pub async fn line(&mut self, context: &Context) -> Option<String> {
        let lines = self.lines.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            let stdin = context.stdin.clone();
            // It may wait for a key when the command is over, and is left behind then.
            std::thread::spawn(move || {
                let mut stdin = stdin.lock().unwrap_or_else(PoisonError::into_inner);
                for line in BufReader::new(&mut **stdin).lines() {
                    let Ok(line) = line else { return };
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
            receiver
        });
        let line = lines.recv().await;
        self.is_closed = line.is_none();
        line.map(|line| line.trim().to_owned())
    }
}
