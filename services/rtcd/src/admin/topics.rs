//! Topics, their messages, and how far the consumer groups are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bus::{Bus, Delivery, Start};
use bytes::Bytes;
use contracts::topics;
use kernel::{Error, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use web::{ApiResult, Json, Path, Query};

use super::Operator;

#[derive(Serialize)]
struct TopicView {
    name: &'static str,
    partitions: u32,
    messages: i64,
    first_at: Option<Timestamp>,
    last_at: Option<Timestamp>,
}

pub async fn list(State(operator): State<Operator>) -> ApiResult<Json<Value>> {
    let mut data = Vec::new();
    for topic in topics::ALL {
        let partitions = operator.bus().partitions(topic.name).await?;
        data.push(TopicView {
            name: topic.name,
            partitions: topic.partitions,
            messages: partitions.iter().map(|info| info.messages).sum(),
            first_at: partitions.iter().filter_map(|info| info.first_at).min(),
            last_at: partitions.iter().filter_map(|info| info.last_at).max(),
        });
    }
    Ok(Json(json!({ "data": data })))
}

#[derive(Serialize)]
struct LagView {
    group: String,
    topic: String,
    partition: u32,
    committed: i64,
    end: i64,
    lag: i64,
}

pub async fn lag(State(operator): State<Operator>) -> ApiResult<Json<Value>> {
    let view = |lag: bus::GroupLag| LagView {
        group: lag.group,
        topic: lag.topic,
        partition: lag.partition,
        committed: lag.committed,
        end: lag.end,
        lag: lag.lag,
    };
    let data: Vec<LagView> = operator.bus().lag().await?.into_iter().map(view).collect();
    Ok(Json(json!({ "data": data })))
}

#[derive(Debug, Deserialize)]
pub struct MessagesParams {
    /// `earliest`, `latest` or an RFC 3339 time.
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    follow: bool,
}

const CHUNK: usize = 256;

/// Reads one topic over all its partitions, in the order of publication within a partition.
struct Reading {
    bus: Arc<dyn Bus>,
    topic: &'static str,
    offsets: Vec<i64>,
    waiting: VecDeque<Delivery>,
    left: usize,
    follow: bool,
    stopping: CancellationToken,
}

impl Reading {
    async fn fill(&mut self) -> Result<(), bus::Error> {
        let mut found = Vec::new();
        for (partition, offset) in self.offsets.iter_mut().enumerate() {
            let partition = u32::try_from(partition).unwrap_or(0);
            let batch = self.bus.read(self.topic, partition, *offset, CHUNK).await?;
            if let Some(last) = batch.last() {
                *offset = last.offset + 1;
            }
            found.extend(batch);
        }
        found.sort_by_key(|delivery| delivery.published_at);
        self.waiting.extend(found);
        Ok(())
    }

    /// The next message, or `None` at the end. To follow has no other end than that of the process.
    async fn next(&mut self) -> Result<Option<Delivery>, bus::Error> {
        if self.left == 0 || (self.follow && self.stopping.is_cancelled()) {
            return Ok(None);
        }
        loop {
            if let Some(delivery) = self.waiting.pop_front() {
                self.left -= 1;
                return Ok(Some(delivery));
            }
            let published = self.bus.published();
            let more = published.notified();
            self.fill().await?;
            if self.waiting.is_empty() {
                if !self.follow {
                    return Ok(None);
                }
                // A message between the look and the wait would be seen a second later at the latest.
                tokio::select! {
                    _ = tokio::time::timeout(Duration::from_secs(1), more) => {}
                    () = self.stopping.cancelled() => return Ok(None),
                }
            }
        }
    }
}

fn line(delivery: &Delivery) -> Bytes {
    let envelope = serde_json::value::RawValue::from_string(delivery.payload.to_string());
    let mut line = match envelope {
        Ok(envelope) => serde_json::to_vec(&json!({
            "topic": &*delivery.topic, "partition": delivery.partition, "offset": delivery.offset,
            "published_at": delivery.published_at,
            "envelope": serde_json::from_str::<Value>(envelope.get()).unwrap_or_default(),
        })),
        Err(_) => serde_json::to_vec(&json!({
            "topic": &*delivery.topic, "partition": delivery.partition, "offset": delivery.offset,
            "published_at": delivery.published_at, "unreadable": &*delivery.payload,
        })),
    }
    .unwrap_or_default();
    line.push(b'\n');
    line.into()
}

pub async fn messages(
    State(operator): State<Operator>,
    Path(topic): Path<String>,
    Query(params): Query<MessagesParams>,
) -> ApiResult<Response> {
    let unknown = || Error::not_found("unknown_topic", format!("no topic is called {topic:?}"));
    let topic = topics::by_name(&topic).ok_or_else(unknown)?;
    let start = match params.from.as_deref() {
        None | Some("earliest") => Start::Earliest,
        Some("latest") => Start::Latest,
        Some(text) => Start::At(text.parse().map_err(|error: kernel::time::ParseTimestampError| {
            Error::field("/from", "invalid_value", error.to_string())
        })?),
    };
    let mut offsets = Vec::new();
    for partition in 0..topic.partitions {
        offsets.push(operator.bus().offset_of(topic.name, partition, start).await?);
    }
    let reading = Reading {
        bus: operator.context.bus.clone(),
        topic: topic.name,
        offsets,
        waiting: VecDeque::new(),
        left: params.limit.unwrap_or(if params.follow { usize::MAX } else { 1_000 }),
        follow: params.follow,
        stopping: operator.context.stopping.clone(),
    };
    let stream = futures_util::stream::unfold(reading, async |mut reading| match reading.next().await {
        Ok(Some(delivery)) => Some((Ok::<Bytes, bus::Error>(line(&delivery)), reading)),
        Ok(None) => None,
        Err(error) => Some((Err(error), Reading { left: 0, ..reading })),
    });
    let body = Body::from_stream(stream);
    Ok(([("content-type", "application/x-ndjson")], body).into_response())
}
