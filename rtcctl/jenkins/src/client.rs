//! Asking Jenkins, and understanding how it refuses.

use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderName, HeaderValue, LOCATION, SET_COOKIE,
};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::name::encode;
use crate::{Error, Result};

/// So much of an answer is read before it is judged to be nonsense.
const WORDS_BYTES_MAX: usize = 64 * 1024;

/// Who we are. An API token needs no crumb; a password does (`ApiCrumbExclusion`, Jenkins core).
#[derive(Clone)]
pub struct Login {
    pub user: String,
    pub token: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// One Jenkins.
pub struct Client {
    http: reqwest::Client,
    root: Url,
    login: Option<Login>,
    /// The header of the last crumb with the cookies of the session that it is bound to.
    crumb: Mutex<Option<Crumb>>,
}

#[derive(Clone)]
struct Crumb {
    header: HeaderName,
    value: HeaderValue,
    cookies: Option<HeaderValue>,
}

/// What is sent with a POST.
pub(crate) enum Body<'a> {
    Nothing,
    Form(&'a [(String, String)]),
    Xml(String),
}

impl Client {
    /// A client for the Jenkins at `root`, which may have a path. `deadline` is for one request.
    pub fn new(root: &str, login: Option<Login>, deadline: Duration) -> Result<Self> {
        let unreadable = |reason: String| Error::Unreadable { url: root.to_owned(), reason };
        let mut url: Url =
            root.parse().map_err(|error: <Url as std::str::FromStr>::Err| unreadable(error.to_string()))?;
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(deadline)
            .build()
            .map_err(|error| unreadable(error.to_string()))?;
        Ok(Self { http, root: url, login, crumb: Mutex::new(None) })
    }

    /// The address of a path below the root, for people.
    pub fn address(&self, path: &str) -> String {
        self.url(path).to_string()
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.root.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        // Joined as text: joining as references would read `..` and decode what is encoded twice.
        url.set_path(&format!("{}{}", self.root.path(), path.trim_start_matches('/')));
        url.set_query(query);
        url
    }

    /// A JSON document below the root. `what` names it where there is none.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, what: &str) -> Result<T> {
        let url = self.url(path);
        let answer = self.send(self.request(Method::GET, &url), &url).await?;
        let answer = judge(answer, &url, what).await?;
        if answer.status().is_redirection() {
            let reason = format!("it answers {} and no document", answer.status());
            return Err(Error::Unreadable { url: shown(&url), reason });
        }
        let text = body(answer, &url).await?;
        serde_json::from_slice(&text).map_err(|error| match looks_like_a_page(&text) {
            true => not_jenkins(&url, &text),
            false => Error::Unreadable { url: shown(&url), reason: error.to_string() },
        })
    }

    /// Any answer to a GET, judged; for what is not JSON.
    pub(crate) async fn fetch(&self, path: &str, what: &str, accept: &'static str) -> Result<Response> {
        let url = self.url(path);
        let request = self.request(Method::GET, &url).header(ACCEPT, accept);
        judge(self.send(request, &url).await?, &url, what).await
    }

    /// The answer to a POST, whatever its status is below 400, or 409. A crumb is fetched once where it is asked for.
    pub(crate) async fn post(&self, path: &str, body: Body<'_>, what: &str) -> Result<Response> {
        let url = self.url(path);
        let mut has_new_crumb = false;
        loop {
            let mut request = self.request(Method::POST, &url);
            if let Some(crumb) = self.kept_crumb() {
                request = request.header(crumb.header, crumb.value);
                if let Some(cookies) = crumb.cookies {
                    request = request.header(COOKIE, cookies);
                }
            }
            request = match &body {
                Body::Nothing => request.body(""),
                Body::Form(fields) => {
                    let fields =
                        fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
                    let text = fields.collect::<Vec<_>>().join("&");
                    request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(text)
                }
                Body::Xml(text) => {
                    request.header(CONTENT_TYPE, "application/xml; charset=utf-8").body(text.clone())
                }
            };
            let answer = self.send(request, &url).await?;
            if answer.status() == StatusCode::CONFLICT {
                return Ok(answer);
            }
            match judge(answer, &url, what).await {
                // A crumb is bound to a session, and sessions end.
                Err(Error::Denied { reason, .. }) if reason.contains("crumb") && !has_new_crumb => {
                    self.fetch_crumb().await?;
                    has_new_crumb = true;
                }
                judged => return judged,
            }
        }
    }

    fn request(&self, method: Method, url: &Url) -> RequestBuilder {
        let request = self.http.request(method, url.clone());
        match &self.login {
            Some(Login { user, token }) => {
                let mut value =
                    HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{user}:{token}"))))
                        .expect("base64 is a header's value");
                value.set_sensitive(true);
                request.header(AUTHORIZATION, value)
            }
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder, url: &Url) -> Result<Response> {
        request.send().await.map_err(|error| unreachable(url, error))
    }

    fn kept_crumb(&self) -> Option<Crumb> {
        self.crumb.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn fetch_crumb(&self) -> Result<()> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Issued {
            crumb: String,
            crumb_request_field: String,
        }
        let url = self.url("crumbIssuer/api/json");
        let answer =
            judge(self.send(self.request(Method::GET, &url), &url).await?, &url, "crumb issuer").await?;
        let cookies: Vec<String> = answer
            .headers()
            .get_all(SET_COOKIE)
            .iter()
            .filter_map(|cookie| Some(cookie.to_str().ok()?.split(';').next()?.to_owned()))
            .collect();
        let text = body(answer, &url).await?;
        let unreadable = |reason: String| Error::Unreadable { url: shown(&url), reason };
        let issued: Issued = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        let crumb = Crumb {
            header: HeaderName::try_from(issued.crumb_request_field)
                .map_err(|error| unreadable(error.to_string()))?,
            value: HeaderValue::try_from(issued.crumb).map_err(|error| unreadable(error.to_string()))?,
            cookies: HeaderValue::try_from(cookies.join("; ")).ok().filter(|cookies| !cookies.is_empty()),
        };
        *self.crumb.lock().unwrap_or_else(PoisonError::into_inner) = Some(crumb);
        Ok(())
    }
}

/// Passes on what is an answer of Jenkins, and tells refusals apart.
async fn judge(answer: Response, url: &Url, what: &str) -> Result<Response> {
    let status = answer.status();
    if status.is_redirection() {
        let target = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
        // A job may be called login too, and where Jenkins leads to is in no query.
        let place = target.split('?').next().unwrap_or_default();
        let is_login = !place.contains("/job/")
            && ["login", "securityRealm", "oauth", "saml", "/auth"].iter().any(|word| place.contains(word));
        if is_login {
            return Err(Error::Unauthenticated { url: shown(url) });
        }
        // A front that wants https, or another name: the same path elsewhere.
        return match url.join(target) {
            Ok(to)
                if to.path().trim_end_matches('/') == url.path().trim_end_matches('/')
                    && to.origin() != url.origin() =>
            {
                Err(Error::Moved { url: shown(url), to: shown(&to) })
            }
            _ => Ok(answer),
        };
    }
    if status.is_success() {
        return Ok(answer);
    }
    let is_jenkins = answer.headers().contains_key("x-jenkins") || answer.headers().contains_key("x-hudson");
    let text = body(answer, url).await.unwrap_or_default();
    let reason = words(&text);
    Err(match status {
        StatusCode::UNAUTHORIZED => Error::Unauthenticated { url: shown(url) },
        // Whom Jenkins does not know at all it refuses so, with a page that leads to a login.
        StatusCode::FORBIDDEN if reason.contains("Authentication required") => {
            Error::Unauthenticated { url: shown(url) }
        }
        StatusCode::FORBIDDEN => Error::Denied { url: shown(url), reason },
        StatusCode::NOT_FOUND => Error::NotFound { what: what.to_owned() },
        _ if !is_jenkins && looks_like_a_page(&text) && status.is_client_error() => not_jenkins(url, &text),
        _ => Error::Answer { url: shown(url), status: status.as_u16(), reason },
    })
}

/// The body of an answer, as far as it is worth reading.
pub(crate) async fn body(mut answer: Response, url: &Url) -> Result<Vec<u8>> {
    // Lists of jobs may be long; only what claims to be an error is cut.
    let limit = if answer.status().is_success() { usize::MAX } else { WORDS_BYTES_MAX };
    let mut text = Vec::new();
    while text.len() < limit {
        match answer.chunk().await.map_err(|error| unreachable(url, error))? {
            Some(chunk) => text.extend_from_slice(&chunk),
            None => break,
        }
    }
    Ok(text)
}

pub(crate) fn unreachable(url: &Url, error: reqwest::Error) -> Error {
    // Without the address: it is said already, and may have credentials in it.
    let is_timeout = error.is_timeout();
    Error::Unreachable { url: shown(url), is_timeout, source: Box::new(error.without_url()) }
}

/// An address without what must not be seen.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

fn looks_like_a_page(text: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&text[..text.len().min(256)]).trim_start().to_lowercase();
    start.starts_with("<!doctype") || start.starts_with("<html") || start.starts_with("<head")
}

fn not_jenkins(url: &Url, text: &[u8]) -> Error {
    let text = String::from_utf8_lossy(text);
    let first_line = text.trim_start().lines().next().unwrap_or_default().chars().take(120).collect();
    Error::NotJenkins { url: shown(url), first_line }
}

/// What a page of Jenkins says, without its markup: the message of a 403 is in one.
fn words(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut plain = String::new();
    let mut is_markup = false;
    for letter in text.chars() {
        match letter {
            '<' => is_markup = true,
            '>' => {
                is_markup = false;
                plain.push(' ');
            }
            _ if !is_markup => plain.push(letter),
            _ => {}
        }
    }
    let plain: Vec<&str> = plain.split_whitespace().take(40).collect();
    plain.join(" ")
}
