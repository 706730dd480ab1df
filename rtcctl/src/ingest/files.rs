//! The files of a replay, read one after the other on a thread of their own.
//!
//! Invariants: a file that cannot be opened is a refusal and the next one goes on; what was read and not yet taken is
//! bounded, so that a slow platform slows the reading.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::PathBuf;

use sales::{Fault, Invoices, Item, Options, Refused, parse};
use tokio::sync::mpsc;

/// An item and the number of the file that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub file: usize,
    pub item: Item,
}

const READ_SIZE: usize = 256 * 1024;
/// Items in one message: enough that the channel costs nothing, few enough that they weigh nothing.
const ITEMS: usize = 256;
const MESSAGES: usize = 8;

/// Starts reading. The receiver ends after the last file; dropping it ends the reading.
pub fn read(files: Vec<PathBuf>, options: Options) -> mpsc::Receiver<Vec<Read>> {
    let (sender, receiver) = mpsc::channel(MESSAGES);
    tokio::task::spawn_blocking(move || {
        let mut invoices = Invoices::default();
        let mut seen = HashSet::new();
        for (number, path) in files.iter().enumerate() {
            let mut items = Vec::with_capacity(ITEMS);
            let mut pass = |item: Item| {
                items.push(Read { file: number, item });
                if items.len() < ITEMS {
                    return ControlFlow::Continue(());
                }
                match sender.blocking_send(std::mem::replace(&mut items, Vec::with_capacity(ITEMS))) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            };
            let is_new = path.canonicalize().map_or(true, |path| seen.insert(path));
            let opened = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
                true => Err(std::io::Error::other("it is a folder")),
                false => Ok(file),
            });
            let refusal = match opened {
                _ if !is_new => Some(Refused::new(0, Fault::FileRepeated, "the file was given before")),
                Err(error) => Some(Refused::new(0, Fault::FileUnreadable, error.to_string())),
                Ok(file) => {
                    parse(BufReader::with_capacity(READ_SIZE, file), &options, &mut invoices, &mut pass);
                    None
                }
            };
            // Whether anybody still listens is seen below.
            let _ = refusal.map(|refused| pass(Item::Refused(refused)));
            if sender.is_closed() || (!items.is_empty() && sender.blocking_send(items).is_err()) {
                return;
            }
        }
    });
    receiver
}
