//! Why there is no bus, told apart by who has to do something about it.

use bus::Error;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::client::Watch;
use crate::{Settings, trust};

/// Why there is no bus.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// The address cannot be meant, or asks for what this program was built without.
    #[error("{0}")]
    Address(String),
    /// There is no password, or the brokers refuse it.
    #[error("{0}")]
    SignIn(String),
    /// What the brokers show of themselves does not prove that they are the ones of the address.
    #[error("{0}")]
    Untrusted(String),
    #[error(transparent)]
    Bus(#[from] Error),
}

/// What an error of the port says beside its class, which is ours here.
fn reason(error: Error) -> String {
    match error {
        Error::Misconfigured(reason) | Error::Unavailable(reason) => reason,
        other => other.to_string(),
    }
}

/// What can be known before anybody is asked.
pub(crate) fn check(settings: &Settings) -> Result<(), OpenError> {
    if let Some(ca) = &settings.address.ca {
        std::fs::read(ca).map_err(|error| {
            OpenError::Address(format!("the authorities of ca={ca} cannot be read: {error}"))
        })?;
    }
    if settings.address.security.signs_in() {
        settings.sign_in.ask().map_err(|error| OpenError::SignIn(reason(error)))?;
    }
    Ok(())
}

/// No client can be made, and nobody was asked: it is what the address says.
pub(crate) fn of_the_address(settings: &Settings, error: Error) -> OpenError {
    let reason = reason(error);
    OpenError::Address(match &settings.address.ca {
        Some(ca) if reason.contains("ssl.ca.location") => {
            format!("the authorities of ca={ca} cannot be used: {reason}")
        }
        _ => reason,
    })
}

/// `error`, by what the client that asked has complained of.
pub(crate) fn told(settings: &Settings, asked: &BaseConsumer<Watch>, error: Error) -> OpenError {
    match asked.context().trouble() {
        Some((
            Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism,
            why,
        )) => OpenError::SignIn(why),
        Some((Code::SSL, why)) => OpenError::Untrusted(trust::why(settings, &why)),
        _ => OpenError::Bus(error),
    }
}
