//! The section `[services.analytics]`.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Streams of transactions at once; beyond that they are refused with 503.
    pub streams_max: usize,
    /// A stream on which nothing arrives for this long is ended.
    pub stream_idle_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { streams_max: 64, stream_idle_ms: 30_000 }
    }
}
