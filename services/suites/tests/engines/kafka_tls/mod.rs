//! Kafka as MSK is set up, and as it is on machines of ours: TLS, names and authorities, SCRAM-SHA-512. Broker A stands behind a
//! gate that speaks both.
//!
//! Only with the feature `kafka-tls`, and with an rtcd that has it: `cargo xtask test kafka-tls`.

mod gate;
#[path = "../../../../platform/bus-kafka/src/tests/moved.rs"]
mod moved;
mod scram;

use std::path::Path;
use std::sync::Arc;

use bus::Bus;
use bus_kafka::{OpenError, Options};
use suites::platform::{Ended, Platform, run, seeded};
use tempfile::TempDir;

use self::gate::{Certificate, Gate};
use self::scram::{Answer, Exchange};
use crate::support::{Engine, Engines, Shopper};

const PASSWORD: &str = "not 2 be guessed";

fn options() -> Options {
    Options { password: Some(Arc::new(|| Ok(PASSWORD.to_owned()))), ..Options::default() }
}

/// A broker, and certificates for where its gate is and for somewhere else.
struct Ground {
    engines: Engines,
    folder: TempDir,
    here: Certificate,
    elsewhere: Certificate,
}

impl Ground {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let here = Certificate::of("127.0.0.1", folder.path());
        let elsewhere = Certificate::of("elsewhere.example", folder.path());
        Self { engines: Engines::start(&[Engine::KafkaA]).await, folder, here, elsewhere }
    }

    async fn gate(&self, certificate: Option<&Certificate>, password: Option<&str>) -> Gate {
        Gate::before(self.engines.kafka(Engine::KafkaA), certificate, password).await
    }
}

/// As Terraform says it of MSK.
fn msk(certificate: &Certificate) -> String {
    format!("security=sasl_tls&mechanism=SCRAM-SHA-512&user={}&ca={}", gate::USER, certificate.ca.display())
}

/// And of Kafka on machines of ours.
fn ec2() -> String {
    format!("security=sasl_plaintext&mechanism=SCRAM-SHA-512&user={}", gate::USER)
}

async fn does_all_that_a_bus_does(gate: &Gate, query: &str, name: &str) {
    let open = async || -> Arc<dyn Bus> { bus_kafka::open(&gate.url(query), options()).await.unwrap() };
    conformance::bus::all(&open, name).await;
    conformance::bus::shared(&open().await, name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_over_tls_with_a_signed_in_user_does_all_that_a_bus_does() {
    let ground = Ground::new().await;
    let gate = ground.gate(Some(&ground.here), Some(PASSWORD)).await;
    does_all_that_a_bus_does(&gate, &msk(&ground.here), "tls").await;
    assert!(gate.admitted() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_with_a_signed_in_user_and_without_tls_does_all_that_a_bus_does() {
    let ground = Ground::new().await;
    let gate = ground.gate(None, Some(PASSWORD)).await;
    does_all_that_a_bus_does(&gate, &ec2(), "scram").await;
    assert!(gate.admitted() > 0);
}

async fn refused(url: &str, options: Options) -> OpenError {
    bus_kafka::open(url, options).await.err().unwrap_or_else(|| panic!("{url} was opened"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_whose_certificate_proves_nothing_are_told_with_the_reason_and_shown_no_password() {
    let ground = Ground::new().await;
    let gate = ground.gate(Some(&ground.here), Some(PASSWORD)).await;
    let of_others = refused(&gate.url(&msk(&ground.elsewhere)), options()).await;
    let held_by = format!("of no authority that {} holds", ground.elsewhere.ca.display());
    assert!(
        matches!(&of_others, OpenError::Untrusted(why) if why.contains(&held_by) && why.contains("ca=FILE")),
        "{of_others:?}"
    );
    let unknown = refused(&gate.url("security=tls"), options()).await;
    assert!(
        matches!(&unknown, OpenError::Untrusted(why) if why.contains("this system knows")),
        "{unknown:?}"
    );

    let misnamed = ground.gate(Some(&ground.elsewhere), Some(PASSWORD)).await;
    let named = refused(&misnamed.url(&msk(&ground.elsewhere)), options()).await;
    assert!(matches!(&named, OpenError::Untrusted(why) if why.contains("for other names")), "{named:?}");
    assert_eq!(gate.admitted() + misnamed.admitted(), 0);

    let broken = ground.folder.path().join("broken.pem");
    std::fs::write(&broken, "no certificate").expect("a file");
    for (file, told) in [(broken.as_path(), "broken.pem"), (Path::new("/nowhere/ca.pem"), "cannot be read")] {
        let error = refused(&gate.url(&format!("security=tls&ca={}", file.display())), options()).await;
        assert!(matches!(&error, OpenError::Address(why) if why.contains(told)), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_whom_brokers_refuse_is_told_as_such() {
    let ground = Ground::new().await;
    let gate = ground.gate(Some(&ground.here), Some("another")).await;
    let error = refused(&gate.url(&msk(&ground.here)), options()).await;
    assert!(matches!(&error, OpenError::SignIn(why) if why.contains("invalid credentials")), "{error:?}");
    assert_eq!(gate.admitted(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rtcd_sells_over_tls_and_says_by_its_codes_why_it_does_not() {
    let ground = Ground::new().await;
    let gate = ground.gate(Some(&ground.here), Some(PASSWORD)).await;
    let directory = seeded().await;
    let data = directory.path().join("data");
    let secret = |name: &str, text: &str| {
        let file = ground.folder.path().join(name);
        std::fs::write(&file, text).expect("a secret");
        format!("file:{}", file.display())
    };
    let (right, wrong) = (secret("right", PASSWORD), secret("wrong", "5ecret"));
    let rtcd = |url: &str, password: &str| {
        let mut command = ground.engines.rtcd(&data, &[]);
        command.env("RTC_BUS", url).env("RTC_CREDENTIALS__BUS", password);
        command
    };

    let trusted = gate.url(&msk(&ground.here));
    let ended = async |url: &str, password: &str| -> Ended { run(rtcd(url, password)).await.expect(3) };
    for (url, password, code) in [
        (gate.url(&msk(&ground.elsewhere)), &right, "RTD036"),
        (trusted.clone(), &wrong, "RTD021"),
        (gate.url("security=tls&ca=/nowhere/ca.pem"), &right, "RTD001"),
    ] {
        let said = ended(&url, password).await.stderr;
        assert!(said.contains(&format!("error[{code}]")) && said.contains("hint: "), "{code}: {said}");
        assert!(!said.contains("5ecret") && !said.contains(PASSWORD), "{said}");
    }

    let platform = Platform::spawn(rtcd(&trusted, &right), &data).await;
    let shopper = Shopper::demo(&platform).await;
    let products = shopper.get("/api/v1/products?limit=1").await.expect(200);
    let product = products["data"][0]["id"].as_str().expect("a product");
    let order = shopper.order_to_its_end(product, "over-tls").await;
    assert_eq!(order["state"], "confirmed", "{order}");
    // What was published before lies in the log of the seed, so that invariants of the whole history are not asked here.
    assert_eq!(platform.stop().await, 0);
    assert!(gate.admitted() > 0);
}

#[test]
fn the_gate_lets_in_only_who_knows_the_password() {
    // What librdkafka 2.12.1 says for the user rtc with the password of these tests is proven by the tests above; here is
    // what must not be let in.
    let mut exchange = Exchange::new(gate::USER, PASSWORD);
    assert_eq!(exchange.answer(b"n,,n=other,r=mine"), Answer::Refused);
    let Answer::GoesOn(said) = exchange.answer(b"n,,n=rtc,r=mine") else { panic!("a first answer") };
    let nonce = String::from_utf8(said).unwrap().split(',').next().unwrap()[2..].to_owned();
    let proof = "A".repeat(86) + "==";
    assert_eq!(exchange.answer(format!("c=biws,r={nonce},p={proof}").as_bytes()), Answer::Refused);
    assert_eq!(exchange.answer(b"c=biws,r=mine,p="), Answer::Refused);
}
