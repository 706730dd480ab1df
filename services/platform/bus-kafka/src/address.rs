//! The URL of a cluster: `kafka://host:port,host:port?security=…&mechanism=…&user=…&ca=…&replication=…`, and times.
//!
//! Invariants:
//! - a password is not part of it, and one that is written there is refused rather than ignored;
//! - so is what would have no effect: authorities where nothing is encrypted, a user where nobody signs in;
//! - what this program was built without is refused here, in our words, and never gets as far as librdkafka.

use std::time::Duration;

use kernel::percent;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Security {
    #[default]
    Plaintext,
    Tls,
    SaslPlaintext,
    SaslTls,
}

impl Security {
    pub const fn protocol(self) -> &'static str {
        match self {
            Security::Plaintext => "plaintext",
            Security::Tls => "ssl",
            Security::SaslPlaintext => "sasl_plaintext",
            Security::SaslTls => "sasl_ssl",
        }
    }

    pub const fn signs_in(self) -> bool {
        matches!(self, Security::SaslPlaintext | Security::SaslTls)
    }

    pub const fn encrypts(self) -> bool {
        matches!(self, Security::Tls | Security::SaslTls)
    }
}

/// How a password is shown to the brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mechanism {
    Plain,
    ScramSha256,
    #[default]
    ScramSha512,
}

impl Mechanism {
    const ALL: [Mechanism; 3] = [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512];

    pub const fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Address {
    /// `host:port,host:port`, as librdkafka wants them.
    pub servers: String,
    pub security: Security,
    pub mechanism: Option<Mechanism>,
    pub user: Option<String>,
    /// A file of the authorities that brokers are trusted by; those of the system where it is not said.
    pub ca: Option<String>,
    /// Copies of topics that are created here; the brokers' own default where it is not said.
    pub replication: Option<i32>,
    /// How long a broker may hold an answer back while it has nothing new. Kafka answers as soon as it has; a broker
    /// that does not, when others of the asked-for topics have nothing, wants a small number here.
    pub fetch_wait_ms: Option<u16>,
    /// After which silence a member counts as dead; that of the options where it is not said. Brokers have bounds of
    /// their own (`group.min.session.timeout.ms`, 6 s on Kafka) and refuse members with another.
    pub session_timeout: Option<Duration>,
}

fn wrong(reason: impl std::fmt::Display) -> String {
    format!("its address is wrong: {reason}")
}

impl Address {
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("kafka://").ok_or_else(|| wrong("it begins with kafka://"))?;
        let (servers, query) = rest.split_once('?').unwrap_or((rest, ""));
        let servers = servers.trim_end_matches('/');
        if servers.contains('@') {
            return Err(wrong("the user goes into ?user=, and the password is asked for when it is needed"));
        }
        let mut hosts = Vec::new();
        for server in servers.split(',') {
            let (host, port) =
                server.rsplit_once(':').ok_or_else(|| wrong(format!("{server:?} is not host:port")))?;
            if host.is_empty() || !port.parse::<u16>().is_ok_and(|port| port > 0) {
                return Err(wrong(format!("{server:?} is not host:port")));
            }
            hosts.push(server);
        }
        let mut address = Self { servers: hosts.join(","), ..Self::default() };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| wrong(format!("{pair:?} is not name=value")))?;
            address.set(name, percent::decoded(value).map_err(|error| wrong(format!("{name}: {error}")))?)?;
        }
        address.check()?;
        Ok(address)
    }

    fn check(&self) -> Result<(), String> {
        let (signs_in, encrypts) = (self.security.signs_in(), self.security.encrypts());
        if signs_in && self.user.is_none() {
            return Err(wrong("signing in needs ?user="));
        }
        if !signs_in && (self.user.is_some() || self.mechanism.is_some()) {
            return Err(wrong("user and mechanism go with security=sasl_tls or sasl_plaintext"));
        }
        if !encrypts && self.ca.is_some() {
            return Err(wrong("ca goes with security=tls or sasl_tls"));
        }
        match self.needs_tls() {
            Some(what) if !cfg!(feature = "tls") => Err(format!(
                "its address asks for {what}, and this rtcd was built without TLS to Kafka: build with --features \
                 kafka-tls, or take the image of a release"
            )),
            _ => Ok(()),
        }
    }

    /// What of it there is with the feature `tls` alone: librdkafka takes the hashes of SCRAM from OpenSSL too.
    fn needs_tls(&self) -> Option<&'static str> {
        let mechanism = self.mechanism.unwrap_or_default();
        if self.security.encrypts() {
            Some("TLS")
        } else if self.security.signs_in() && mechanism != Mechanism::Plain {
            Some(mechanism.name())
        } else {
            None
        }
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "security" => {
                self.security = match value.as_str() {
                    "plaintext" => Security::Plaintext,
                    "tls" | "ssl" => Security::Tls,
                    "sasl_plaintext" => Security::SaslPlaintext,
                    "sasl_tls" | "sasl_ssl" => Security::SaslTls,
                    _ => return Err(wrong(format!("security {value:?} is unknown"))),
                }
            }
            "mechanism" => {
                let known = Mechanism::ALL.into_iter().find(|mechanism| mechanism.name() == value);
                self.mechanism = Some(known.ok_or_else(|| {
                    let names = Mechanism::ALL.map(Mechanism::name).join(", ");
                    wrong(format!("mechanism {value:?} is not one of {names}"))
                })?);
            }
            "user" => self.user = Some(value),
            "ca" if value.is_empty() => return Err(wrong("ca is a file")),
            "ca" => self.ca = Some(value),
            "replication" => {
                let copies = value.parse().ok().filter(|copies| (1..=99).contains(copies));
                self.replication = Some(copies.ok_or_else(|| wrong(format!("replication {value:?}")))?);
            }
            "fetch_wait_ms" => {
                let wait = value.parse().ok().filter(|wait| (1..=10_000).contains(wait));
                self.fetch_wait_ms = Some(wait.ok_or_else(|| wrong(format!("fetch_wait_ms {value:?}")))?);
            }
            "session_timeout_ms" => {
                let session = value.parse().ok().filter(|session| (1_000..=1_800_000).contains(session));
                let session = session.ok_or_else(|| wrong(format!("session_timeout_ms {value:?}")))?;
                self.session_timeout = Some(Duration::from_millis(session));
            }
            _ => {
                return Err(wrong(format!(
                    "{name:?} is not one of security, mechanism, user, ca, replication, fetch_wait_ms, \
                     session_timeout_ms"
                )));
            }
        }
        Ok(())
    }
}
