//! Settings that what follows cannot do without, asked for before any of it is begun.

use codes::{Error, Result};

use super::schema::Place;
use super::{Config, SETTINGS, nearest};

/// A setting by its name.
///
/// # Errors
/// There is none of that name; the nearest is told.
pub fn setting_named(text: &str) -> Result<&'static str, String> {
    let keys = || SETTINGS.iter().map(|setting| setting.key);
    keys().find(|key| *key == text).ok_or_else(|| match nearest(text, keys()) {
        Some(near) => format!("no setting is called {text}; did you mean {near}?"),
        None => format!("no setting is called {text}; rtcctl config show lists them"),
    })
}

impl Config {
    /// Refuses to go on without a value of each of these settings.
    ///
    /// # Errors
    /// All that are missing, each with where it is written.
    pub fn need(&self, keys: &[&'static str]) -> Result<()> {
        let missing: Vec<&'static str> =
            keys.iter().copied().filter(|key| self.text(key).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let env = self.env();
        let mut error =
            Error::new(&codes::CFG009, format!("the environment {env} has no {}", missing.join(" and no ")));
        for key in missing {
            let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else { continue };
            let table = match setting.place {
                Place::Defaults => "[defaults]".to_owned(),
                Place::Environment => format!("[environments.{env}]"),
                Place::Jenkins => "[jenkins]".to_owned(),
            };
            let variable =
                setting.variable.map_or_else(String::new, |variable| format!(", or the variable {variable}"));
            error = error
                .with_hint(format!("{key} = \"…\" under {table} of rtc.toml{variable}: {}", setting.about));
        }
        Err(error)
    }

    /// Whether measures can be asked for: of a Prometheus, or of the platform itself where it is on this machine or named.
    ///
    /// # Errors
    /// Neither is configured.
    pub fn need_measures(&self) -> Result<()> {
        let is_elsewhere = self.text("kind") == Some("remote") && self.text("admin_url").is_none();
        if is_elsewhere { self.need(&["prometheus_url"]) } else { Ok(()) }
    }

    /// Whether the entry of the platform is known.
    ///
    /// # Errors
    /// It is elsewhere, and nobody says where.
    pub fn need_entry(&self) -> Result<()> {
        if self.text("kind") == Some("remote") { self.need(&["api_url"]) } else { Ok(()) }
    }
}
