//! The API's listener, held by the supervisor and lent to every process at the entrance.
//!
//! All of them accept from one queue. A process that drains or dies leaves what waits in it to the others or to its
//! successor; with one listener each (SO_REUSEPORT) the connections in the queue of the one that closes would be lost.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

pub struct Entrance {
    pub address: SocketAddr,
    listener: Mutex<Option<TcpListener>>,
}

impl Entrance {
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        Ok(Self { address: listener.local_addr()?, listener: Mutex::new(Some(listener)) })
    }

    pub fn lend<T>(&self, with: impl FnOnce(&TcpListener) -> io::Result<T>) -> io::Result<T> {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        with(
            listener
                .as_ref()
                .ok_or_else(|| io::Error::new(ErrorKind::NotConnected, "the platform is stopping"))?,
        )
    }

    /// From here on the port is open for as long as one of the processes keeps it open.
    pub fn close(&self) {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
