//! One interface over the places that metrics come from.

use std::time::Duration;

use codes::Result;
use settings::masked;

use super::model::{Alerts, Answer, Span, Target};
use super::{Local, Prometheus};
use crate::api::REQUEST_TIMEOUT;
use crate::context::Context;

/// Where metrics come from.
pub enum Source {
    Prometheus(Prometheus),
    /// The history that a running platform keeps.
    Local(Box<Local>),
}

impl Source {
    /// The Prometheus server that is configured for the environment, or else the platform that runs there.
    pub fn of(context: &Context) -> Result<Self> {
        match context.config.text("prometheus_url") {
            Some(url) => {
                context.progress.detail(format!("metrics come from the Prometheus server {}", masked(url)));
                let token = context.config.secret("prometheus_token")?;
                let timeout = context.timeout_or(REQUEST_TIMEOUT);
                Ok(Source::Prometheus(Prometheus::new(url, token, timeout)?))
            }
            None => Ok(Source::Local(Box::new(Local::new(context.platform()?)))),
        }
    }

    /// One line about it for a person.
    pub fn describe(&self) -> String {
        match self {
            Source::Prometheus(prometheus) => format!("Prometheus {}", prometheus.address()),
            Source::Local(local) => local.describe(),
        }
    }

    /// One word for a script.
    pub fn kind(&self) -> &'static str {
        match self {
            Source::Prometheus(_) => "prometheus",
            Source::Local(_) => "history",
        }
    }

    /// Fetches what is new, where a source keeps what it has fetched.
    pub async fn refresh(&self, now_ms: i64) -> Result<()> {
        match self {
            Source::Prometheus(_) => Ok(()),
            Source::Local(local) => local.refresh(now_ms).await,
        }
    }

    /// An expression at an instant.
    pub async fn instant(&self, expr: &str, at_ms: i64) -> Result<Answer> {
        match self {
            Source::Prometheus(prometheus) => prometheus.instant(expr, at_ms).await,
            Source::Local(local) => local.instant(expr, at_ms),
        }
    }

    /// An expression over a span of time.
    pub async fn range(&self, expr: &str, span: Span) -> Result<Answer> {
        match self {
            Source::Prometheus(prometheus) => prometheus.range(expr, span).await,
            Source::Local(local) => local.range(expr, span),
        }
    }

    /// The alerts that are active now. Without a server the platform's own rules are evaluated over its history.
    pub async fn alerts(&self, now_ms: i64) -> Result<Alerts> {
        match self {
            Source::Prometheus(prometheus) => prometheus.alerts().await,
            Source::Local(local) => Ok(local.alerts(now_ms)),
        }
    }

    pub async fn targets(&self) -> Result<Vec<Target>> {
        match self {
            Source::Prometheus(prometheus) => prometheus.targets().await,
            Source::Local(local) => Ok(local.targets()),
        }
    }

    /// How far back it remembers, where that is known to be little.
    pub fn reach(&self) -> Option<Duration> {
        match self {
            Source::Prometheus(_) => None,
            Source::Local(local) => Some(local.reach()),
        }
    }

    /// Over how much time a rate is taken: at least four samples, however far apart they are there.
    pub fn rate_window(&self) -> &'static str {
        match self {
            Source::Prometheus(_) => "5m",
            Source::Local(_) => "1m",
        }
    }

    /// No points nearer to each other than this say anything new.
    pub fn step_min_ms(&self) -> i64 {
        match self {
            Source::Prometheus(_) => 15_000,
            Source::Local(_) => 5_000,
        }
    }
}
