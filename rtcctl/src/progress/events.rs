//! The NDJSON stream of `--events FILE|-`.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::io::Sink;

/// Where events go: one JSON object a line, flushed each, so that a reader can follow.
#[derive(Clone)]
pub struct EventSink {
    sink: Sink,
    is_stdout: bool,
    failed: Arc<Mutex<Option<io::Error>>>,
}

impl EventSink {
    pub fn stdout(sink: Sink) -> Self {
        Self { sink, is_stdout: true, failed: Arc::default() }
    }

    /// Replaces the file: the events of one run are one file.
    pub fn file(path: &Path) -> io::Result<Self> {
        Ok(Self { sink: Sink::new(File::create(path)?), is_stdout: false, failed: Arc::default() })
    }

    pub(super) fn is_stdout(&self) -> bool {
        self.is_stdout
    }

    pub(super) fn write(&self, event: &Value) {
        if let Err(error) = self.sink.write(&format!("{event}\n")) {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    pub(super) fn take_error(&self) -> Option<io::Error> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
