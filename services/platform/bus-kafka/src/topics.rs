//! The topics of the platform on the brokers: created where they are missing, checked where they are there.
//!
//! Invariant: a topic is used with the number of partitions that its contract names; with any other, keys would be in
//! other partitions than their earlier messages.

use std::collections::HashMap;
use std::convert::identity;
use std::time::Duration;

use bus::{Error, MESSAGE_BYTES_MAX};
use contracts::topics::{self, Topic};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use tokio::time::Instant;

use crate::Settings;
use crate::client::{self, ASK_TIMEOUT, Watch};

/// The largest batch of one message: itself, its headers, and what the format adds.
pub(crate) const BATCH_BYTES: usize = MESSAGE_BYTES_MAX + 64 * 1024;

/// How long the settings of topics may take. Brokers that do not know the question may let it time out.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long brokers are first asked before it is looked whether asking goes on.
const FIRST_ASK: Duration = Duration::from_secs(1);

/// What the brokers say of all topics. What TLS refuses is refused at once: a certificate is no other one a little later.
fn asked(desk: &BaseConsumer<Watch>, deadline: Instant) -> Result<Metadata, Error> {
    let mut patience = FIRST_ASK;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let metadata = desk.fetch_metadata(None, left.min(patience));
        // The reason of a failure arrives as an event of its own.
        while desk.poll(Duration::from_millis(5)).is_some() {}
        let error = match metadata {
            Ok(metadata) => return Ok(metadata),
            Err(error) => error,
        };
        let is_refused = desk.context().trouble().is_some_and(|(code, _)| code == Code::SSL);
        if is_refused || left <= patience {
            return Err(desk.context().explain("the brokers do not answer", &error));
        }
        patience *= 2;
    }
}

/// How many partitions each topic has on the brokers; no entry where it does not exist.
fn found(desk: &BaseConsumer<Watch>, deadline: Instant) -> Result<HashMap<String, usize>, Error> {
    let metadata = asked(desk, deadline)?;
    desk.context().recovered();
    let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
    Ok(topics.map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect())
}

pub(crate) fn ensure(settings: &Settings, desk: &BaseConsumer<Watch>) -> Result<(), Error> {
    let deadline = Instant::now() + settings.options.open_timeout;
    let mut there = found(desk, deadline)?;
    let missing: Vec<Topic> =
        topics::ALL.into_iter().filter(|topic| !there.contains_key(topic.name)).collect();
    let admin: AdminClient<Watch> = client::create(settings, &client::desk(settings)?, identity)?;
    if !missing.is_empty() {
        create(settings, &admin, &missing)?;
    }
    // A controller answers before every broker knows.
    while topics::ALL.iter().any(|topic| !there.contains_key(topic.name)) {
        if Instant::now() >= deadline {
            let absent: Vec<_> = missing.iter().map(|topic| topic.name).collect();
            return Err(Error::Unavailable(format!(
                "topics are created and not there: {}",
                absent.join(", ")
            )));
        }
        there = found(desk, deadline)?;
    }
    for topic in topics::ALL {
        let partitions = there.get(topic.name).copied().unwrap_or(0);
        if u32::try_from(partitions) != Ok(topic.partitions) {
            return Err(Error::Misconfigured(format!(
                "topic {} has {partitions} partitions on the brokers and {} here",
                topic.name, topic.partitions
            )));
        }
    }
    check_settings(&admin)
}

fn retention_ms(topic: Topic) -> i64 {
    i64::from(topic.retention_days) * 86_400_000
}

fn create(settings: &Settings, admin: &AdminClient<Watch>, missing: &[Topic]) -> Result<(), Error> {
    let described: Vec<(Topic, String)> =
        missing.iter().map(|topic| (*topic, retention_ms(*topic).to_string())).collect();
    let batch_bytes = BATCH_BYTES.to_string();
    let replication = settings.address.replication.unwrap_or(-1);
    let new: Vec<NewTopic<'_>> = described
        .iter()
        .map(|(topic, retention)| {
            let partitions = i32::try_from(topic.partitions).unwrap_or(1);
            NewTopic::new(topic.name, partitions, TopicReplication::Fixed(replication))
                .set("cleanup.policy", "delete")
                .set("retention.ms", retention)
                .set("max.message.bytes", &batch_bytes)
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(ASK_TIMEOUT)).request_timeout(Some(ASK_TIMEOUT));
    let results = tokio::runtime::Handle::current()
        .block_on(admin.create_topics(&new, &options))
        .map_err(|error| admin.inner().context().explain("topics cannot be created", &error))?;
    for result in results {
        match result {
            // Another process was faster.
            Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                let doing = format!("topic {topic} cannot be created");
                return Err(admin.inner().context().explain(&doing, &KafkaError::Global(code)));
            }
        }
    }
    let names: Vec<_> = missing.iter().map(|topic| topic.name).collect();
    tracing::info!(topics = names.join(", "), "kafka: topics created");
    Ok(())
}

/// What an operator set otherwise: a size that refuses our messages is an error, another retention is said.
fn check_settings(admin: &AdminClient<Watch>) -> Result<(), Error> {
    let wanted: Vec<ResourceSpecifier<'_>> =
        topics::ALL.iter().map(|topic| ResourceSpecifier::Topic(topic.name)).collect();
    let options = AdminOptions::new().request_timeout(Some(DESCRIBE_TIMEOUT));
    let described =
        tokio::runtime::Handle::current().block_on(admin.describe_configs(wanted.iter(), &options));
    let described = match described {
        Ok(described) => described,
        Err(error) => {
            tracing::info!(%error, "kafka: the brokers do not show the settings of topics");
            return Ok(());
        }
    };
    for (topic, resource) in topics::ALL.into_iter().zip(described) {
        let Ok(resource) = resource else { continue };
        let number =
            |name: &str| resource.get(name).and_then(|entry| entry.value.as_ref()?.parse::<i64>().ok());
        let needed = i64::try_from(BATCH_BYTES).unwrap_or(i64::MAX);
        if let Some(limit) = number("max.message.bytes").filter(|limit| *limit < needed) {
            return Err(Error::Misconfigured(format!(
                "topic {} takes messages of {limit} bytes, and ours may have {needed} (max.message.bytes)",
                topic.name
            )));
        }
        if let Some(kept) = number("retention.ms").filter(|kept| *kept != retention_ms(topic)) {
            let wanted = retention_ms(topic);
            tracing::warn!(
                topic = topic.name,
                kept,
                wanted,
                "kafka: retention.ms is another than the contract's"
            );
        }
    }
    Ok(())
}
