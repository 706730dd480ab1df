//! A gate before a broker that knows neither TLS nor users: it speaks TLS with a certificate of its own, lets in who signs in by
//! SCRAM-SHA-512 as Kafka does (SaslHandshake 1, SaslAuthenticate), and passes on what is asked then.
//!
//! Invariant: whoever came through it goes on through it: where answers say that the broker is, they say the gate.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::moved::move_address;
use super::scram::{Answer, Exchange};
use crate::cache_tls::authority::{Authority, Issued, LATER};

pub const USER: &str = "rtc";
const MECHANISM: &str = "SCRAM-SHA-512";

/// Numbers of requests in the protocol, and of errors.
const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const SASL_AUTHENTICATE: i16 = 36;
const UNSUPPORTED_VERSION: i16 = 35;
const SASL_AUTHENTICATION_FAILED: i16 = 58;

/// A server's certificate, by an authority of its own.
pub struct Certificate {
    /// The authority, for whoever trusts it.
    pub ca: PathBuf,
    issued: Issued,
}

impl Certificate {
    /// Makes one for an address or a host's name.
    pub fn of(name: &str, folder: &Path) -> Self {
        let authority = Authority::new(name);
        let ca = folder.join(format!("{name}.pem"));
        std::fs::write(&ca, authority.pem()).expect("a file");
        Self { ca, issued: authority.issue(&[name], LATER) }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let chain = vec![CertificateDer::from(self.issued.certificate.clone())];
        let key = PrivatePkcs8KeyDer::from(self.issued.key.clone()).into();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()))
    }
}

struct House {
    /// Where the broker is, and where it is said to be.
    broker: u16,
    gate: u16,
    /// Nobody signs in where there is none.
    password: Option<String>,
    admitted: AtomicUsize,
}

pub struct Gate {
    port: u16,
    house: Arc<House>,
    _keeper: JoinSet<()>,
}

impl Gate {
    /// Before the broker of `url`; in the clear where there is no certificate.
    pub async fn before(url: &str, certificate: Option<&Certificate>, password: Option<&str>) -> Self {
        let broker = url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a broker's port");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let admitted = AtomicUsize::new(0);
        let house = Arc::new(House { broker, gate: port, password: password.map(str::to_owned), admitted });
        let mut keeper = JoinSet::new();
        keeper.spawn(stand(listener, certificate.map(Certificate::acceptor), house.clone()));
        Self { port, house, _keeper: keeper }
    }

    pub fn url(&self, query: &str) -> String {
        format!("kafka://127.0.0.1:{}?{query}", self.port)
    }

    /// How many connections were signed in to.
    pub fn admitted(&self) -> usize {
        self.house.admitted.load(Ordering::Relaxed)
    }
}

async fn stand(listener: TcpListener, tls: Option<TlsAcceptor>, house: Arc<House>) {
    let mut inside = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (tls, house) = (tls.clone(), house.clone());
        inside.spawn(async move {
            let _ = client.set_nodelay(true);
            // Who breaks off gets no further: its own side says why.
            let _ = match tls {
                Some(tls) => match tls.accept(client).await {
                    Ok(client) => enter(client, &house).await,
                    Err(error) => Err(error),
                },
                None => enter(client, &house).await,
            };
        });
    }
}

async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; from.read_u32().await? as usize];
    from.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write(to: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).expect("a frame of the protocol").to_be_bytes();
    to.write_all(&[length.as_slice(), frame].concat()).await?;
    to.flush().await
}

async fn enter(client: impl AsyncRead + AsyncWrite + Unpin, house: &House) -> io::Result<()> {
    let broker = TcpStream::connect(("127.0.0.1", house.broker)).await?;
    broker.set_nodelay(true)?;
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_broker, mut to_broker) = broker.into_split();
    if let Some(password) = &house.password {
        let mut exchange = Exchange::new(USER, password);
        loop {
            let frame = read(&mut from_client).await?;
            let asked = Asked::of(&frame)?;
            let answer = match (asked.request, asked.version) {
                (API_VERSIONS, 0) => {
                    write(&mut to_broker, &frame).await?;
                    with_sasl(&read(&mut from_broker).await?)?
                }
                // In the form of version 0, and with it alone: whoever asks then asks so.
                (API_VERSIONS, _) => {
                    asked.answer(&[&UNSUPPORTED_VERSION.to_be_bytes(), &[0, 0, 0, 1], &[0, 18, 0, 0, 0, 0]])
                }
                (SASL_HANDSHAKE, _) => asked.answer(&[&[0, 0], &[0, 0, 0, 1], &text(MECHANISM)]),
                (SASL_AUTHENTICATE, _) => match exchange.answer(asked.bytes()?) {
                    Answer::GoesOn(said) => asked.authenticated(0, "", &said),
                    Answer::Admitted(said) => {
                        house.admitted.fetch_add(1, Ordering::Relaxed);
                        write(&mut to_client, &asked.authenticated(0, "", &said)).await?;
                        break;
                    }
                    Answer::Refused => {
                        let why = "Authentication failed during authentication due to invalid credentials with \
                                   SASL mechanism SCRAM-SHA-512";
                        asked.authenticated(SASL_AUTHENTICATION_FAILED, why, &[])
                    }
                },
                (other, _) => return Err(io::Error::other(format!("{other} before anybody has signed in"))),
            };
            write(&mut to_client, &answer).await?;
        }
    }
    // The end of either is the end of both.
    tokio::select! {
        ended = pass(&mut from_client, &mut to_broker, |_| {}) => ended,
        ended = pass(&mut from_broker, &mut to_client, |frame| move_address(frame, house.broker, house.gate)) => ended,
    }
}

async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    see: impl Fn(&mut [u8]),
) -> io::Result<()> {
    loop {
        let mut frame = read(from).await?;
        see(&mut frame);
        write(to, &frame).await?;
    }
}

/// A request: what it asks, by its number and version, the client's own number, and what follows the client's name.
struct Asked<'a> {
    request: i16,
    version: i16,
    correlation: &'a [u8],
    body: &'a [u8],
}

fn cut() -> io::Error {
    io::Error::other("a request that is cut short")
}

impl<'a> Asked<'a> {
    fn of(frame: &'a [u8]) -> io::Result<Self> {
        let number =
            |at: usize| frame.get(at..at + 2).map(|two| i16::from_be_bytes([two[0], two[1]])).ok_or_else(cut);
        // No name is -1 bytes long.
        let name = usize::try_from(number(8)?).unwrap_or(0);
        Ok(Self {
            request: number(0)?,
            version: number(2)?,
            correlation: &frame[4..8],
            body: frame.get(10 + name..).ok_or_else(cut)?,
        })
    }

    /// What a body of nothing but bytes holds.
    fn bytes(&self) -> io::Result<&'a [u8]> {
        self.body.get(4..).ok_or_else(cut)
    }

    fn answer(&self, parts: &[&[u8]]) -> Vec<u8> {
        [self.correlation].into_iter().chain(parts.iter().copied()).flatten().copied().collect()
    }

    /// To SaslAuthenticate: an error, its text, what SCRAM says, and since version 1 how long it holds: for good.
    fn authenticated(&self, error: i16, why: &str, said: &[u8]) -> Vec<u8> {
        let length = u32::try_from(said.len()).expect("a short message").to_be_bytes();
        let holds: &[u8] = if self.version > 0 { &[0; 8] } else { &[] };
        self.answer(&[&error.to_be_bytes(), &text(why), &length, said, holds])
    }
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text").to_be_bytes();
    [&length, text.as_bytes()].concat()
}

/// What the broker can do (the client's number, an error, a count, and for each request its number with its first and last
/// version), and what the gate does.
fn with_sasl(answer: &[u8]) -> io::Result<Vec<u8>> {
    let (head, rest) = (answer.get(..6).ok_or_else(cut)?, answer.get(10..).ok_or_else(cut)?);
    let ours = [[0, 17, 0, 0, 0, 1], [0, 36, 0, 0, 0, 1]];
    let others = rest.as_chunks::<6>().0.iter().filter(|able| ours.iter().all(|our| our[..2] != able[..2]));
    let all: Vec<[u8; 6]> = others.copied().chain(ours).collect();
    let count = u32::try_from(all.len()).expect("few requests").to_be_bytes();
    Ok([head, &count, all.as_flattened()].concat())
}
