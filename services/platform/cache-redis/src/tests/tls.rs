//! With TLS: who is believed and who is not, and what is said of each. The same on a real Redis is told by the suites of
//! engines.

use std::path::PathBuf;

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::ServerConfig;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::authority::{Authority, Issued, LATER};
use super::known as found;
use super::*;

/// An authority, and the file that a client knows it by.
struct Known {
    authority: Authority,
    folder: TempDir,
}

impl Known {
    fn new(name: &str) -> Self {
        let known = Self { authority: Authority::new(name), folder: tempfile::tempdir().unwrap() };
        std::fs::write(known.file(), known.authority.pem()).unwrap();
        known
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Where the server is, for one who knows this authority.
    fn url(&self, server: &Server, host: &str) -> String {
        format!("rediss://{host}:{}?ca={}", server.port(), self.file().display())
    }
}

fn presenting(issued: Issued, versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let key = PrivatePkcs8KeyDer::from(issued.key).into();
    let chain = vec![CertificateDer::from(issued.certificate)];
    Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap())
}

async fn secured(issued: Issued) -> Server {
    let server = Server::start().await;
    server.speak_tls(presenting(issued, rustls::ALL_VERSIONS));
    server
}

/// Of a machine that is busy nothing is to be told here.
fn patient() -> Options {
    Options { deadline: Duration::from_secs(5), connect_timeout: Duration::from_secs(10), ..options() }
}

async fn refused(url: &str) -> OpenError {
    open(url, patient()).await.err().expect("an error")
}

#[tokio::test]
async fn a_server_that_proves_its_name_is_used() {
    let known = Known::new("ours");
    let server = secured(known.authority.issue(&["localhost", "127.0.0.1"], LATER)).await;
    for host in ["localhost", "127.0.0.1"] {
        let cache = open(&known.url(&server, host), patient()).await.unwrap();
        keep(cache.as_ref(), host, "v").await;
        assert_eq!(found(cache.as_ref(), host).await, Some(Bytes::from_static(b"v")));
        assert_eq!(cache.add("n", 1, LONG).await.map(|count| count.total > 0), Some(true));
    }
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        server.speak_tls(presenting(known.authority.issue(&["localhost"], LATER), &[version]));
        let cache = open(&known.url(&server, "localhost"), patient()).await.unwrap();
        assert!(cache.metrics().is_available(), "{version:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_prove_who_it_is_is_not_used() {
    let (ours, others) = (Known::new("ours"), Known::new("others"));
    let server = secured(ours.authority.issue(&["localhost"], LATER)).await;
    let error = refused(&others.url(&server, "localhost")).await;
    assert!(matches!(error, OpenError::Untrusted(_)), "{error}");
    let error = refused(&ours.url(&server, "127.0.0.1")).await;
    assert!(matches!(error, OpenError::WrongName(_)), "{error}");
    assert!(error.to_string().contains("127.0.0.1") && error.to_string().contains("localhost"), "{error}");
    server.speak_tls(presenting(ours.authority.issue(&["localhost"], "210101000000Z"), rustls::ALL_VERSIONS));
    let error = refused(&ours.url(&server, "localhost")).await;
    assert!(matches!(&error, OpenError::Untrusted(reason) if reason.contains("expired")), "{error}");
    // By an authority of the same name, and another key.
    let impostor = Authority::new("ours").issue(&["localhost"], LATER);
    server.speak_tls(presenting(impostor, rustls::ALL_VERSIONS));
    let error = refused(&ours.url(&server, "localhost")).await;
    assert!(matches!(error, OpenError::Untrusted(_)), "{error}");
    assert_eq!(server.commands(), 0, "nothing is said to whom nobody vouches for");
}

#[tokio::test]
async fn a_server_that_speaks_the_other_way_is_told() {
    let known = Known::new("ours");
    let plain = Server::start().await;
    for password in [None, Some("secret")] {
        if let Some(password) = password {
            plain.require_password(password);
        }
        // It is silent, and waits for the end of what it takes for a line.
        let soon = Options { connect_timeout: Duration::from_secs(1), ..options() };
        let error = open(&known.url(&plain, "localhost"), soon).await.err().expect("an error");
        assert!(matches!(error, OpenError::InTheOpen), "{error}");
    }
    let server = secured(known.authority.issue(&["localhost"], LATER)).await;
    let error = refused(&server.url()).await;
    assert!(matches!(error, OpenError::Encrypted), "{error}");
}

#[tokio::test]
async fn one_that_says_nothing_at_all_is_away_and_no_fault() {
    let known = Known::new("ours");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for url in [
        format!("redis://127.0.0.1:{port}"),
        format!("rediss://127.0.0.1:{port}?ca={}", known.file().display()),
    ] {
        assert!(!open(&url, options()).await.unwrap().metrics().is_available(), "{url}");
    }
    drop(listener);
    let gone = format!("rediss://127.0.0.1:{port}?ca={}", known.file().display());
    assert!(!open(&gone, options()).await.unwrap().metrics().is_available());
}

#[tokio::test]
async fn a_file_without_authorities_is_an_error_that_names_it() {
    let known = Known::new("ours");
    let server = secured(known.authority.issue(&["localhost"], LATER)).await;
    let key = super::authority::pem("PRIVATE KEY", b"no certificate");
    let damaged = known.authority.pem().replace("-----END", "=====END");
    let other = super::authority::pem("CERTIFICATE", b"no certificate");
    for text in [None, Some(String::new()), Some(key), Some(damaged), Some(other)] {
        match &text {
            Some(text) => std::fs::write(known.file(), text).unwrap(),
            None => std::fs::remove_file(known.file()).unwrap(),
        }
        let error = refused(&known.url(&server, "localhost")).await;
        assert!(matches!(error, OpenError::NoAuthorities(_)), "{text:?}: {error}");
        assert!(error.to_string().contains(&known.file().display().to_string()), "{text:?}: {error}");
    }
}

#[tokio::test]
async fn the_authorities_of_the_moment_are_asked_for_a_new_connection() {
    let (first, second) = (Known::new("first"), Known::new("second"));
    let server = secured(first.authority.issue(&["localhost"], LATER)).await;
    let cache = open(&first.url(&server, "localhost"), patient()).await.unwrap();
    keep(cache.as_ref(), "k", "v").await;
    server.conduct(Conduct::Closed);
    assert_eq!(found(cache.as_ref(), "k").await, None);
    server.speak_tls(presenting(second.authority.issue(&["localhost"], LATER), rustls::ALL_VERSIONS));
    let both = [first.authority.pem(), second.authority.pem()].concat();
    std::fs::write(first.file(), both).unwrap();
    server.conduct(Conduct::Good);
    back(cache.as_ref()).await;
    assert!(found(cache.as_ref(), "k").await.is_some());
}

#[tokio::test]
async fn the_password_of_the_moment_goes_over_tls() {
    let known = Known::new("ours");
    let server = secured(known.authority.issue(&["localhost"], LATER)).await;
    server.require_password("first");
    let url = known.url(&server, "localhost");
    let error = refused(&url).await;
    assert!(matches!(error, OpenError::Password(_)), "{error}");
    let current = Arc::new(std::sync::Mutex::new("first".to_owned()));
    let given = current.clone();
    let options =
        Options { password: Arc::new(move || Ok(Some(given.lock().unwrap().clone()))), ..patient() };
    let cache = open(&url, options).await.unwrap();
    keep(cache.as_ref(), "k", "v").await;
    server.require_password("second");
    server.conduct(Conduct::Closed);
    assert_eq!(found(cache.as_ref(), "k").await, None);
    *current.lock().unwrap() = "second".to_owned();
    server.conduct(Conduct::Good);
    back(cache.as_ref()).await;
    assert!(found(cache.as_ref(), "k").await.is_some());
}
