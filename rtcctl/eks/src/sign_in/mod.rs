//! Signing in to the API of a cluster: a request to STS, signed and not sent, is the token.
//!
//! Source: "aws-iam-authenticator", `pkg/token`: the cluster sends the request itself, with the header of its own name, and
//! learns from the answer who signed it. It refuses every parameter that it does not know, a request that does not sign
//! that header, and one that is older than 15 minutes.
//!
//! Invariants: the name of the cluster is signed, so that a token opens one cluster alone; a token is renewed before the
//! cluster refuses it, once for everybody who waits.

mod sts;
mod tokens;

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::Timestamp;

use crate::{Error, Kind, Result};

pub use sts::{Endpoints, Sts};
pub use tokens::Tokens;

/// What a token begins with.
pub const PREFIX: &str = "k8s-aws-v1.";
/// The header that says for which cluster it is signed.
pub const CLUSTER_HEADER: &str = "x-k8s-aws-id";
/// How long a token is used. The cluster takes it for 15 minutes after it was signed.
pub const USED_FOR: Duration = Duration::from_secs(14 * 60);
/// For how long STS itself takes the request after the cluster has begun with it.
const SIGNED_FOR: Duration = Duration::from_secs(60);
const NAME_LETTERS_MAX: usize = 100;
pub(crate) const OPERATION: &str = "sts:GetCallerIdentity";

/// What opens a cluster: sent as a bearer token, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    value: String,
    pub signed_at: Timestamp,
    /// Until when it is to be used; the cluster refuses it a minute later.
    pub expires_at: Timestamp,
}

impl Token {
    /// `k8s-aws-v1.…`, a secret.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Signs a token for a cluster.
///
/// # Errors
/// [`Kind::Invalid`] where the name cannot be that of a cluster.
pub fn presign(credentials: &Credentials, cluster: &str, sts: &Sts, at: Timestamp) -> Result<Token> {
    check_name(cluster)?;
    let invalid = |error: &dyn fmt::Display| Error::new(Kind::Invalid, OPERATION, error.to_string());
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(SIGNED_FOR);
    let identity = credentials.clone().into();
    let since_epoch = Duration::from_millis(u64::try_from(at.as_millis()).unwrap_or_default());
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&sts.region)
        .name("sts")
        .time(UNIX_EPOCH + since_epoch)
        .settings(settings)
        .build()
        .map_err(|error| invalid(&error))?
        .into();
    let mut url = format!("https://{}/?Action=GetCallerIdentity&Version=2011-06-15", sts.host);
    let request = SignableRequest::new(
        "GET",
        url.as_str(),
        std::iter::once((CLUSTER_HEADER, cluster)),
        SignableBody::Bytes(b""),
    );
    let request = request.map_err(|error| invalid(&error))?;
    let (signed, _) = sign(request, &params).map_err(|error| invalid(&error))?.into_parts();
    for (name, value) in signed.params() {
        url.push('&');
        url.push_str(name);
        url.push('=');
        percent_encode(value, &mut url);
    }
    let used_until = at.plus(USED_FOR);
    Ok(Token {
        value: format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(url)),
        signed_at: at,
        // STS refuses what was signed with credentials that have expired since.
        expires_at: expiry(credentials).map_or(used_until, |expiry| expiry.min(used_until)),
    })
}

/// When credentials end, where they do.
fn expiry(credentials: &Credentials) -> Option<Timestamp> {
    let since_epoch = credentials.expiry()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).ok()?))
}

/// As "CreateCluster" allows it: letters, digits, `-` and `_`, the first a letter or a digit.
pub(crate) fn check_name(cluster: &str) -> Result<()> {
    let starts_well = cluster.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    let is_plain = cluster.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if starts_well && is_plain && cluster.len() <= NAME_LETTERS_MAX {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "name", format!("{cluster:?} cannot be the name of a cluster")))
}

/// As SigV4 wants it in a query: everything but the unreserved letters of RFC 3986.
fn percent_encode(text: &str, to: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => to.push(byte.into()),
            _ => to.push_str(&format!("%{byte:02X}")),
        }
    }
}
