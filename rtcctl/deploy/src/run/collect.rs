//! What is saved before anything is rolled back.
//!
//! Invariants: nothing is saved unmasked; what cannot be had is left out and does not hold up the way back; what is there
//! already is kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kubernetes::Gvk;
use kubernetes::read::{Life, LogRequest};
use rollout::evidence::{self, Request, masked, masked_text};
use rollout::lifecycle::{Step, Trigger};
use rollout::verdict::judge;
use serde_json::{Value as Json, json};

use super::drive::{Came, News, Session, counted};
use super::{Error, Result};

/// The way back does not wait longer for it.
const MOST: Duration = Duration::from_secs(60);
/// Until everything has been listed once, where nobody has watched yet.
const LISTED_WITHIN: Duration = Duration::from_secs(15);

impl Session<'_, '_> {
    pub(super) async fn collect(&mut self) -> Result<Came> {
        let applied: Vec<_> = ["apply", "canary-0", "migrate"]
            .iter()
            .find_map(|during| self.book.applied(during))
            .unwrap_or_default()
            .to_vec();
        let mut watch = match self.watch.take().filter(|watch| watch.follows(&applied)) {
            Some(watch) => watch,
            None => self.new_watch(&applied),
        };
        // That it cannot be watched is no reason to stay.
        let _ = watch.settle(LISTED_WITHIN).await;
        let (now, rules) = (self.driver.clock.now(), self.book.plan().rules);
        let judged: Vec<_> =
            applied.into_iter().map(|one| (one.clone(), judge(&one, &rules, &watch.world, now))).collect();
        let requests = evidence::wanted(&watch.world, &judged, &self.book.plan().metrics, now);
        let mut saved = 0;
        let causes = json!({ "causes": self.book.causes(), "gate": self.book.said() });
        self.save("failure.json", &pretty(&causes))?;
        let all = async {
            for request in &requests {
                let file = self.book.evidence(&request.file())?;
                if file.exists() {
                    saved += 1;
                    continue;
                }
                if let Some(text) = self.asked(request).await {
                    write(&file, &text)?;
                    (self.driver.tell)(&News::Evidence { file: &file });
                    saved += 1;
                }
            }
            Ok::<(), Error>(())
        };
        if let Ok(done) = tokio::time::timeout(MOST, all).await {
            done?;
        }
        Ok(Came::with(Trigger::Collected, counted(Step::Collect, "files", saved)))
    }

    fn save(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.book.evidence(name)?;
        write(&file, text)?;
        Ok(file)
    }

    /// The text that a request brings; none where it cannot be had.
    async fn asked(&self, request: &Request) -> Option<String> {
        let port = self.driver.port;
        match request {
            Request::Document { kind, namespace, name } => {
                let mut document = port.get(&Gvk::from(*kind), namespace, name).await.ok()??;
                masked(&mut document);
                Some(pretty(&document))
            }
            Request::Events { about, namespace, .. } => {
                let mut events: Json = port.events_about(namespace, &about.0).await.ok()?.into();
                events.as_array_mut()?.iter_mut().for_each(masked);
                Some(pretty(&events))
            }
            Request::Log { namespace, pod, container, life, lines } => {
                let request = LogRequest {
                    namespace: namespace.clone(),
                    pod: pod.clone(),
                    container: Some(container.clone()),
                    life: match life {
                        evidence::Life::Present => Life::Present,
                        evidence::Life::Previous => Life::Previous,
                    },
                    tail: Some(*lines),
                    ..LogRequest::default()
                };
                Some(masked_text(&port.log(&request).await.ok()?))
            }
            Request::Metric { query, from, until, .. } => {
                let values = self.driver.gauge?.range(query, *from, *until).await?;
                Some(pretty(&values))
            }
        }
    }
}

fn pretty(value: &Json) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).map_err(|source| Error::Disk { path: file.to_owned(), source })
}
