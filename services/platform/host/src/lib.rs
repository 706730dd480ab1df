//! What a service is given and what it gives back.
//!
//! A service is a function from a [`Context`] to a [`Service`]: routes, pumps, an operator's router. It cannot tell
//! whether it runs alone or with others, on embedded engines or on real ones.

mod adapters;
mod config;
mod context;
mod databases;
mod error;
mod history;
mod lifecycle;
pub mod observe;
mod reference;
mod reload;
mod reseal;
mod secret_ref;
mod secrets;
mod sections;
mod service;
mod source;
pub mod telemetry;
#[cfg(test)]
mod tests;
mod vault;
mod verdict;

pub use adapters::{Adapters, EmbeddedOnly, Engines};
pub use config::{Config, EngineSection, Profile, ServerSection, Setting, TelemetrySection};
pub use context::Context;
pub use databases::Databases;
pub use error::{Ended, Engine, Problem, StartError};
pub use history::{History, INTERVAL as HISTORY_INTERVAL};
pub use lifecycle::Pumps;
pub use observe::Observer;
pub use reference::{Key, Takes};
pub use reload::{Attention, Look, Reload, ReloadStatus};
pub use reseal::SealedRows;
pub use secret_ref::{Provider, SecretRef};
pub use secrets::{Secrets, Tokens};
pub use sections::{Live, Section};
pub use service::{Service, ServiceBuilder};
pub use source::{masked_text, scheme_of};
pub use vault::Vault;
pub use verdict::Verdict;
