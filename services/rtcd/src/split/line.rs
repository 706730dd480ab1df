//! The line between the supervisor and a process of its own: a socket in the place of the process's standard input.
//!
//! Invariants: the line ends when the supervisor does, however it ended; over it goes one greeting, with the listener of
//! the API where that is shared, and one byte back once the process serves and its consumer groups have settled.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as Stream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const GREETING: u8 = b'h';
const READY: u8 = b'r';

/// The supervisor's end.
pub struct Line(UnixStream);

impl Line {
    /// A line on which the greeting waits, and the end that becomes the standard input of the process.
    pub fn open(shared: Option<&TcpListener>) -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = Stream::pair()?;
        let fds: Vec<_> = shared.iter().map(|listener| listener.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::Error::other("a listener does not fit into its message"));
        }
        sendmsg(&ours, &[IoSlice::new(&[GREETING])], &mut control, SendFlags::empty())?;
        ours.set_nonblocking(true)?;
        Ok((Self(UnixStream::from_std(ours)?), theirs.into()))
    }

    /// Waits until the process says that it serves. An error: it ended, or never will.
    pub async fn ready(&mut self) -> io::Result<()> {
        match self.0.read_u8().await? {
            READY => Ok(()),
            other => {
                Err(io::Error::new(ErrorKind::InvalidData, format!("{other:#x} is no word of this line")))
            }
        }
    }
}

/// A process's own end.
pub struct Supervisor(Stream);

impl Supervisor {
    /// Takes the greeting from the standard input, which has been waiting there since before the process was started.
    pub fn at_stdin() -> io::Result<(Self, Option<TcpListener>)> {
        Self::on(Stream::from(io::stdin().as_fd().try_clone_to_owned()?))
    }

    pub(super) fn on(stream: Stream) -> io::Result<(Self, Option<TcpListener>)> {
        let mut word = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        recvmsg(&stream, &mut [IoSliceMut::new(&mut word)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if word != [GREETING] {
            return Err(io::Error::new(ErrorKind::InvalidData, "nobody sent a greeting"));
        }
        let listener = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        stream.set_nonblocking(true)?;
        Ok((Self(stream), listener.map(TcpListener::from)))
    }

    /// From here on inside the runtime.
    pub fn attend(self) -> io::Result<Attended> {
        UnixStream::from_std(self.0).map(Attended)
    }
}

/// A process's own end, while it runs.
pub struct Attended(UnixStream);

impl Attended {
    /// Says that this process serves.
    pub async fn say_ready(&mut self) -> io::Result<()> {
        self.0.write_u8(READY).await
    }

    /// Waits until the supervisor is gone.
    pub async fn gone(&mut self) {
        let mut word = [0; 16];
        // Nothing is said after the greeting; whatever comes is not for us.
        while matches!(self.0.read(&mut word).await, Ok(1..)) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_goes_over_the_line_and_readiness_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (mut line, theirs) = Line::open(Some(&listener)).unwrap();
        // What the supervisor holds may go: the socket is the same one.
        drop(listener);
        let (supervisor, taken) = Supervisor::on(Stream::from(theirs)).unwrap();
        assert_eq!(taken.unwrap().local_addr().unwrap(), address);
        let mut attended = supervisor.attend().unwrap();
        attended.say_ready().await.unwrap();
        line.ready().await.unwrap();
        drop(line);
        attended.gone().await;
    }

    #[tokio::test]
    async fn a_process_that_ends_without_a_word_is_not_ready() {
        let (mut line, theirs) = Line::open(None).unwrap();
        let (supervisor, taken) = Supervisor::on(Stream::from(theirs)).unwrap();
        assert!(taken.is_none());
        drop(supervisor);
        assert!(line.ready().await.is_err());
    }

    #[test]
    fn whoever_has_no_supervisor_is_told() {
        let (ours, theirs) = Stream::pair().unwrap();
        drop(ours);
        assert!(Supervisor::on(theirs).is_err());
    }
}
