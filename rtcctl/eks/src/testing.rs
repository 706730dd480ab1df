//! An AWS to be tested against: EKS, EC2 and STS as their references document them, over HTTP, with a healthy cluster in it.
//!
//! Invariant: what a test did not put there is answered as AWS answers about what there is not.

mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::Eks;

pub use world::{CLUSTER, OPERATOR, REGION, ca_pem, entry_at, instance};

pub const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub const SECRET_KEY: &str = "not-a-secret";

/// A server that lives as long as the test's runtime.
#[derive(Debug, Clone)]
pub struct Aws {
    url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    asked: Vec<String>,
}

#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    /// The code of a refusal.
    code: Option<String>,
    body: String,
}

impl Aws {
    /// Starts it, with the cluster [`CLUSTER`] in it.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let aws = Self { url: format!("http://{address}"), state: Arc::default() };
        world::fill(&aws);
        let served = aws.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = served.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let served = served.clone();
                        async move { Ok::<_, std::convert::Infallible>(served.answer(request).await) }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        aws
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// What clients are made from: static keys, and nothing repeated.
    pub fn config(&self) -> SdkConfig {
        let keys = Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "testing");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(SharedCredentialsProvider::new(keys))
            .retry_config(RetryConfig::disabled())
            .endpoint_url(&self.url)
            .build()
    }

    pub fn eks(&self) -> Eks {
        Eks::new(&self.config())
    }

    /// What EKS answers at an address: `GET /clusters/NAME`.
    pub fn eks_answers(&self, address: &str, body: Value) {
        self.put(address, Answer { status: 200, code: None, body: body.to_string() });
    }

    /// Changes one answer of EKS.
    pub fn change(&self, address: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        let answer = state.answers.get_mut(address).expect("there is such an answer");
        let mut body: Value = serde_json::from_str(&answer.body).expect("answers are JSON");
        change(&mut body);
        answer.body = body.to_string();
    }

    /// What EC2 answers to an action, inside of its envelope.
    pub fn ec2_answers(&self, action: &str, content: &str) {
        let body = format!("<{action}Response><requestId>r-1</requestId>{content}</{action}Response>");
        self.put(&format!("ec2 {action}"), Answer { status: 200, code: None, body });
    }

    /// Who STS takes us for.
    pub fn we_are(&self, arn: &str) {
        let body = format!(
            "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>{arn}</Arn><UserId>AROAEXAMPLE:x</UserId>\
             <Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
        );
        self.put("sts GetCallerIdentity", Answer { status: 200, code: None, body });
    }

    /// Refuses: an address of EKS, `ec2 ACTION`, or `sts GetCallerIdentity`.
    pub fn refuse(&self, address: &str, status: u16, code: &str, message: &str) {
        let answer = Answer { status, code: Some(code.to_owned()), body: message.to_owned() };
        self.put(address, answer);
    }

    /// What was asked since the last look, in the order of arrival.
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    fn put(&self, address: &str, answer: Answer) {
        self.state().answers.insert(address.to_owned(), answer);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let body = String::from_utf8_lossy(&body).into_owned();
        let action = body.split('&').find_map(|pair| pair.strip_prefix("Action="));
        let (address, form) = match action {
            Some("GetCallerIdentity") if path == "/" => ("sts GetCallerIdentity".to_owned(), Form::Sts),
            Some(action) if path == "/" => (format!("ec2 {action}"), Form::Ec2),
            _ => (format!("{} {path}", head.method), Form::Eks),
        };
        let mut state = self.state();
        state.asked.push(address.clone());
        let answer = state.answers.get(&address).cloned().unwrap_or_else(|| nothing(form, &path));
        drop(state);
        answer.response(form)
    }
}

/// How a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Eks,
    Ec2,
    Sts,
}

/// "Common error types": what there is not.
fn nothing(form: Form, path: &str) -> Answer {
    let (status, code, message) = match form {
        Form::Ec2 | Form::Sts => {
            (400, "InvalidAction", "the action is not valid for this endpoint".to_owned())
        }
        Form::Eks => {
            let name = path.split('/').nth(2).unwrap_or_default();
            (404, "ResourceNotFoundException", format!("No cluster found for name: {name}."))
        }
    };
    Answer { status, code: Some(code.to_owned()), body: message }
}

impl Answer {
    fn response(self, form: Form) -> Response<Full<Bytes>> {
        let kind = if form == Form::Eks { "application/json" } else { "text/xml" };
        let mut response = Response::builder().status(self.status).header("content-type", kind);
        let body = match (self.code, form) {
            (None, _) => self.body,
            (Some(code), Form::Ec2) => format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>{}</Message></Error></Errors>\
                 <RequestID>r-1</RequestID></Response>",
                self.body
            ),
            (Some(code), Form::Sts) => format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{}</Message></Error>\
                 <RequestId>r-1</RequestId></ErrorResponse>",
                self.body
            ),
            (Some(code), Form::Eks) => {
                response = response.header("x-amzn-errortype", code);
                serde_json::json!({"message": self.body}).to_string()
            }
        };
        response.body(Full::new(Bytes::from(body))).expect("the head is well formed")
    }
}
