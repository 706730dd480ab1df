//! Where the API server is, and who we are there.
//!
//! Invariants: a token is asked for before each request, so that one that is renewed in between is used at once; one
//! that was refused is not used again; no token is shown by anything here.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;

use crate::{Error, Result};

/// How long the program of a kubeconfig that makes tokens may take.
const PROGRAM_WITHIN: Duration = Duration::from_secs(30);

/// Why there is no token, in words for the operator.
pub type NoToken = Box<dyn std::error::Error + Send + Sync>;

/// Tokens for one API server.
#[async_trait::async_trait]
pub trait Tokens: Send + Sync + 'static {
    /// One that is good for the next minute. Whoever makes them keeps one as long as it is good.
    async fn token(&self) -> Result<String, NoToken>;

    /// The API did not accept this one; the next has to be another.
    async fn refused(&self, _token: &str) {}
}

/// A way to an API server.
#[derive(Clone)]
pub enum Access {
    /// What `kubectl` uses.
    Kubeconfig {
        /// Otherwise `$KUBECONFIG`, otherwise `~/.kube/config`.
        path: Option<PathBuf>,
        /// Otherwise the current one of the file.
        context: Option<String>,
    },
    /// An address with its certificate authority, and tokens of somebody else's making.
    Endpoint {
        url: String,
        /// Otherwise the authorities that this machine trusts.
        ca_pem: Option<String>,
        tokens: Arc<dyn Tokens>,
    },
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Access::Kubeconfig { path, context } => {
                f.debug_struct("Kubeconfig").field("path", path).field("context", context).finish()
            }
            Access::Endpoint { url, .. } => f.debug_struct("Endpoint").field("url", url).finish(),
        }
    }
}

/// What a client is made of.
pub(crate) struct Opened {
    pub client: kube::Client,
    pub host: String,
    pub namespace: String,
    pub tokens: Option<Arc<dyn Tokens>>,
    /// The certificates of the authority that it has to show, as DER.
    pub authority: Vec<Vec<u8>>,
}

impl Access {
    pub(crate) async fn open(self) -> Result<Opened> {
        let (kubeconfig, options, tokens) = match self {
            Access::Kubeconfig { path, context } => {
                let read = match &path {
                    Some(path) => Kubeconfig::read_from(path),
                    None => Kubeconfig::read(),
                };
                let kubeconfig = read.map_err(|error| Error::kubeconfig(path.as_deref(), &error))?;
                (kubeconfig, KubeConfigOptions { context, ..Default::default() }, None)
            }
            Access::Endpoint { url, ca_pem, tokens } => {
                guarded(&url)?;
                let kubeconfig = endpoint(&url, ca_pem.as_deref())?;
                (kubeconfig, KubeConfigOptions::default(), Some(tokens))
            }
        };
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|error| Error::kubeconfig(None, &error))?;
        // Repeating is decided here, where it is known what may be repeated.
        config.default_retry = false;
        let host = config.cluster_url.authority().map_or_else(String::new, |host| host.as_str().to_owned());
        let namespace = config.default_namespace.clone();
        let authority = config.root_cert.clone().unwrap_or_default();
        let unusable = |reason: String| Error::Kubeconfig { place: host.clone(), reason };
        let made = match config.auth_info.exec {
            None => kube::Client::try_from(config),
            // It runs a program, and waits for it.
            Some(_) => {
                let making = tokio::task::spawn_blocking(move || kube::Client::try_from(config));
                match tokio::time::timeout(PROGRAM_WITHIN, making).await {
                    Ok(Ok(made)) => made,
                    Ok(Err(error)) => return Err(unusable(error.to_string())),
                    Err(_) => {
                        let seconds = PROGRAM_WITHIN.as_secs();
                        return Err(unusable(format!(
                            "the program that makes tokens has not ended in {seconds} s"
                        )));
                    }
                }
            }
        };
        let client = made.map_err(|error| unusable(crate::error::chain(&error)))?;
        Ok(Opened { client, host, namespace, tokens, authority })
    }
}

/// A token goes over TLS, or to this machine.
fn guarded(url: &str) -> Result<()> {
    let place = url.to_owned();
    let address: http::Uri = url
        .parse()
        .map_err(|_| Error::Kubeconfig { place: place.clone(), reason: "this is no address".to_owned() })?;
    let host = address.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match address.scheme_str() {
        Some("https") => Ok(()),
        _ if is_here => Ok(()),
        _ => Err(Error::Kubeconfig { place, reason: "a token is not sent without TLS".to_owned() }),
    }
}

fn endpoint(url: &str, ca_pem: Option<&str>) -> Result<Kubeconfig> {
    let mut cluster = json!({ "server": url });
    if let Some(pem) = ca_pem {
        cluster["certificate-authority-data"] = base64::engine::general_purpose::STANDARD.encode(pem).into();
    }
    let document = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "endpoint",
        "clusters": [{ "name": "endpoint", "cluster": cluster }],
        "users": [{ "name": "endpoint", "user": {} }],
        "contexts": [{ "name": "endpoint", "context": { "cluster": "endpoint", "user": "endpoint" } }],
    });
    serde_json::from_value(document)
        .map_err(|error| Error::Kubeconfig { place: url.to_owned(), reason: error.to_string() })
}
