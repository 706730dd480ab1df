//! The one way in which this tool makes an HTTP client.
//!
//! Invariants: the process's TLS provider (aws-lc-rs) is installed only when an `https` address is met; a client for a
//! plain address loads no certificates, which would cost more time than the whole request; nothing on this machine is
//! reached through a proxy.

use std::sync::Arc;
use std::time::Duration;

use codes::{Error, Result};
use reqwest::Url;
use reqwest::redirect::Policy;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client for one address. Requests bring their own deadlines.
pub fn client(base: &Url) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("rtcctl/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .redirect(Policy::none());
    if is_loopback(base) {
        builder = builder.no_proxy();
    }
    if base.scheme() == "https" {
        // Losing the race against another client of this process is as good as winning it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    } else {
        builder = builder.tls_backend_preconfigured(no_roots()?);
    }
    builder.build().map_err(|error| Error::internal("cannot make an HTTP client").with_source(&error))
}

fn is_loopback(base: &Url) -> bool {
    match base.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback() || address.is_unspecified()),
        None => false,
    }
}

/// A TLS configuration that trusts nobody, for clients that never speak TLS.
fn no_roots() -> Result<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("the TLS library refuses its own defaults").with_source(&error))?;
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_recognised_in_every_spelling() {
        for url in ["http://localhost:1", "http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]:1"] {
            assert!(is_loopback(&url.parse().unwrap()), "{url}");
        }
        for url in ["http://example.com", "http://10.0.0.1", "http://localhost.example.com"] {
            assert!(!is_loopback(&url.parse().unwrap()), "{url}");
        }
    }

    #[test]
    fn clients_can_be_made_for_both_schemes_in_one_process() {
        client(&"http://127.0.0.1:1".parse().unwrap()).unwrap();
        client(&"https://example.com".parse().unwrap()).unwrap();
        client(&"http://127.0.0.1:1".parse().unwrap()).unwrap();
    }
}
