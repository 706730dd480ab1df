//! What all clients of the brokers have in common: settings, events, errors.
//!
//! Invariant: an error names its cause: the last trouble that librdkafka reported goes with it, unless something has
//! succeeded since.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::Error;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::statistics::Statistics;

use crate::Settings;
use crate::address::Address;
use crate::rest::SAY_EVERY;
use crate::sign_in::Shown;

/// How long one question to the brokers may take.
pub(crate) const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// What one call hands out at most: also a consumer of large messages stays small.
pub(crate) const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs what may wait for the network off the runtime's threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::Unavailable(error.to_string())))
}

/// Remembers what a client last complained of, and passes its log lines on.
#[derive(Default)]
pub(crate) struct Watch {
    trouble: Mutex<Option<(Code, String)>>,
    /// Whether there may be one: asked at every message.
    is_troubled: AtomicBool,
    shown: Shown,
}

impl Watch {
    pub fn new(shown: Shown) -> Self {
        Self { shown, ..Self::default() }
    }

    /// Brokers have refused its password, which is another one by now.
    pub fn gives_way(&self) -> bool {
        self.shown.gives_way()
    }

    /// Its password is another one by now.
    pub fn is_old(&self) -> bool {
        self.shown.is_old()
    }

    pub fn note(&self, error: &KafkaError, reason: &str) {
        // Said of every partition that is read to its end.
        if error.rdkafka_error_code() == Some(Code::PartitionEOF) {
            return;
        }
        if let Some(code) = error.rdkafka_error_code() {
            if matches!(code, Code::Authentication | Code::SaslAuthenticationFailed) {
                self.shown.refused();
            }
            // That no broker is left says less than why.
            let mut trouble = lock(&self.trouble);
            if code != Code::AllBrokersDown || trouble.is_none() {
                *trouble = Some((code, reason.to_owned()));
                self.is_troubled.store(true, Ordering::Release);
            }
        }
        tracing::warn!(%error, reason, "kafka");
    }

    /// The brokers did what was asked: what went wrong before explains nothing that comes.
    pub fn recovered(&self) {
        if self.is_troubled.swap(false, Ordering::AcqRel) {
            *lock(&self.trouble) = None;
        }
    }

    /// What it last complained of, and has not got over since.
    pub fn trouble(&self) -> Option<(Code, String)> {
        lock(&self.trouble).clone()
    }

    pub fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
        match level {
            RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info => tracing::debug!(facility, line, "librdkafka"),
            _ => tracing::warn!(facility, line, "librdkafka"),
        }
    }

    /// `error` as the port says it, with the cause.
    pub fn explain(&self, doing: &str, error: &KafkaError) -> Error {
        let trouble = self.trouble();
        let cause = trouble.as_ref().map(|(_, reason)| format!(" ({reason})")).unwrap_or_default();
        let text = format!("{doing}: {error}{cause}");
        let codes = [error.rdkafka_error_code(), trouble.map(|(code, _)| code)];
        if codes.into_iter().flatten().any(needs_somebody) {
            Error::Misconfigured(text)
        } else {
            Error::Unavailable(text)
        }
    }
}

/// Whether waiting does not help.
pub(crate) const fn needs_somebody(code: Code) -> bool {
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::SSL
            | Code::UnsupportedFeature
            | Code::UnsupportedVersion
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InvalidConfig
            | Code::PolicyViolation
            | Code::InvalidReplicationFactor
    )
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        Watch::log(level, facility, line);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.note(&error, reason);
    }
}

impl ConsumerContext for Watch {}

/// A client with `config`, which names the password that it signs in with. `context` is given the client's watch.
pub(crate) fn create<C, T>(
    settings: &Settings,
    config: &ClientConfig,
    context: impl FnOnce(Watch) -> C,
) -> Result<T, Error>
where
    C: ClientContext,
    T: FromClientConfigAndContext<C>,
{
    let shown = Shown::new(&settings.sign_in, config.get(PASSWORD).map(str::to_owned));
    T::from_config_and_context(config, context(Watch::new(shown)))
        .map_err(|error| Error::Misconfigured(format!("a client cannot be made: {error}")))
}

const PASSWORD: &str = "sasl.password";

/// Where the authorities are that brokers are trusted by. An OpenSSL that is compiled in knows the folder that it was built
/// for and no system's: librdkafka is told to look where systems keep theirs.
pub(crate) fn authorities(address: &Address) -> &str {
    address.ca.as_deref().unwrap_or("probe")
}

fn base(settings: &Settings) -> Result<ClientConfig, Error> {
    let (address, options) = (&settings.address, &settings.options);
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &address.servers)
        .set("client.id", &options.client_id)
        .set("security.protocol", address.security.protocol())
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        .set("socket.timeout.ms", "30000")
        .set("socket.connection.setup.timeout.ms", "10000")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "2000")
        .set("allow.auto.create.topics", "false")
        .set("log.connection.close", "false");
    if address.security.encrypts() {
        config
            .set("ssl.ca.location", authorities(address))
            .set("enable.ssl.certificate.verification", "true")
            .set("ssl.endpoint.identification.algorithm", "https");
    }
    if address.security.signs_in() {
        let password = settings.sign_in.ask()?;
        config.set("sasl.mechanism", address.mechanism.unwrap_or_default().name());
        config.set("sasl.username", address.user.as_deref().unwrap_or_default());
        config.set(PASSWORD, password);
    }
    config.set_log_level(RDKafkaLogLevel::Warning);
    Ok(config)
}

/// A client that asks only.
pub(crate) fn desk(settings: &Settings) -> Result<ClientConfig, Error> {
    base(settings)
}

pub(crate) fn producer(settings: &Settings) -> Result<ClientConfig, Error> {
    let mut config = base(settings)?;
    config
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        .set("acks", "all")
        .set("linger.ms", "1")
        .set("compression.type", "lz4")
        // Never message by message: see the module `producer`.
        .set("message.timeout.ms", "0")
        .set("request.timeout.ms", "15000")
        .set("message.max.bytes", crate::topics::BATCH_BYTES.to_string())
        .set("queue.buffering.max.kbytes", "131072")
        .set("queue.buffering.max.messages", "100000");
    Ok(config)
}

const FETCH_WAIT_MS: u16 = 250;

fn consumer(settings: &Settings, group: &str) -> Result<ClientConfig, Error> {
    let mut config = base(settings)?;
    config
        .set("group.id", format!("{}{group}", settings.options.group_prefix))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        // Read ahead little: what a consumer does not take stays with the brokers.
        .set("queued.min.messages", "2000")
        .set("queued.max.messages.kbytes", "2048")
        .set("fetch.message.max.bytes", "1048576")
        .set("fetch.max.bytes", "4194304")
        .set("message.max.bytes", crate::topics::BATCH_BYTES.to_string())
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.error.backoff.ms", "200")
        // After going back, or with partitions that came, what is under way is waited for first.
        .set("fetch.wait.max.ms", settings.address.fetch_wait_ms.unwrap_or(FETCH_WAIT_MS).to_string());
    Ok(config)
}

/// How often a member tells that it lives, and is told that something is divided anew.
pub(crate) fn heartbeat(session: Duration) -> Duration {
    (session / 3).max(Duration::from_millis(1))
}

pub(crate) fn member(settings: &Settings, group: &str) -> Result<ClientConfig, Error> {
    let mut config = consumer(settings, group)?;
    let session = settings.options.session_timeout;
    // librdkafka refuses a shorter time for handling than for the session.
    let handling = settings.options.handling_timeout.max(session);
    config
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", session.as_millis().to_string())
        .set("statistics.interval.ms", SAY_EVERY.as_millis().to_string())
        .set("heartbeat.interval.ms", heartbeat(session).as_millis().to_string())
        .set("max.poll.interval.ms", handling.as_millis().to_string());
    Ok(config)
}

/// Reads partitions that it names itself; joins no group.
pub(crate) fn reader(settings: &Settings) -> Result<ClientConfig, Error> {
    let mut config = consumer(settings, "reader")?;
    // Whoever asks at the end of a partition is told soon that it is the end.
    config.set("enable.partition.eof", "true").set("fetch.wait.max.ms", "20");
    Ok(config)
}

/// Asks what a group has committed; does not join it.
pub(crate) fn observer(settings: &Settings, group: &str) -> Result<ClientConfig, Error> {
    consumer(settings, group)
}
