//! Why brokers are not trusted. OpenSSL says of every certificate that it refuses the same words, and librdkafka adds advice
//! that names settings of its own.
//!
//! Invariant: who looks a second time, without comparing names, says nothing that is secret: it signs in nowhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;

use crate::Settings;
use crate::client::authorities;

/// How long the second look may take.
const LOOK: Duration = Duration::from_secs(3);

/// What is to be done where TLS fails with `reason`.
pub(crate) fn why(settings: &Settings, reason: &str) -> String {
    if !reason.contains("certificate verify failed") {
        return format!("TLS does not come about: {reason}");
    }
    let said = reason.split(": broker certificate could not be verified").next().unwrap_or(reason);
    if is_good_for_another_name(settings) {
        return format!(
            "the certificate is a good one for other names than that of the address; name brokers as their \
             certificates do ({said})"
        );
    }
    let known = settings
        .address
        .ca
        .as_ref()
        .map_or_else(|| "this system knows (package ca-certificates)".to_owned(), |ca| format!("{ca} holds"));
    format!(
        "the certificate is of no authority that {known}, or it is out of date; ca=FILE in the address names other \
         authorities ({said})"
    )
}

#[derive(Default)]
struct Onlooker {
    has_seen_a_good_one: AtomicBool,
}

impl ClientContext for Onlooker {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, _: &str) {
        // What librdkafka says in debug=security of a certificate that has stood the test.
        if facility == "SSLVERIFY" {
            self.has_seen_a_good_one.store(true, Ordering::Relaxed);
        }
    }

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Onlooker {}

/// Whether it is the name alone.
fn is_good_for_another_name(settings: &Settings) -> bool {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.address.servers)
        .set("client.id", &settings.options.client_id)
        .set("security.protocol", "ssl")
        .set("ssl.ca.location", authorities(&settings.address))
        .set("ssl.endpoint.identification.algorithm", "none")
        .set("debug", "security")
        .set_log_level(RDKafkaLogLevel::Debug);
    let Ok(client) = config.create_with_context::<_, BaseConsumer<Onlooker>>(Onlooker::default()) else {
        return false;
    };
    // Brokers that want to be signed in to give no answer, and have shown their certificate by then.
    let _ = client.fetch_metadata(None, LOOK);
    while client.poll(Duration::from_millis(100)).is_some() {}
    client.context().has_seen_a_good_one.load(Ordering::Relaxed)
}
