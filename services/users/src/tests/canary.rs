//! Secrets and personal data with a mark of their own, and a search for the marks wherever they must not be.

use std::io::Write;
use std::sync::{Arc, Mutex};

use contracts::topics;
use serde_json::{Value, json};

use super::{fixture, text};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_and_no_personal_data_is_ever_in_clear() {
    let logs = Captured::default();
    let writer = logs.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // For the whole process: what follows a commit may be said on another thread.
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let f = fixture().await;
    let (email, password) = ("canary-mail@example.kr", "canary-password-31");
    let (name, phone, address) = ("Canary-Name", "010-5550-7391", "canary street 12, Seoul");
    let body =
        json!({ "email": email, "password": password, "name": name, "phone": phone, "address": address });
    let post = async |path: &str, body: &Value| {
        let answer = f.house.post(path).key("canary").json(body).send().await;
        let mid = testkit::dump(&f.users.db).await;
        f.house.settle().await;
        (answer.json, mid)
    };
    let mut seen = Vec::new();
    let mut clear: Vec<String> = [email, password, name, phone, address].map(str::to_owned).into();
    for body in [&body, &body, &json!({ "email": email, "password": password, "name": 7 })] {
        seen.push(post("/api/v1/users", body).await.1);
    }
    seen.push(post("/api/v1/users/verification", &json!({ "email": email })).await.1);
    let code = f.code_sent();
    seen.push(
        post("/api/v1/users/verification/confirm", &json!({ "email": email, "code": "ZZZZZ9" })).await.1,
    );
    seen.push(testkit::dump(&f.users.db).await);
    let wrong = "canary-wrong-password";
    seen.push(post("/api/v1/sessions", &json!({ "email": email, "password": wrong })).await.1);
    clear.push(wrong.to_owned());
    let (mut pair, mid) = post("/api/v1/sessions", &json!({ "email": email, "password": password })).await;
    seen.push(mid);
    let first_refresh = pair["refresh_token"].clone();
    for _ in 0..3 {
        clear.push(text(&pair["access_token"]).to_owned());
        clear.push(text(&pair["refresh_token"]).to_owned());
        let (next, mid) =
            post("/api/v1/sessions/refresh", &json!({ "refresh_token": pair["refresh_token"] })).await;
        seen.push(mid);
        pair = next;
    }
    f.house.advance(std::time::Duration::from_millis(30_001)).await;
    seen.push(post("/api/v1/sessions/refresh", &json!({ "refresh_token": first_refresh })).await.1);
    for topic in topics::ALL {
        seen.extend(f.house.bus.log(topic.name).iter().map(|delivery| delivery.payload.to_string()));
    }
    let logs = String::from_utf8(logs.0.lock().unwrap().clone()).unwrap();
    // The search would find something: the log was listened to, and the database was read.
    assert!(logs.contains("a refresh token came back"), "{logs}");
    assert!(seen.iter().any(|text| text.contains("refresh_token_reused")));
    seen.push(logs);
    for text in &seen {
        let lower = text.to_lowercase();
        for secret in &clear {
            assert!(!lower.contains(&secret.to_lowercase()), "{secret} in {text}");
        }
        // Six letters may turn up by chance within sealed text, never as a word of their own.
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
        assert!(words.into_iter().all(|word| word != code), "the code in {text}");
    }
}
