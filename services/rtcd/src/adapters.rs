//! The engines of production: this binary, and nothing else of the house, links their adapters.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bus::Bus;
use cache::Cache;
use db::Db;
use host::{Adapters, Config, Engine, Problem, Provider, StartError};
use objects::Objects;

use crate::Target;

/// Opens `mysql://`, `kafka://`, `redis://`, `rediss://` and `s3://`.
pub struct Linked {
    passwords: Passwords,
}

/// Asked at every new connection, so that they can be rotated.
#[derive(Default)]
struct Passwords {
    /// By the name of the service that connects.
    databases: BTreeMap<&'static str, Provider>,
    bus: Option<Provider>,
    cache: Option<Provider>,
}

impl Linked {
    /// Looks up the passwords of what `targets` need: one that cannot be had is said before anything is opened.
    pub fn new(config: &Config, targets: &[Target]) -> Result<Self, StartError> {
        let is_outside = |engine: &str| engine != "embedded";
        let mut passwords = Passwords::default();
        for Target { name, .. } in targets {
            if config.engines.database_url(name).is_some()
                && let Some(password) = config.credential(Engine::Database, name)?
            {
                passwords.databases.insert(name, password);
            }
        }
        if is_outside(&config.engines.bus) {
            passwords.bus = config.credential(Engine::Bus, "rtc")?;
        }
        if is_outside(&config.engines.cache) {
            passwords.cache = config.credential(Engine::Cache, "rtc")?;
        }
        Ok(Self { passwords })
    }
}

fn scheme_is(url: &str, wanted: &[&str]) -> bool {
    wanted.iter().any(|scheme| url.starts_with(&format!("{scheme}://")))
}

/// What is wrong with an address that leads to none of the `known` engines.
fn unknown(url: &str, known: &str) -> String {
    let problem = match host::scheme_of(url) {
        Some(scheme) => format!("{scheme:?} is no engine that this program knows"),
        None => "it has no scheme".to_owned(),
    };
    format!("{problem}; there are {known}")
}

fn engine(which: Engine, url: &str, problem: Problem, detail: impl ToString) -> StartError {
    StartError::Engine { which, name: without_password(url), problem, detail: detail.to_string() }
}

/// The address as it may be shown.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let place = match rest.rsplit_once('@') {
        // A password may hold what would end the place: behind the last at sign there is none of it.
        Some((_, behind)) => behind.split(['/', '?']).next().unwrap_or(""),
        None => &rest[..end],
    };
    format!("{scheme}://{place}")
}

#[async_trait]
impl Adapters for Linked {
    async fn database(&self, service: &str, url: &str) -> Result<Db, db::Error> {
        if !scheme_is(url, &["mysql"]) {
            return Err(db::Error::Address(unknown(url, "embedded, mysql://")));
        }
        let password = self.passwords.databases.get(service).cloned();
        let (url, options) = (url.to_owned(), db_mysql::Options { password });
        let opened = tokio::task::spawn_blocking(move || db_mysql::open(&url, options)).await;
        opened.unwrap_or(Err(db::Error::Closed))
    }

    async fn bus(&self, url: &str) -> Result<Arc<dyn Bus>, StartError> {
        use bus_kafka::OpenError;
        if !scheme_is(url, &["kafka"]) {
            return Err(StartError::Config(format!("bus: {}", unknown(url, "embedded, kafka://"))));
        }
        let options =
            bus_kafka::Options { password: self.passwords.bus.clone(), ..bus_kafka::Options::default() };
        let opened = bus_kafka::open(url, options).await;
        opened.map_err(|error| match error {
            OpenError::Address(reason) => StartError::Config(format!("bus: {reason}")),
            OpenError::SignIn(detail) => engine(Engine::Bus, url, Problem::AccessDenied, detail),
            OpenError::Untrusted(detail) => engine(Engine::Bus, url, Problem::Untrusted, detail),
            OpenError::Bus(bus::Error::Unavailable(detail)) => {
                engine(Engine::Bus, url, Problem::Unreachable, detail)
            }
            OpenError::Bus(error) => engine(Engine::Bus, url, Problem::Mismatch, error),
        })
    }

    async fn cache(&self, url: &str) -> Result<Arc<dyn Cache>, StartError> {
        use cache_redis::OpenError as Error;
        if !scheme_is(url, &["redis", "rediss"]) {
            let problem = unknown(url, "embedded, redis://, rediss://");
            return Err(StartError::Config(format!("cache: {problem}")));
        }
        let mut options = cache_redis::Options::default();
        if let Some(password) = self.passwords.cache.clone() {
            options.password = Arc::new(move || password().map(Some).map_err(Into::into));
        }
        cache_redis::open(url, options).await.map_err(|error| match error {
            Error::Url(reason) => StartError::Config(format!("cache: {reason}")),
            Error::NoAuthorities(_) => StartError::Config(format!("cache: {error}")),
            Error::Password(_) | Error::NoPassword(_) => {
                engine(Engine::Cache, url, Problem::AccessDenied, error)
            }
            Error::TooOld { .. } => engine(Engine::Cache, url, Problem::TooOld, error),
            Error::Untrusted(_) | Error::WrongName(_) => {
                engine(Engine::Cache, url, Problem::Untrusted, error)
            }
            Error::InTheOpen | Error::Encrypted | Error::Handshake(_) => {
                engine(Engine::Cache, url, Problem::Mismatch, error)
            }
        })
    }

    async fn objects(&self, url: &str) -> Result<Arc<dyn Objects>, StartError> {
        if !scheme_is(url, &["s3"]) {
            return Err(StartError::Config(format!("objects: {}", unknown(url, "folder, s3://"))));
        }
        objects_s3::open(url, objects_s3::Options::default()).await.map_err(|error| match error {
            objects_s3::OpenError::Url(reason) => StartError::Config(format!("objects: {reason}")),
            objects_s3::OpenError::Refused(_) => engine(Engine::Objects, url, Problem::Missing, error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_leads_to_no_engine_is_a_mistake_in_the_configuration_and_shows_no_password() {
        let linked = Linked { passwords: Passwords::default() };
        for (address, told) in [
            ("root:hunter2@db/rtc", "it has no scheme"),
            ("oracle://root:hunter2@db/rtc", "\"oracle\" is no engine"),
        ] {
            let source = linked.database("orders", address).await.err().unwrap();
            let refused = [
                StartError::Database { name: "orders".to_owned(), source },
                linked.bus(address).await.err().unwrap(),
                linked.cache(address).await.err().unwrap(),
                linked.objects(address).await.err().unwrap(),
            ];
            for error in refused {
                assert_eq!((error.code(), error.exit_code()), ("RTD001", 3), "{error}");
                assert!(
                    error.to_string().contains(told) && !error.to_string().contains("hunter2"),
                    "{error}"
                );
            }
        }
    }

    async fn bus_refused(query: &str) -> StartError {
        let linked = Linked { passwords: Passwords::default() };
        linked.bus(&format!("kafka://127.0.0.1:1?{query}")).await.err().unwrap()
    }

    #[tokio::test]
    #[cfg(not(feature = "kafka-tls"))]
    async fn a_program_without_tls_to_kafka_says_how_it_is_built_with_it() {
        for query in ["security=sasl_tls&user=rtc", "security=sasl_plaintext&user=rtc", "security=tls"] {
            let error = bus_refused(query).await;
            assert_eq!((error.code(), error.exit_code()), ("RTD001", 3), "{error}");
            let told = "this rtcd was built without TLS to Kafka: build with --features kafka-tls";
            assert!(error.to_string().contains(told), "{error}");
        }
    }

    #[tokio::test]
    async fn an_address_of_kafka_that_cannot_be_used_is_told_before_anybody_is_asked() {
        for (query, code, told) in [
            ("security=maybe", "RTD001", "\"maybe\" is unknown"),
            ("ca=/etc/ca.pem", "RTD001", "ca goes with"),
            ("security=sasl_plaintext&mechanism=PLAIN&user=rtc", "RTD021", "needs a password"),
        ] {
            let error = bus_refused(query).await;
            assert_eq!((error.code(), error.exit_code()), (code, 3), "{error}");
            assert!(error.to_string().contains(told), "{error}");
        }
    }

    #[test]
    fn an_address_is_shown_without_what_is_secret_in_it() {
        for (url, shown) in [
            ("redis://:pa/ss@here:1/0", "redis://here:1"),
            ("redis://user:secret@here:6379/0", "redis://here:6379"),
            ("rediss://:secret@here:6379?ca=/etc/ca.pem", "rediss://here:6379"),
            ("kafka://one:9092,two:9092?user=x", "kafka://one:9092,two:9092"),
            ("s3://bucket/prefix", "s3://bucket"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
