//! One or more services in this process, in memory.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::Router;
use base64::Engine as _;
use contracts::{Role, SessionId, UserId};
use host::{Config, Context, Engines, Profile, Secrets, Service};
use http::Method;
use kernel::envelope::Event;
use kernel::id::SplitMix;
use kernel::{Clock, Envelope, IdSource, ManualClock, Timestamp};
use messaging::{Progress, Pump};
use uuid::Uuid;
use web::auth::Claims;

use crate::{Call, Faults, HostileBus};

/// 2026-03-01T12:00:00Z: when every test begins.
pub const NOON: Timestamp = Timestamp::from_millis(1_772_366_400_000);

/// The test's own signing key; the users service, where it takes part, has another.
const KEY_ID: &str = "test";

/// A house of services. Its router is that of all of them together.
pub struct House {
    pub context: Context,
    pub clock: Arc<ManualClock>,
    pub bus: HostileBus,
    pub services: Vec<Service>,
    pub router: Router,
    /// The data directory: mail and pictures go there.
    pub directory: tempfile::TempDir,
    signer: jsonwebtoken::EncodingKey,
    random: Mutex<SplitMix>,
    allowed_dead_letters: Mutex<bool>,
    checked_on_drop: bool,
}

impl House {
    /// Builds services with a well-behaved bus: `House::build(&[], async |context| vec![orders::service(context).await…])`.
    /// `sections` are settings by dotted key: `("services.orders", json!({…}))`.
    pub async fn build<E: std::fmt::Debug>(
        sections: &[(&str, serde_json::Value)],
        services: impl AsyncFnOnce(&Context) -> Result<Vec<Service>, E>,
    ) -> Self {
        Self::build_with(1, Faults::default(), sections, services).await
    }

    pub async fn build_with<E: std::fmt::Debug>(
        seed: u64,
        faults: Faults,
        sections: &[(&str, serde_json::Value)],
        services: impl AsyncFnOnce(&Context) -> Result<Vec<Service>, E>,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::at(NOON));
        let shared: Arc<dyn Clock> = clock.clone();
        let bus = HostileBus::new(shared.clone(), seed, faults);
        let context = context(directory.path(), sections, shared, &bus, seed);
        let pair = Ed25519KeyPair::generate().expect("a key pair");
        let public = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        context.verifier.add_key(KEY_ID, &public).expect("a good key");
        let private = pair.to_pkcs8v1().expect("a private key");
        let services = services(&context).await.expect("services that start");
        let router =
            services.iter().fold(Router::new(), |router, service| router.merge(service.router.clone()));
        Self {
            context,
            clock,
            bus,
            services,
            router,
            directory,
            signer: jsonwebtoken::EncodingKey::from_ed_der(private.as_ref()),
            random: Mutex::new(SplitMix(seed ^ 0x5eed)),
            allowed_dead_letters: Mutex::new(false),
            checked_on_drop: true,
        }
    }

    /// The process dies and comes back: the databases and the bus are as they were, everything in memory is gone.
    pub async fn restart<E: std::fmt::Debug>(
        &mut self,
        services: impl AsyncFnOnce(&Context) -> Result<Vec<Service>, E>,
    ) {
        self.services.clear();
        self.services = services(&self.context).await.expect("services that start again");
        self.router =
            self.services.iter().fold(Router::new(), |router, service| router.merge(service.router.clone()));
    }

    pub fn service(&self, name: &str) -> &Service {
        self.services.iter().find(|service| service.name == name).expect("a service of this name")
    }

    pub fn call(&self, method: &str, path: &str) -> Call {
        Call::new(self.router.clone(), method.parse::<Method>().expect("a method"), path)
    }

    pub fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    pub fn post(&self, path: &str) -> Call {
        self.call("POST", path)
    }

    /// An access token for a user who exists only by this token, with a verified address.
    pub fn token(&self, user: UserId, role: Role) -> String {
        self.token_with(user, role, true)
    }

    pub fn token_with(&self, user: UserId, role: Role, verified: bool) -> String {
        let now = self.clock.now().as_millis();
        let claims = Claims {
            iss: web::auth::ISSUER.to_owned(),
            aud: web::auth::AUDIENCE.to_owned(),
            sub: user,
            role,
            sid: SessionId::from(user.uuid()),
            jti: "test".to_owned(),
            verified,
            iat_ms: now,
            iat: now / 1_000,
            exp: now / 1_000 + 900,
        };
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
        header.kid = Some(KEY_ID.to_owned());
        jsonwebtoken::encode(&header, &claims, &self.signer).expect("a token")
    }

    /// The n-th made-up user.
    pub fn user(n: u128) -> UserId {
        UserId::from(Uuid::from_u128(0x0199_b4a0_0000_7000_8000_0000_0000_0000 + n))
    }

    /// Publishes a message as if `source` had sent it.
    pub async fn publish<E: Event>(
        &self,
        topic: contracts::topics::Topic,
        source: &str,
        subject: &str,
        event: &E,
    ) {
        let envelope = Envelope {
            id: self.context.ids.next(),
            event_type: E::TYPE.to_owned(),
            source: source.to_owned(),
            subject: subject.to_owned(),
            sequence: 0,
            time: self.clock.now(),
            correlation_id: Some(subject.to_owned()),
            causation_id: None,
            traceparent: None,
            data: serde_json::value::to_raw_value(event).expect("an event is JSON"),
        };
        let message = bus::Message {
            topic: topic.name.into(),
            key: subject.to_owned(),
            payload: serde_json::to_string(&envelope).expect("an envelope is JSON").into(),
        };
        // The answer may be lost by design; the message is not.
        let _ = bus::Bus::publish(&self.bus, vec![message]).await;
    }

    /// All messages of type `E` on a topic, each once, in the order in which they were published.
    pub fn published<E: Event>(&self, topic: contracts::topics::Topic) -> Vec<E> {
        let mut seen = std::collections::HashSet::new();
        let envelopes = self.bus.log(topic.name).into_iter().filter_map(|delivery| delivery.envelope().ok());
        envelopes
            .filter(|envelope| envelope.event_type == E::TYPE && seen.insert(envelope.id))
            .map(|envelope| envelope.decode().expect("an event of its type"))
            .collect()
    }

    fn pumps(&self) -> Vec<Arc<dyn Pump>> {
        self.services.iter().flat_map(|service| service.pumps.iter().cloned()).collect()
    }

    /// Turns every pump until none finds work. Panics where that does not end.
    pub async fn settle(&self) {
        let pumps = self.pumps();
        for _ in 0..10_000 {
            let mut worked = false;
            for pump in &pumps {
                match pump.step().await {
                    Ok(progress) => worked |= progress == Progress::Worked,
                    Err(error) if error.kind().is_transient() => worked = true,
                    Err(error) => panic!("{}: {error:?}", pump.name()),
                }
            }
            // A relay whose bus has refused something rests before it tries again, and calls that idle.
            if !worked && self.bus.undelivered() == 0 && self.is_sent() {
                return;
            }
        }
        panic!("the house does not settle: {} messages under way", self.bus.undelivered());
    }

    /// Whether no message waits in an outbox.
    fn is_sent(&self) -> bool {
        let any = "SELECT 1 FROM outbox LIMIT 1";
        self.services.iter().all(|service| {
            let waits: Result<Option<()>, db::Error> =
                service.db.read_now(|tx| tx.query_opt(any, db::params![], |_| Ok(())));
            !matches!(waits, Ok(Some(())))
        })
    }

    /// Turns one pump, chosen by the seed.
    pub async fn step_any(&self) {
        let pumps = self.pumps();
        let choice = self.random(pumps.len() as u64);
        if let Some(pump) = pumps.get(usize::try_from(choice).unwrap_or(0))
            && let Err(error) = pump.step().await
            && !error.kind().is_transient()
        {
            panic!("{}: {error:?}", pump.name());
        }
    }

    /// A number in `0..bound`, from the seed.
    pub fn random(&self, bound: u64) -> u64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).below(bound)
    }

    pub async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.settle().await;
    }

    /// This test makes dead letters on purpose.
    pub fn allow_dead_letters(&self) {
        *self.allowed_dead_letters.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Skips the check on drop: for a test that ends in the middle of something on purpose.
    pub fn leave_unsettled(mut self) {
        self.checked_on_drop = false;
    }

    /// Nothing is left undone: no outbox row, no undelivered message, no dead letter.
    #[track_caller]
    pub fn assert_settled(&self) {
        let count = |service: &Service, table: &str| -> i64 {
            let sql = format!("SELECT COUNT(*) FROM {table}");
            service
                .db
                .read_now(|tx| tx.query_one(&sql, db::params![], |row| row.get(0)))
                .unwrap_or_else(|error: db::Error| panic!("{}: {error}", service.name))
        };
        let dead_letters_allowed = *self.allowed_dead_letters.lock().unwrap_or_else(PoisonError::into_inner);
        for service in &self.services {
            assert_eq!(count(service, "outbox"), 0, "{} has messages in its outbox: settle()", service.name);
            if !dead_letters_allowed {
                assert_eq!(count(service, "dead_letters"), 0, "{} has dead letters", service.name);
            }
        }
        assert_eq!(self.bus.undelivered(), 0, "messages are still under way: settle()");
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if self.checked_on_drop && !std::thread::panicking() {
            self.assert_settled();
        }
    }
}

fn context(
    directory: &Path,
    sections: &[(&str, serde_json::Value)],
    clock: Arc<dyn Clock>,
    bus: &HostileBus,
    seed: u64,
) -> Context {
    let config = Config::for_tests(directory, sections).expect("a good configuration");
    let ids = IdSource::new(clock.clone(), seed);
    let secrets = Secrets::new(Some(directory.join("secrets")), Profile::Embedded);
    let databases = crate::databases::databases(directory, &config);
    let engines = Engines::embedded(&config, &ids, Arc::new(bus.clone()), databases);
    Context::new(config, clock, ids, engines, secrets).expect("a context")
}
