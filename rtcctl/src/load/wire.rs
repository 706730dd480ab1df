//! Requests as they go over the wire, put together from parts that are prepared once.
//!
//! Invariants: the idempotency key of request *i* is the same however often it is sent; no two runs share a key.

use std::cell::RefCell;
use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use kernel::Timestamp;

use super::mix::Action;
use super::place::Place;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How an order is answered: at once, or once it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    Accept,
    WaitTerminal,
}

/// Everything that requests are made of.
pub struct Requests {
    run: String,
    host: HeaderValue,
    orders: Uri,
    transactions: Uri,
    products: Vec<(String, Uri)>,
    shoppers: Vec<HeaderValue>,
    operator: RefCell<HeaderValue>,
    began_at: Timestamp,
}

impl Requests {
    /// `run` names this run and no other: it is the start of every idempotency key. Tokens and product ids come from the
    /// platform; one that cannot stand in a header or a path is an error.
    pub fn new(
        run: String,
        place: &Place,
        route: Route,
        products: &[String],
        tokens: &[String],
        began_at: Timestamp,
    ) -> Result<Self, http::Error> {
        let orders = match route {
            Route::Accept => Uri::from_static("/api/v1/orders"),
            Route::WaitTerminal => Uri::from_static("/api/v1/orders?wait=terminal"),
        };
        let products = products
            .iter()
            .map(|id| Ok((id.clone(), Uri::try_from(format!("/api/v1/products/{id}"))?)))
            .collect::<Result<_, http::Error>>()?;
        Ok(Self {
            transactions: Uri::try_from(format!("/api/v1/transactions?source={run}"))?,
            run,
            host: HeaderValue::try_from(place.authority.as_str())?,
            orders,
            products,
            shoppers: tokens.iter().map(|token| bearer(token)).collect::<Result<_, http::Error>>()?,
            operator: RefCell::new(HeaderValue::from_static("")),
            began_at,
        })
    }

    /// Uses this token for what an operator sends, from now on.
    pub fn sign_in(&self, token: &str) -> Result<(), http::Error> {
        *self.operator.borrow_mut() = bearer(token)?;
        Ok(())
    }

    pub fn key(&self, index: u64) -> String {
        format!("{}-{index}", self.run)
    }

    pub fn build(&self, index: u64, action: &Action) -> Request<Full<Bytes>> {
        match action {
            Action::Browse { product } => {
                self.request(Method::GET, self.products[*product].1.clone(), None, Bytes::new())
            }
            Action::Order { shopper, lines } => {
                let mut body = String::with_capacity(40 + lines.len() * 80);
                body.push_str("{\"lines\":[");
                for (place, (product, quantity)) in lines.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    let id = &self.products[*product].0;
                    // Writing to a String cannot fail.
                    let _ = write!(body, "{comma}{{\"product_id\":\"{id}\",\"quantity\":{quantity}}}");
                }
                body.push_str("]}");
                let token = Some(self.shoppers[*shopper].clone());
                let mut request = self.request(Method::POST, self.orders.clone(), token, body.into());
                let key = HeaderValue::try_from(self.key(index)).unwrap_or(HeaderValue::from_static("load"));
                request.headers_mut().insert(IDEMPOTENCY_KEY, key);
                request
            }
            Action::Ingest { first, count } => {
                let mut body = String::with_capacity(*count as usize * 220);
                body.push_str("{\"transactions\":[");
                for number in *first..first + count {
                    let comma = if number == *first { "" } else { "," };
                    let at = Timestamp::from_millis(self.began_at.as_millis() + number as i64);
                    let (sku, quantity) = (number % 500, 1 + number % 5);
                    let _ = write!(
                        body,
                        "{comma}{{\"external_id\":\"{number}\",\"occurred_at\":\"{at}\",\"amount\":{},\
                         \"currency\":\"KRW\",\"description\":\"load\",\"category\":\"load-{}\",\
                         \"sku\":\"LOAD-{sku}\",\"quantity\":{quantity},\"invoice\":\"L{}\"}}",
                        1_000 * quantity,
                        sku % 10,
                        number / 10,
                    );
                }
                body.push_str("]}");
                let token = Some(self.operator.borrow().clone());
                self.request(Method::POST, self.transactions.clone(), token, body.into())
            }
        }
    }

    /// Looks at one order, as the shopper whose it is.
    pub fn look_at_order(&self, id: &str, shopper: usize) -> Request<Full<Bytes>> {
        let uri = Uri::try_from(format!("/api/v1/orders/{id}")).unwrap_or_default();
        self.request(Method::GET, uri, Some(self.shoppers[shopper].clone()), Bytes::new())
    }

    fn request(
        &self,
        method: Method,
        uri: Uri,
        token: Option<HeaderValue>,
        body: Bytes,
    ) -> Request<Full<Bytes>> {
        let has_body = !body.is_empty();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, token);
        }
        request
    }
}

fn bearer(token: &str) -> Result<HeaderValue, http::Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
    value.set_sensitive(true);
    Ok(value)
}
