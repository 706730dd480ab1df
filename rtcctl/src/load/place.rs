//! Where the platform is: the address in `run.json`, read again whenever a connection cannot be made.
//!
//! Invariant: while the platform is away it is looked for twenty times a second at most, however many requests come due.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::lane::Dial;

/// A host and a port that speak HTTP without TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub authority: String,
}

impl Place {
    /// Reads `http://host:port` with or without a closing slash. Another scheme or a path is not a place.
    pub fn parse(url: &str) -> Option<Place> {
        let authority = url.strip_prefix("http://")?.trim_end_matches('/');
        let plain = !authority.is_empty()
            && !authority.contains(['/', '?', '#', '@'])
            && !authority.contains(char::is_whitespace);
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
        plain.then(|| Place {
            authority: if has_port { authority.to_owned() } else { format!("{authority}:80") },
        })
    }
}

/// The file in which a running platform says where it is.
#[derive(Debug, Clone)]
pub struct RunFile(pub PathBuf);

impl RunFile {
    /// The API's place, if the file is there and says one.
    pub fn api(&self) -> Option<Place> {
        #[derive(serde::Deserialize)]
        struct Run {
            api_url: String,
        }
        let run: Run = serde_json::from_slice(&std::fs::read(&self.0).ok()?).ok()?;
        Place::parse(&run.api_url)
    }
}

/// Connects over TCP.
#[derive(Debug)]
pub struct TcpDial {
    run_file: Option<RunFile>,
    place: RefCell<Place>,
    away_until: Cell<Option<Instant>>,
}

impl TcpDial {
    const PAUSE: Duration = Duration::from_millis(50);
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

    /// Starts at `place`; `run_file` says where else to look once that does not answer.
    pub fn new(place: Place, run_file: Option<RunFile>) -> Self {
        Self { run_file, place: RefCell::new(place), away_until: Cell::new(None) }
    }

    fn give_up_for_now(&self) {
        self.away_until.set(Some(Instant::now() + Self::PAUSE));
        if let Some(place) = self.run_file.as_ref().and_then(RunFile::api) {
            *self.place.borrow_mut() = place;
        }
    }
}

impl Dial for TcpDial {
    type Stream = TokioIo<TcpStream>;

    async fn dial(&self) -> io::Result<Self::Stream> {
        if self.away_until.get().is_some_and(|until| Instant::now() < until) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let authority = self.place.borrow().authority.clone();
        let connected = match timeout(Self::CONNECT_TIMEOUT, TcpStream::connect(authority)).await {
            Ok(connected) => connected,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match connected {
            Ok(stream) => {
                self.away_until.set(None);
                stream.set_nodelay(true)?;
                Ok(TokioIo::new(stream))
            }
            Err(error) => {
                self.give_up_for_now();
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_plain_http_with_a_port() {
        let read = |url: &str| Place::parse(url).map(|place| place.authority);
        assert_eq!(read("http://127.0.0.1:8080").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(read("http://[::1]:8080/").as_deref(), Some("[::1]:8080"));
        assert_eq!(read("http://shop.local").as_deref(), Some("shop.local:80"));
        for bad in
            ["https://shop.local", "shop:80", "http://", "http://a/b", "http://u:p@h:80", "http://a b:80"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
