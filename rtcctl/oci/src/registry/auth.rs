//! The header that says who asks, kept and renewed.
//!
//! Invariants:
//! - logins and tokens are fetched under one lock: however many requests are refused at once, one renewal answers all;
//! - a token is fetched once for what it is good for, and a login once until it expires or is refused;
//! - a password goes to the registry and to the token service that it names, over TLS wherever the registry is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::answer::{self, Asked};
use super::challenge::{self, Challenge};
use super::retry::Failure;
use crate::credentials::{Credentials, Login};
use crate::{Error, Result};

/// What the token protocol assumes when the service does not say.
const TOKEN_LIFE: Duration = Duration::from_secs(60);
/// Whatever is said, nothing is kept for longer.
const LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);
const CLIENT: &str = "rtcctl";

pub(super) struct Auth {
    host: String,
    /// The registry is spoken to without TLS, and so may be its token service.
    is_plain: bool,
    credentials: Arc<dyn Credentials>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    challenge: Option<Challenge>,
    /// By repository: some keep a login of their own for some.
    logins: HashMap<String, Held<Login>>,
    tokens: HashMap<Vec<String>, Held<String>>,
    serial: u64,
}

struct Held<T> {
    value: T,
    until: Option<Instant>,
    serial: u64,
}

impl<T> Held<T> {
    /// Good for a while yet: what expires on the way was renewed too late.
    fn is_good(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

/// A moment before the end of something that lives so long.
fn until(life: Duration) -> Instant {
    let life = life.min(LIFE_MAX);
    let (now, kept) = (Instant::now(), life.saturating_sub((life / 10).min(Duration::from_secs(60))));
    now.checked_add(kept).unwrap_or(now)
}

/// How long a token lives, which services say as a number, as text, or not at all.
fn life(said: &Value) -> Duration {
    let seconds = match said {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let longest = LIFE_MAX.as_secs_f64();
    let seconds = seconds.filter(|seconds| seconds.is_finite()).map(|seconds| seconds.clamp(1.0, longest));
    seconds.map_or(TOKEN_LIFE, Duration::from_secs_f64)
}

/// The header of one request, and which login or token it is made of.
/// What a request says of who we are.
pub(super) struct Header {
    pub(super) value: Option<HeaderValue>,
    serial: u64,
}

impl Header {
    /// What a registry said, without the login if it echoes that.
    pub(super) fn without(&self, said: Vec<u8>) -> Vec<u8> {
        let login = self.value.as_ref().and_then(|value| value.to_str().ok()?.split_once(' '));
        match login {
            Some((_, login)) if !login.is_empty() => {
                String::from_utf8_lossy(&said).replace(login, "[login]").into_bytes()
            }
            _ => said,
        }
    }
}

impl Auth {
    pub(super) fn new(host: String, is_plain: bool, credentials: Arc<dyn Credentials>) -> Self {
        Self { host, is_plain, credentials, state: Mutex::default() }
    }

    /// What to send with a request to `repository` for `scopes`.
    pub(super) async fn header(
        &self,
        http: &reqwest::Client,
        repository: &str,
        scopes: &[String],
    ) -> Result<Header, Failure> {
        let mut state = self.state.lock().await;
        match state.challenge.clone() {
            Some(Challenge::Bearer { realm, service }) => {
                if !state.tokens.get(scopes).is_some_and(Held::is_good) {
                    self.exchange(http, &mut state, &realm, service.as_deref(), repository, scopes).await?;
                }
                let token = &state.tokens[scopes];
                Ok(Header { value: Some(secret("Bearer", &token.value)?), serial: token.serial })
            }
            challenge => {
                let login = self.login(&mut state, repository).await?;
                let value = match (&login.value, challenge) {
                    // A password waits until it is known how it is wanted.
                    (Login::Ready(_), _) | (_, Some(_)) => login.value.basic(),
                    (_, None) => None,
                };
                let serial = if value.is_some() { login.serial } else { 0 };
                Ok(Header { value: value.map(|value| secret("Basic", &value)).transpose()?, serial })
            }
        }
    }

    /// The request with `used` was refused, with these challenges. Returns whether another try is worth while.
    pub(super) async fn refused(
        &self,
        used: &Header,
        repository: &str,
        scopes: &[String],
        challenges: &[&str],
    ) -> bool {
        let mut state = self.state.lock().await;
        let current = match &state.challenge {
            Some(Challenge::Bearer { .. }) => state.tokens.get(scopes).map(|token| token.serial),
            _ => state.logins.get(repository).map(|login| login.serial),
        };
        if used.serial != 0 && current.is_some_and(|current| current > used.serial) {
            return true;
        }
        // A login that was sent before anything was asked for was sent as Basic.
        let known = state.challenge.clone().unwrap_or(Challenge::Basic);
        if let Some(challenge) = challenge::parse(challenges) {
            state.challenge = Some(challenge);
        }
        if used.serial == 0 {
            let is_nobody = state.logins.get(repository).is_some_and(|login| login.value == Login::Anonymous);
            return match &state.challenge {
                Some(Challenge::Bearer { .. }) => true,
                Some(Challenge::Basic) => !is_nobody,
                None => false,
            };
        }
        if state.challenge.as_ref().is_some_and(|challenge| *challenge != known) {
            return true;
        }
        match &state.challenge {
            Some(Challenge::Bearer { .. }) => drop(state.tokens.remove(scopes)),
            _ => drop(state.logins.remove(repository)),
        }
        true
    }

    async fn login<'a>(&self, state: &'a mut State, repository: &str) -> Result<&'a Held<Login>> {
        if !state.logins.get(repository).is_some_and(Held::is_good) {
            let grant = self.credentials.login_for(&self.host, repository).await?;
            state.serial += 1;
            let held = Held { value: grant.login, until: grant.valid_for.map(until), serial: state.serial };
            state.logins.insert(repository.to_owned(), held);
        }
        Ok(&state.logins[repository])
    }

    async fn exchange(
        &self,
        http: &reqwest::Client,
        state: &mut State,
        realm: &str,
        service: Option<&str>,
        repository: &str,
        scopes: &[String],
    ) -> Result<(), Failure> {
        let first = match self.ask(http, state, realm, service, repository, scopes).await {
            // A login that was good a moment ago may have been changed since: it is asked for once more.
            Err(Failure::Final(Error::Denied { .. }))
                if state.logins.get(repository).is_some_and(|held| held.value != Login::Anonymous) =>
            {
                state.logins.remove(repository);
                None
            }
            other => Some(other?),
        };
        let token = match first {
            Some(token) => token,
            None => self.ask(http, state, realm, service, repository, scopes).await?,
        };
        state.serial += 1;
        let held = Held { value: token.0, until: Some(until(token.1)), serial: state.serial };
        state.tokens.insert(scopes.to_vec(), held);
        Ok(())
    }

    /// A token for scopes and how long it lives.
    async fn ask(
        &self,
        http: &reqwest::Client,
        state: &mut State,
        realm: &str,
        service: Option<&str>,
        repository: &str,
        scopes: &[String],
    ) -> Result<(String, Duration), Failure> {
        let wrong =
            |reason: String| Failure::Final(Error::Credentials { registry: self.host.clone(), reason });
        let mut url: Url =
            realm.parse().map_err(|_| wrong("it sends for a token to what is no address".to_owned()))?;
        if url.scheme() != "https" && !super::is_loopback(&url) && !self.is_plain {
            return Err(wrong(format!(
                "it sends for a token to {}, which is not https",
                answer::shown(&url)
            )));
        }
        let login = self.login(state, repository).await?.value.clone();
        let request = if let Login::Identity(token) = &login {
            let mut form = Url::parse("form:").expect("a constant");
            form.query_pairs_mut()
                .append_pair("grant_type", "refresh_token")
                .append_pair("service", service.unwrap_or_default())
                .append_pair("client_id", CLIENT)
                .append_pair("scope", &scopes.join(" "))
                .append_pair("refresh_token", token);
            http.post(url.clone())
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.query().unwrap_or_default().to_owned())
        } else {
            {
                let mut query = url.query_pairs_mut();
                query.extend_pairs(service.map(|service| ("service", service)));
                query.extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
            }
            let request = http.get(url.clone());
            match login.basic() {
                Some(basic) => request.header(AUTHORIZATION, secret("Basic", &basic)?),
                None => request,
            }
        };
        let what = format!("a token for {}", scopes.join(" "));
        let asked = Asked { registry: &self.host, repository, what: &what, url: &url };
        let response =
            request.timeout(TOKEN_TIMEOUT).send().await.map_err(|error| answer::broken(&asked, error))?;
        let status = response.status();
        if !status.is_success() {
            let headers = response.headers().clone();
            let bytes = answer::body(response).await;
            return Err(match answer::failure(&asked, status, &headers, &bytes) {
                // Some services say of a wrong login that the request was not good.
                Failure::Final(Error::Refused { registry, what, status: 400, message, .. }) => {
                    Failure::Final(Error::Denied { registry, what, status: 400, message })
                }
                failure => failure,
            });
        }
        let bytes = answer::body(response).await;
        // What it answered may be half a token: it is not quoted.
        let said: Value = serde_json::from_slice(&bytes).map_err(|_| Error::NotARegistry {
            url: answer::shown(&url),
            first_line: format!("{status} and {} bytes that are no JSON", bytes.len()),
        })?;
        let named = |name: &str| said.get(name)?.as_str().filter(|token| !token.is_empty());
        match named("token").or_else(|| named("access_token")) {
            Some(token) => Ok((token.to_owned(), life(&said["expires_in"]))),
            None => Err(wrong("its token service answered without a token".to_owned())),
        }
    }
}

fn secret(scheme: &str, value: &str) -> Result<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("{scheme} {value}")).map_err(|_| Error::Invalid {
        what: "login".to_owned(),
        reason: "it has characters that no header takes".to_owned(),
    })?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_life_of_a_token_is_read_however_it_is_written_and_has_an_end() {
        let seconds = |text: &str| life(&serde_json::from_str(text).unwrap()).as_secs_f64();
        for (said, meant) in [
            ("300", 300.0),
            ("\"300\"", 300.0),
            ("\" 300.5 \"", 300.5),
            ("3e2", 300.0),
            ("0", 1.0),
            ("-5", 1.0),
            ("null", 60.0),
            ("\"soon\"", 60.0),
            ("\"inf\"", 60.0),
            ("{}", 60.0),
            ("18446744073709551615", 86_400.0),
            ("1e300", 86_400.0),
        ] {
            assert_eq!(seconds(said), meant, "{said}");
        }
        let longest = until(Duration::MAX);
        assert!(longest > Instant::now() && longest <= Instant::now() + LIFE_MAX);
    }
}
