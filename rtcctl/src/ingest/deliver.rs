//! A batch of transactions, sent until each of them has an answer.
//!
//! Invariants: a batch whose outcome is unknown is sent again, which is safe because the platform knows each line by its
//! `external_id`; one line that the platform will not read does not hold up the others of its batch.

use std::time::Duration;

use kernel::id::SplitMix;
use sales::Transaction;
use tokio::time::{Instant, sleep};

/// A line that the platform took note of and refused.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct RejectedLine {
    /// The place in the batch, from 0.
    pub index: usize,
    pub code: String,
    pub detail: String,
}

/// What the platform says to one batch.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
pub struct Answer {
    pub accepted: u64,
    pub duplicates: u64,
    #[serde(default)]
    pub rejected: Vec<RejectedLine>,
}

/// Why a batch was not taken.
#[derive(Debug)]
pub enum NotTaken<E> {
    /// The platform is away or overloaded: the same batch may be taken later. The outcome may be unknown.
    Later { after: Option<Duration>, why: E },
    /// Something in the batch keeps the platform from reading it.
    Content { code: String, detail: String },
    /// Trying again cannot help.
    Never(E),
}

/// Where batches go.
pub trait Ingest {
    type Error;

    fn send(
        &self,
        batch: &[Transaction],
    ) -> impl Future<Output = Result<Answer, NotTaken<Self::Error>>> + Send;
}

/// How long one batch is tried, and how long the pauses are.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub in_all: Duration,
    pub first_pause: Duration,
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            in_all: Duration::from_secs(120),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
        }
    }
}

impl Patience {
    /// The pause before try number `tries + 1`: what the server asks for with a tenth of jitter on top, or else a random
    /// part of an exponentially growing bound.
    fn pause(&self, tries: u32, asked: Option<Duration>, random: &mut SplitMix) -> Duration {
        let part = |of: Duration, random: &mut SplitMix| of.mul_f64(random.below(1_000) as f64 / 1_000.0);
        match asked {
            Some(asked) => asked + part(asked / 10, random),
            None => {
                let bound = self.first_pause.saturating_mul(1 << tries.min(16)).min(self.longest_pause);
                bound / 2 + part(bound / 2, random)
            }
        }
    }
}

/// The sum of the answers to a batch and how often it had to be sent again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delivered {
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: Vec<RejectedLine>,
    pub retries: u64,
}

/// Sends `batch` until every line has an answer. `on_wait` is told before each pause.
pub async fn deliver<I: Ingest>(
    ingest: &I,
    batch: &[Transaction],
    patience: Patience,
    random: &mut SplitMix,
    mut on_wait: impl FnMut(&I::Error, Duration),
) -> Result<Delivered, I::Error> {
    let mut sum = Delivered::default();
    let started = Instant::now();
    let mut parts = Vec::new();
    parts.push(0..batch.len());
    let mut tries = 0;
    while let Some(part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        match ingest.send(&batch[part.clone()]).await {
            Ok(answer) => {
                tries = 0;
                sum.accepted += answer.accepted;
                sum.duplicates += answer.duplicates;
                sum.rejected.extend(
                    answer.rejected.into_iter().map(|line| RejectedLine {
                        index: (part.start + line.index).min(part.end - 1),
                        ..line
                    }),
                );
            }
            Err(NotTaken::Never(error)) => return Err(error),
            Err(NotTaken::Content { code, detail }) if part.len() == 1 => {
                sum.rejected.push(RejectedLine { index: part.start, code, detail });
            }
            Err(NotTaken::Content { .. }) => {
                let middle = part.start + part.len() / 2;
                parts.push(middle..part.end);
                parts.push(part.start..middle);
            }
            Err(NotTaken::Later { after, why }) => {
                let pause = patience.pause(tries, after, random);
                if started.elapsed() + pause > patience.in_all {
                    return Err(why);
                }
                tries += 1;
                sum.retries += 1;
                on_wait(&why, pause);
                sleep(pause).await;
                parts.push(part);
            }
        }
    }
    Ok(sum)
}
