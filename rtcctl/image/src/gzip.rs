//! A gzip stream that is the same on every machine and uses all of its processors.
//!
//! The input is cut into pieces of a fixed length, each becomes a member of its own, and the members stand in the order
//! of the pieces: RFC 1952 makes of them one stream. How many threads work on them changes nothing.
//!
//! libdeflate chooses its matches alike on every processor, which back ends of flate2 do not, and is three times as fast
//! as they are.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use libdeflater::{CompressionLvl, Compressor};
use oci::Digest;

pub const LEVEL: i32 = 6;
const PIECE_BYTES: usize = 1 << 20;
/// More threads would hold more memory than they save time.
const THREADS_MAX: usize = 4;

struct Job {
    piece: Vec<u8>,
    done: SyncSender<Vec<u8>>,
}

pub struct Gzip<W: Write> {
    to: W,
    piece: Vec<u8>,
    /// Whether nothing was sent yet: nothing at all is one empty member.
    is_empty: bool,
    jobs: SyncSender<Job>,
    running: VecDeque<Receiver<Vec<u8>>>,
    running_max: usize,
}

impl<W: Write> Gzip<W> {
    pub fn new(to: W) -> io::Result<Gzip<W>> {
        let threads = thread::available_parallelism().map_or(1, |count| count.get().min(THREADS_MAX));
        Gzip::with_threads(to, threads)
    }

    fn with_threads(to: W, threads: usize) -> io::Result<Gzip<W>> {
        let (jobs, queue) = sync_channel::<Job>(threads);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name("gzip".to_owned()).spawn(move || work(&queue))?;
        }
        Ok(Gzip {
            to,
            piece: Vec::with_capacity(PIECE_BYTES),
            is_empty: true,
            jobs,
            running: VecDeque::new(),
            running_max: threads + 1,
        })
    }

    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        self.is_empty = false;
        while self.running.len() >= self.running_max {
            self.receive()?;
        }
        let (done, ready) = sync_channel(1);
        self.jobs.send(Job { piece, done }).map_err(|_| stopped())?;
        self.running.push_back(ready);
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        match self.running.pop_front() {
            Some(ready) => self.to.write_all(&ready.recv().map_err(|_| stopped())?),
            None => Ok(()),
        }
    }

    /// Writes what is left, and gives back what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        if self.is_empty || !self.piece.is_empty() {
            self.send()?;
        }
        while !self.running.is_empty() {
            self.receive()?;
        }
        Ok(self.to)
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() == PIECE_BYTES {
            self.send()?;
        }
        let taken = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Nothing: where pieces end must not depend on who flushes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stopped() -> io::Error {
    io::Error::other("a thread that compresses has stopped")
}

/// All that decides the bytes of a stream beside its input. libdeflate does not tell its version, so what it makes of a
/// sample stands for it.
pub(crate) fn identity(sample: &[u8]) -> String {
    let made = Digest::of(&member(&mut compressor(), sample));
    format!("gzip by libdeflate, level {LEVEL}, pieces of {PIECE_BYTES}, {made}")
}

fn compressor() -> Compressor {
    Compressor::new(CompressionLvl::new(LEVEL).expect("libdeflate has this level"))
}

/// Until nobody can send any more.
fn work(queue: &Mutex<Receiver<Job>>) {
    let mut compressor = compressor();
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(job) = job else { return };
        let member = member(&mut compressor, &job.piece);
        // Whoever asked may have given up.
        let _ = job.done.send(member);
    }
}

/// Its header has no name and no time; the system is "unknown".
fn member(compressor: &mut Compressor, piece: &[u8]) -> Vec<u8> {
    let mut member = vec![0; compressor.gzip_compress_bound(piece.len())];
    let length = compressor.gzip_compress(piece, &mut member).expect("there is room for the worst case");
    member.truncate(length);
    member
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn packed(bytes: &[u8], threads: usize, step: usize) -> Vec<u8> {
        let mut gzip = Gzip::with_threads(Vec::new(), threads).unwrap();
        for part in bytes.chunks(step) {
            gzip.write_all(part).unwrap();
        }
        gzip.finish().unwrap()
    }

    /// Neither all alike nor all different, as programs are.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let next = move |index: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if index % 7 < 4 { (index / 900) as u8 } else { (state >> 24) as u8 }
        };
        (0..length).map(next).collect()
    }

    #[test]
    fn any_reader_gets_back_what_was_written() {
        for length in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
            let bytes = sample(length);
            let packed = packed(&bytes, 2, 70_001);
            let mut unpacked = Vec::new();
            let mut decoder = flate2::read::MultiGzDecoder::new(packed.as_slice());
            decoder.read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == bytes, "{length} bytes");
        }
    }

    #[test]
    fn no_member_says_when_or_where_it_was_made() {
        let packed = packed(b"a", 1, 1);
        assert_eq!((&packed[..4], &packed[4..8], packed[9]), (&[0x1f, 0x8b, 8, 0][..], &[0; 4][..], 255));
    }

    #[test]
    fn threads_and_the_size_of_writes_change_nothing() {
        let bytes = sample(5 * PIECE_BYTES + 17);
        let one = packed(&bytes, 1, bytes.len());
        assert!(one == packed(&bytes, 4, 4_096));
        assert!(one == packed(&bytes, 3, PIECE_BYTES));
        assert!(one.len() < bytes.len() * 3 / 4, "{} of {}", one.len(), bytes.len());
    }

    #[test]
    fn a_writer_that_fails_ends_it() {
        struct Small(usize);
        impl Write for Small {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut gzip = Gzip::new(Small(100_000)).unwrap();
        let written = gzip.write_all(&sample(20 * PIECE_BYTES)).and_then(|()| gzip.finish().map(drop));
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
