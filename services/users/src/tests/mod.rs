//! The service as its callers meet it: over HTTP, on a clock that stands still.

mod accounts;
mod canary;
mod keys;
mod lockout;
mod replicas;
mod sealed;
mod seeds;
mod sessions;
mod verification;

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use contracts::Role;
use contracts::topics::USERS;
use contracts::users::VerificationRequested;
use host::{Context, StartError};
use serde_json::{Value, json};
use testkit::{Answer, Call, House};

use crate::Users;

pub(super) const PASSWORD: &str = "a horse in the rain 7";

pub(super) struct Fixture {
    pub house: House,
    pub users: Users,
}

/// Cheap hashes, and no limits but those that a test asks for.
pub(super) fn sections() -> Vec<(&'static str, Value)> {
    vec![
        (
            "limits",
            json!({ "login": 0, "register": 0, "refresh": 0, "verification": 0, "verification_confirm": 0 }),
        ),
        ("services.users", json!({ "password": { "memory_kib": 64, "passes": 1 } })),
    ]
}

pub(super) async fn fixture_with(sections: &[(&str, Value)]) -> Fixture {
    let mut built = None;
    let house = House::build(sections, async |context: &Context| {
        let (service, users) = crate::build(context).await?;
        built = Some(users);
        Ok::<_, StartError>(vec![service])
    })
    .await;
    house.settle().await;
    Fixture { house, users: built.unwrap() }
}

pub(super) async fn fixture() -> Fixture {
    fixture_with(&sections()).await
}

/// A process of its own on the same databases: whatever it knows, it has read.
pub(super) async fn another_process(fixture: &Fixture, sections: &[(&str, Value)]) -> Fixture {
    let old = &fixture.house.context;
    let config = host::Config::for_tests(fixture.house.directory.path(), sections).unwrap();
    let context = Context::new(
        config,
        old.clock.clone(),
        old.ids.clone(),
        host::Engines {
            bus: old.bus.clone(),
            databases: old.databases.clone(),
            cache: old.cache.clone(),
            objects: old.objects.clone(),
        },
        old.secrets.clone(),
    )
    .unwrap();
    let mut built = None;
    let house = House::build(&[], async |_: &Context| {
        let (service, users) = crate::build(&context).await?;
        built = Some(users);
        Ok::<_, StartError>(vec![service])
    })
    .await;
    Fixture { house, users: built.unwrap() }
}

impl Fixture {
    pub fn admin(&self) -> String {
        self.house.token(House::user(99), Role::Admin)
    }

    pub async fn register(&self, email: &str) -> Value {
        let body = json!({ "email": email, "password": PASSWORD, "name": "Kim Minji" });
        let view = self.house.post("/api/v1/users").json(&body).send().await.expect(201);
        self.house.settle().await;
        view
    }

    pub async fn try_sign_in(&self, email: &str, password: &str) -> Answer {
        let body = json!({ "email": email, "password": password });
        self.house.post("/api/v1/sessions").json(&body).send().await
    }

    pub async fn sign_in(&self, email: &str) -> Value {
        self.try_sign_in(email, PASSWORD).await.expect(201)
    }

    /// As [`Fixture::try_sign_in`], from an address of its own.
    pub async fn try_sign_in_from(&self, address: &str, email: &str, password: &str) -> Answer {
        let peer: SocketAddr = format!("{address}:5000").parse().unwrap();
        let router = self.house.router.clone().layer(axum::Extension(ConnectInfo(peer)));
        let body = json!({ "email": email, "password": password });
        Call::new(router, "POST".parse().unwrap(), "/api/v1/sessions").json(&body).send().await
    }

    pub async fn try_refresh(&self, token: &Value) -> Answer {
        self.house.post("/api/v1/sessions/refresh").json(&json!({ "refresh_token": token })).send().await
    }

    pub async fn me(&self, signed_in: &Value) -> Answer {
        self.house.get("/api/v1/users/me").token(text(&signed_in["access_token"])).send().await
    }

    pub async fn ask_for_code(&self, email: &str) -> Answer {
        let body = json!({ "email": email });
        let answer = self.house.post("/api/v1/users/verification").json(&body).send().await;
        self.house.settle().await;
        answer
    }

    pub async fn confirm(&self, email: &str, code: &str) -> Answer {
        let body = json!({ "email": email, "code": code });
        let answer = self.house.post("/api/v1/users/verification/confirm").json(&body).send().await;
        self.house.settle().await;
        answer
    }

    /// The code of the newest mail.
    pub fn code_sent(&self) -> String {
        let sent = self.house.published::<VerificationRequested>(USERS);
        self.users.vault.open(&sent.last().expect("a code that was sent").code).unwrap()
    }

    pub fn admin_call(&self, path: &str, body: &Value) -> Call {
        let router = self.house.service("users").admin.clone();
        Call::new(router, "POST".parse().unwrap(), path).json(body)
    }
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

/// A problem without what differs from request to request.
pub(super) fn without_request_id(answer: Answer) -> (u16, Value) {
    let mut body = answer.json;
    if let Some(fields) = body.as_object_mut() {
        fields.remove("request_id");
    }
    (answer.status, body)
}
