//! What the gateway serves itself: the API's description, the storefront, the mailbox page.
//!
//! Invariants: everything is made once, at the start; a page runs only the script and the style that it came with (their
//! hashes are its content security policy) and talks to nobody but this entry.

use std::sync::Arc;

use aws_lc_rs::digest;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use host::Context;
use web::{Op, Policy, RouteInfo, Routes};

const STOREFRONT: &str = include_str!("pages/storefront.html");
const MAIL: &str = include_str!("pages/mail.html");

/// A body that never changes while the process runs.
#[derive(Clone)]
struct Fixed {
    body: Bytes,
    tag: HeaderValue,
    content_type: HeaderValue,
    policy: Option<HeaderValue>,
}

impl Fixed {
    fn new(body: impl Into<Bytes>, content_type: &'static str) -> Self {
        let body = body.into();
        let tag = HeaderValue::from_str(&format!("\"{}\"", hash(&body)))
            .unwrap_or(HeaderValue::from_static("\"0\""));
        Self { body, tag, content_type: HeaderValue::from_static(content_type), policy: None }
    }

    fn page(html: &'static str) -> Self {
        let policy = HeaderValue::from_str(&page_policy(html)).ok();
        Self { policy, ..Self::new(html, "text/html; charset=utf-8") }
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let known = asked.get(header::IF_NONE_MATCH).is_some_and(|value| {
            let tags = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            tags.map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag))
                .any(|tag| tag == b"*" || tag == self.tag.as_bytes())
        });
        let mut response = match known {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => {
                let mut response = self.body.clone().into_response();
                response.headers_mut().insert(header::CONTENT_TYPE, self.content_type.clone());
                response
            }
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.tag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Some(policy) = &self.policy {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
        }
        response
    }
}

fn hash(bytes: &[u8]) -> String {
    STANDARD.encode(digest::digest(&digest::SHA256, bytes))
}

/// What is between `<name>` and `</name>`.
fn element<'a>(html: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = html.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside)
}

fn page_policy(html: &str) -> String {
    let allowed = |name| {
        element(html, name).map_or("'none'".to_owned(), |text| format!("'sha256-{}'", hash(text.as_bytes())))
    };
    format!(
        "default-src 'none'; script-src {}; style-src {}; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        allowed("script"),
        allowed("style"),
    )
}

/// All of it, ready to be served.
pub(crate) struct Own {
    state: Arc<Pages>,
    mailbox: bool,
}

struct Pages {
    description: Fixed,
    storefront: Fixed,
    mail: Fixed,
}

impl Own {
    /// `table`: the routes of the services. The description lists them and itself.
    pub(crate) fn new(context: &Context, table: &[RouteInfo]) -> Self {
        let mut documented = table.to_vec();
        documented.extend(description().table());
        let document = web::document(&documented, env!("CARGO_PKG_VERSION")).to_string();
        let state = Pages {
            description: Fixed::new(document, "application/json"),
            storefront: Fixed::page(STOREFRONT),
            mail: Fixed::page(MAIL),
        };
        Self { state: Arc::new(state), mailbox: context.is_embedded() }
    }

    fn routes(&self) -> Routes<Arc<Pages>> {
        let page = |summary| {
            Op::new(summary).answers_raw::<String>(200, "text/html", "The page").answers_nothing(304, "Known")
        };
        let routes = description().get(
            "/",
            Policy::Public,
            page("The storefront"),
            async |State(pages): State<Arc<Pages>>, headers: HeaderMap| pages.storefront.answer(&headers),
        );
        if !self.mailbox {
            return routes;
        }
        routes.get(
            "/mail",
            Policy::Public,
            page("The mailbox (embedded profile): the page; its letters need an admin's token"),
            async |State(pages): State<Arc<Pages>>, headers: HeaderMap| pages.mail.answer(&headers),
        )
    }

    pub(crate) fn table(&self) -> Vec<RouteInfo> {
        self.routes().table()
    }

    pub(crate) fn router(&self, context: &Context) -> Router {
        self.routes().into_router(&context.edge, self.state.clone())
    }
}

fn description() -> Routes<Arc<Pages>> {
    Routes::new("gateway").get(
        "/api/v1/openapi.json",
        Policy::Public,
        Op::new("This description (OpenAPI 3.1)")
            .answers::<serde_json::Value>(200, "The description")
            .answers_nothing(304, "Known: send If-None-Match with its ETag"),
        async |State(pages): State<Arc<Pages>>, headers: HeaderMap| pages.description.answer(&headers),
    )
}
