//! The bus, measured: what is sent and how long it takes to be durable, what is delivered and how long it takes to be
//! handled.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bus::{Bus, Delivery, Error, GroupLag, Message, PartitionInfo, Start, Subscription};
use contracts::topics::Topic;
use kernel::Timestamp;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{ConsumedLabels, Measures, ProcessLabels, SendLabels, SentLabels};

/// A bus and what is counted of it.
pub(crate) struct MeasuredBus {
    inner: Arc<dyn Bus>,
    measures: Measures,
}

impl MeasuredBus {
    pub fn new(inner: Arc<dyn Bus>, measures: Measures) -> Self {
        Self { inner, measures }
    }
}

const fn error_type(outcome: &Result<(), Error>) -> &'static str {
    match outcome {
        Ok(()) => "",
        Err(Error::Refused(_) | Error::UnknownTopic(_)) => "refused",
        Err(Error::Misconfigured(_) | Error::Unavailable(_)) => "unavailable",
    }
}

#[async_trait]
impl Bus for MeasuredBus {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), Error> {
        let began = Instant::now();
        let mut by_topic: HashMap<Arc<str>, u64> = HashMap::new();
        for message in &messages {
            *by_topic.entry(message.topic.clone()).or_default() += 1;
        }
        let outcome = self.inner.publish(messages).await;
        let error_type = error_type(&outcome);
        for (topic, count) in by_topic {
            let labels = SentLabels { messaging_destination_name: topic.to_string(), error_type };
            self.measures.sent.get_or_create(&labels).inc_by(count);
        }
        let labels = SendLabels { messaging_operation_name: "send", error_type };
        self.measures.send_duration.get_or_create(&labels).observe(began.elapsed().as_secs_f64());
        outcome
    }

    async fn subscribe(
        &self,
        group: &str,
        topics: &[Topic],
        wake: Arc<Notify>,
    ) -> Result<Box<dyn Subscription>, Error> {
        let inner = self.inner.subscribe(group, topics, wake).await?;
        Ok(Box::new(MeasuredSubscription {
            inner,
            group: group.to_owned(),
            measures: self.measures.clone(),
            delivered: HashMap::new(),
            under_way: VecDeque::new(),
        }))
    }

    async fn partitions(&self, topic: &str) -> Result<Vec<PartitionInfo>, Error> {
        self.inner.partitions(topic).await
    }

    async fn lag(&self) -> Result<Vec<GroupLag>, Error> {
        self.inner.lag().await
    }

    async fn lag_of(&self, groups: &BTreeSet<String>) -> Result<Vec<GroupLag>, Error> {
        self.inner.lag_of(groups).await
    }

    fn has_settled(&self, groups: &BTreeSet<String>) -> bool {
        self.inner.has_settled(groups)
    }

    async fn offset_of(&self, topic: &str, partition: u32, start: Start) -> Result<i64, Error> {
        self.inner.offset_of(topic, partition, start).await
    }

    async fn read(
        &self,
        topic: &str,
        partition: u32,
        offset: i64,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        self.inner.read(topic, partition, offset, limit).await
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64, Error> {
        self.inner.sweep(now).await
    }

    fn published(&self) -> Arc<Notify> {
        self.inner.published()
    }
}

/// Messages that were delivered together.
struct Batch {
    began: Instant,
    topics: Vec<Arc<str>>,
}

struct MeasuredSubscription {
    inner: Box<dyn Subscription>,
    group: String,
    measures: Measures,
    delivered: HashMap<Arc<str>, Counter>,
    /// Delivered and not committed, the oldest first.
    under_way: VecDeque<Batch>,
}

impl MeasuredSubscription {
    fn begin(&mut self, deliveries: &[Delivery]) {
        let mut by_topic: Vec<(Arc<str>, u64)> = Vec::new();
        for delivery in deliveries {
            match by_topic.iter_mut().find(|(topic, _)| *topic == delivery.topic) {
                Some((_, count)) => *count += 1,
                None => by_topic.push((delivery.topic.clone(), 1)),
            }
        }
        for (topic, count) in &by_topic {
            let counter = self.delivered.entry(topic.clone()).or_insert_with(|| {
                self.measures.consumed.get_or_create_owned(&ConsumedLabels {
                    messaging_consumer_group_name: self.group.clone(),
                    messaging_destination_name: topic.to_string(),
                })
            });
            counter.inc_by(*count);
        }
        let topics = by_topic.into_iter().map(|(topic, _)| topic).collect();
        self.under_way.push_back(Batch { began: Instant::now(), topics });
    }

    fn end(&self, batch: &Batch, error_type: &'static str) {
        let seconds = batch.began.elapsed().as_secs_f64();
        for topic in &batch.topics {
            let labels = ProcessLabels {
                messaging_consumer_group_name: self.group.clone(),
                messaging_destination_name: topic.to_string(),
                error_type,
            };
            self.measures.process_duration.get_or_create(&labels).observe(seconds);
        }
    }
}

#[async_trait]
impl Subscription for MeasuredSubscription {
    async fn poll(&mut self, max: usize) -> Result<Vec<Delivery>, Error> {
        let deliveries = self.inner.poll(max).await?;
        if !deliveries.is_empty() {
            self.begin(&deliveries);
        }
        Ok(deliveries)
    }

    async fn commit(&mut self, handled: &[Delivery]) -> Result<(), Error> {
        let committed = self.inner.commit(handled).await;
        if let Some(batch) = self.under_way.pop_front() {
            self.end(&batch, if committed.is_ok() { "" } else { "retried" });
        }
        committed
    }

    async fn rewind(&mut self) -> Result<(), Error> {
        while let Some(batch) = self.under_way.pop_front() {
            self.end(&batch, "retried");
        }
        self.inner.rewind().await
    }
}
