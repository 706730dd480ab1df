//! TLS: by whom a server is vouched for, and what a handshake that fails says of it.
//!
//! Invariants:
//! - a server is spoken to only if an authority of the machine, or one of the file in the address, vouches for its name:
//!   there is no way around it;
//! - the authorities are read anew for each connection, so that they can be exchanged.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::OpenError;
use crate::address::Trust;

fn no_authorities(reason: String) -> OpenError {
    OpenError::NoAuthorities(reason)
}

/// Those of the file that the address names.
fn named(path: &Path) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let shown = path.display();
    let text = std::fs::read(path).map_err(|error| no_authorities(format!("{shown}: {error}")))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|_| no_authorities(format!("{shown} is damaged (PEM is wanted)")))?;
    if found.is_empty() {
        return Err(no_authorities(format!("{shown} has no certificate in it (PEM is wanted)")));
    }
    Ok(found)
}

fn configured(roots: RootCertStore) -> Result<Arc<ClientConfig>, OpenError> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| OpenError::Handshake(error.to_string()))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

fn trusting(ca: Option<&Path>) -> Result<Arc<ClientConfig>, OpenError> {
    let mut roots = RootCertStore::empty();
    // Among a machine's many there may be some that are of no use; that is not ours to mend.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        for authority in named(path)? {
            let added = roots.add(authority);
            added.map_err(|_| {
                no_authorities(format!("{} holds a certificate that cannot be read", path.display()))
            })?;
        }
    }
    if roots.is_empty() {
        let problem = "this machine has none (ca-certificates), and the address names no file (?ca=/path)";
        return Err(no_authorities(problem.to_owned()));
    }
    configured(roots)
}

/// What a connection is made with, whose name is proved by whom.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// Why there was no handshake.
pub(crate) enum Refusal {
    /// The connection broke, or nobody speaks TLS at the other end.
    NoTls(String),
    Wrong(OpenError),
}

impl Tls {
    /// Reads the authorities of the moment.
    pub async fn read(trust: &Trust) -> Result<Self, OpenError> {
        let ca: Option<PathBuf> = trust.ca.clone();
        let read = tokio::task::spawn_blocking(move || trusting(ca.as_deref())).await;
        let config = read.unwrap_or_else(|error| Err(no_authorities(error.to_string())))?;
        Ok(Self { config, name: trust.name.clone() })
    }

    /// For one that nobody is asked to vouch for: it finds out whether TLS is spoken and no more.
    fn of_nobody() -> Result<Self, OpenError> {
        let name = ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
        Ok(Self { config: configured(RootCertStore::empty())?, name })
    }

    pub async fn shake_hands(self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Refusal> {
        let connector = TlsConnector::from(self.config);
        connector.connect(self.name, stream).await.map_err(|error| refusal(&error))
    }
}

fn refusal(error: &io::Error) -> Refusal {
    let Some(reason) = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) else {
        return Refusal::NoTls(error.to_string());
    };
    Refusal::Wrong(match reason {
        rustls::Error::InvalidMessage(_) => return Refusal::NoTls(reason.to_string()),
        rustls::Error::InvalidCertificate(
            problem @ (CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }),
        ) => OpenError::WrongName(problem.to_string()),
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            OpenError::Untrusted("none of the authorities that are trusted vouches for it".to_owned())
        }
        rustls::Error::InvalidCertificate(problem) => OpenError::Untrusted(problem.to_string()),
        other => OpenError::Handshake(other.to_string()),
    })
}

/// Whether the server at the other end speaks TLS.
pub(crate) async fn is_spoken(stream: TcpStream) -> bool {
    let Ok(tls) = Tls::of_nobody() else { return false };
    // Nobody vouches for it, so it is refused; but by what it has said in TLS.
    !matches!(tls.shake_hands(stream).await, Err(Refusal::NoTls(_)))
}
