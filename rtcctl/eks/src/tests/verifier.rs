//! A cluster's side of signing in, written from the rules of aws-iam-authenticator and of SigV4 and sharing nothing with
//! what signs.

use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::Timestamp;
use kernel::percent::decoded;

const ALLOWED: [&str; 9] = [
    "action",
    "version",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];
const BYTES_MAX: usize = 4 * 1024;
const TAKEN_FOR: Duration = Duration::from_secs(15 * 60);

/// A cluster of one name in one partition, and STS that knows one secret.
pub struct Verifier<'a> {
    pub cluster: &'a str,
    pub hosts: &'a [&'a str],
    pub secret: &'a str,
    pub now: Timestamp,
}

/// What is known of a caller.
#[derive(Debug, PartialEq, Eq)]
pub struct Caller {
    pub access_key: String,
    pub session: Option<String>,
    pub host: String,
    pub signed_at: Timestamp,
}

pub fn url_of(token: &str) -> Result<String, String> {
    let encoded = token.strip_prefix("k8s-aws-v1.").ok_or("the prefix is missing")?;
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

impl Verifier<'_> {
    pub fn verify(&self, token: &str) -> Result<Caller, String> {
        if token.len() > BYTES_MAX {
            return Err("the token is too large".to_owned());
        }
        let url = url_of(token)?;
        let rest = url.strip_prefix("https://").ok_or("the scheme is not https")?;
        let (host, rest) = rest.split_once('/').ok_or("there is no path")?;
        if !self.hosts.contains(&host) {
            return Err(format!("{host} is no host of STS"));
        }
        let query = rest.strip_prefix('?').ok_or("the path is not /")?;
        let mut params: Vec<(String, String)> = Vec::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').ok_or("a parameter has no value")?;
            let lower = name.to_lowercase();
            if !ALLOWED.contains(&lower.as_str()) {
                return Err(format!("{name} is no allowed parameter"));
            }
            if params.iter().any(|(known, _)| known.to_lowercase() == lower) {
                return Err(format!("{name} is there twice"));
            }
            params.push((name.to_owned(), value.to_owned()));
        }
        let param = |wanted: &str| {
            let found = params.iter().find(|(name, _)| name.to_lowercase() == wanted);
            found.map(|(_, value)| decoded(value).unwrap()).ok_or(format!("{wanted} is missing"))
        };
        if param("action")? != "GetCallerIdentity" {
            return Err("the action is another one".to_owned());
        }
        let signed = param("x-amz-signedheaders")?;
        if !signed.split(';').any(|name| name == "x-k8s-aws-id") {
            return Err("the header of the cluster is not signed".to_owned());
        }
        let signed_at = instant(&param("x-amz-date")?)?;
        if self.now.since(signed_at) > TAKEN_FOR {
            return Err("the date is too old".to_owned());
        }
        let expires: i64 = param("x-amz-expires")?.parse().map_err(|_| "the expiry is no number")?;
        if !(0..=900).contains(&expires) {
            return Err("the expiry is out of bounds".to_owned());
        }
        // From here on it is STS that looks, at what the cluster sends: its own name in the header.
        let signature = param("x-amz-signature")?;
        if signature != self.signature(host, &params, &signed, &param("x-amz-date")?)? {
            return Err("the signature does not match".to_owned());
        }
        let credential = param("x-amz-credential")?;
        Ok(Caller {
            access_key: credential.split('/').next().unwrap_or_default().to_owned(),
            session: param("x-amz-security-token").ok(),
            host: host.to_owned(),
            signed_at,
        })
    }

    /// "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
    fn signature(
        &self,
        host: &str,
        params: &[(String, String)],
        signed: &str,
        date: &str,
    ) -> Result<String, String> {
        let mut pairs: Vec<String> = params
            .iter()
            .filter(|(name, _)| name != "X-Amz-Signature")
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.sort();
        let headers: String = signed
            .split(';')
            .map(|name| match name {
                "host" => Ok(format!("host:{host}\n")),
                "x-k8s-aws-id" => Ok(format!("x-k8s-aws-id:{}\n", self.cluster)),
                other => Err(format!("{other} is signed and not sent")),
            })
            .collect::<Result<_, _>>()?;
        let request = format!("GET\n/\n{}\n{headers}\n{signed}\n{}", pairs.join("&"), hex_of(b""));
        let credential = params.iter().find(|(name, _)| name == "X-Amz-Credential");
        let credential = decoded(&credential.ok_or("there is no credential")?.1).unwrap();
        let (_, scope) = credential.split_once('/').ok_or("the credential has no scope")?;
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex_of(request.as_bytes()));
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in scope.split('/') {
            key = mac(&key, part.as_bytes());
        }
        Ok(hex(&mac(&key, to_sign.as_bytes())))
    }
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

fn hex_of(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20260301T090000Z`
fn instant(text: &str) -> Result<Timestamp, String> {
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let rfc = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(9, 11),
        part(11, 13),
        part(13, 15)
    );
    rfc.parse().map_err(|_| format!("{text} is no date"))
}
