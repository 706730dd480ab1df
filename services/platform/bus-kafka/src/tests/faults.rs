//! Faults that are injected into the mock cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use bus::{Error, Start};
use contracts::topics;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};
use rdkafka::util::Timeout;

use super::{
    Cluster, Joined, Options, first_deliveries_are_in_order, message, messages, number, publish_until_taken,
    within,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_that_pass_are_not_seen_by_who_publishes() {
    let cluster = Cluster::new();
    let bus = cluster.open().await;
    cluster.mock.request_errors(
        Api::Produce,
        &[
            Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Code::RD_KAFKA_RESP_ERR__TRANSPORT,
            Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        ],
    );
    bus.publish(messages(0, 200)).await.unwrap();
    let taken = Joined::new(bus.as_ref(), "g").await.take(200).await;
    first_deliveries_are_in_order(&taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_fails_in_the_middle_keeps_the_order_when_it_is_repeated() {
    let cluster = Cluster::new();
    let bus = cluster.open().await;
    let mut joined = Joined::new(bus.as_ref(), "g").await;
    let mut tries = 0;
    for batch in 0..8 {
        if batch % 2 == 1 {
            // Fatal for the producer: the topic takes nothing more of it.
            let fatal = Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
            let fine = Code::RD_KAFKA_RESP_ERR_NO_ERROR;
            cluster.mock.request_errors(Api::Produce, &[fine, fatal]);
        }
        tries += publish_until_taken(bus.as_ref(), messages(batch * 100, 100)).await;
    }
    assert!(tries > 8, "some publications failed");
    let taken = joined.take(800).await;
    first_deliveries_are_in_order(&taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_are_down_cost_a_bounded_time_and_what_was_answered_is_there_when_they_return() {
    let cluster = Cluster::new();
    let options = Options { delivery_timeout: Duration::from_millis(700), ..Options::default() };
    let bus = cluster.open_with(options).await;
    let mut joined = Joined::new(bus.as_ref(), "g").await;
    bus.publish(messages(0, 50)).await.unwrap();
    joined.take(50).await;
    for broker in 1..=3 {
        cluster.mock.broker_down(broker).unwrap();
    }
    for _ in 0..3 {
        let refused = within(Duration::from_secs(5), bus.publish(messages(50, 50))).await;
        assert!(matches!(&refused, Err(Error::Unavailable(_))), "{refused:?}");
        // A member that finds nothing, or hears that nobody is there, does not wait.
        let _ = within(Duration::from_secs(1), joined.member.poll(10)).await;
    }
    for broker in 1..=3 {
        cluster.mock.broker_up(broker).unwrap();
    }
    publish_until_taken(bus.as_ref(), messages(50, 50)).await;
    publish_until_taken(bus.as_ref(), messages(100, 50)).await;
    let taken = joined.take(100).await;
    first_deliveries_are_in_order(&taken);
    let numbers: BTreeSet<_> = taken.iter().map(|one| number(one).1).collect();
    assert!(numbers.into_iter().filter(|n| *n >= 50).eq(50..150));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_refused_is_repeated() {
    let cluster = Cluster::new();
    let bus = cluster.open().await;
    let mut joined = Joined::new(bus.as_ref(), "g").await;
    bus.publish(messages(0, 60)).await.unwrap();
    cluster.mock.request_errors(
        Api::OffsetCommit,
        &[
            Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
            Code::RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE,
            Code::RD_KAFKA_RESP_ERR__TRANSPORT,
        ],
    );
    joined.take(60).await;
    let committed = async {
        loop {
            let lags = bus.lag().await.unwrap();
            if !lags.is_empty() && lags.iter().all(|lag| lag.lag == 0) {
                break;
            }
            joined.member.poll(10).await.unwrap();
        }
    };
    within(super::PATIENCE, committed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetches_that_fail_or_are_slow_lose_nothing() {
    let cluster = Cluster::new();
    let bus = cluster.open().await;
    let mut joined = Joined::new(bus.as_ref(), "g").await;
    cluster.mock.request_errors(
        Api::Fetch,
        &[
            Code::RD_KAFKA_RESP_ERR__TRANSPORT,
            Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Code::RD_KAFKA_RESP_ERR_UNKNOWN,
        ],
    );
    for broker in 1..=3 {
        cluster.mock.broker_round_trip_time(broker, Duration::from_millis(40)).unwrap();
    }
    bus.publish(messages(0, 300)).await.unwrap();
    first_deliveries_are_in_order(&joined.take(300).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_that_move_are_followed() {
    let cluster = Cluster::new();
    let bus = cluster.open().await;
    let mut joined = Joined::new(bus.as_ref(), "g").await;
    for round in 0..6 {
        for partition in 0..4 {
            let leader = (round + partition) % 3 + 1;
            cluster.mock.partition_leader("rtc.orders", partition, Some(leader)).unwrap();
        }
        publish_until_taken(bus.as_ref(), messages(usize::try_from(round).unwrap() * 50, 50)).await;
    }
    first_deliveries_are_in_order(&joined.take(300).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_cannot_tell_repetitions_are_refused() {
    let cluster = Cluster::new();
    cluster.mock.apiversion(Api::InitProducerId, None, None).unwrap();
    let options = Options { delivery_timeout: Duration::from_secs(2), ..Options::default() };
    let bus = cluster.open_with(options).await;
    let error = within(Duration::from_secs(10), bus.publish(messages(0, 1))).await.unwrap_err();
    assert!(matches!(&error, Error::Misconfigured(_)), "{error}");
}

#[test]
fn what_went_wrong_is_told_until_something_succeeds() {
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};
    let watch = crate::client::Watch::default();
    let failed = KafkaError::Global(RDKafkaErrorCode::MessageTimedOut);
    let told = |watch: &crate::client::Watch| watch.explain("nothing is published", &failed).to_string();
    watch.note(&KafkaError::Global(RDKafkaErrorCode::SaslAuthenticationFailed), "a wrong password");
    assert!(told(&watch).contains("a wrong password"), "{}", told(&watch));
    assert!(matches!(watch.explain("", &failed), Error::Misconfigured(_)));
    watch.recovered();
    assert!(!told(&watch).contains("password"), "{}", told(&watch));
    assert!(matches!(watch.explain("", &failed), Error::Unavailable(_)));
    watch.note(&KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), "a cut wire");
    assert!(told(&watch).contains("a cut wire"), "{}", told(&watch));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_leaves_while_it_joins_finishes_that_first() {
    let cluster = Cluster::new();
    let bus = cluster.open().await;
    bus.publish(messages(0, 20)).await.unwrap();
    // The first rebalance of a group takes three seconds: without the end of it there is no goodbye.
    drop(Joined::new(bus.as_ref(), "g").await);
    let begun = tokio::time::Instant::now();
    drop(bus);
    let left_after = begun.elapsed();
    assert!(left_after > Duration::from_secs(1), "gone after {left_after:?}");
    let bus = cluster.open().await;
    let taken = Joined::new(bus.as_ref(), "g").await.take(20).await;
    first_deliveries_are_in_order(&taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_lies_in_a_partition_is_delivered_and_holds_nobody_up() {
    let cluster = Cluster::new();
    let bus = cluster.open().await;
    let foreign: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.mock.bootstrap_servers())
        .set("message.max.bytes", "20000000")
        .create()
        .unwrap();
    // The mock cluster keeps 5 MiB of a partition.
    let large = vec![b'x'; 4 * 1024 * 1024];
    let send = |key: Option<&[u8]>, payload: Option<&[u8]>| {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to("rtc.orders").partition(0);
        record.key = key;
        record.payload = payload;
        foreign.send(record).map_err(|(error, _)| error).unwrap();
    };
    send(None, Some(b"no key"));
    send(Some(b"k"), None);
    send(Some(b"\xff\xfe"), Some(b"not \xff text"));
    send(None, None);
    send(Some(b"k"), Some(&large));
    send(Some(b"k"), Some(b"after"));
    foreign.flush(Timeout::After(Duration::from_secs(20))).unwrap();
    let mut joined = Joined::new(bus.as_ref(), "g").await;
    let mut payloads = Vec::new();
    let reading = async {
        while payloads.len() < 6 {
            let batch = joined.member.poll(100).await.unwrap();
            joined.member.commit(&batch).await.unwrap();
            payloads.extend(batch.into_iter().map(|delivery| delivery.payload));
            if payloads.len() < 6 {
                let _ = tokio::time::timeout(Duration::from_millis(100), joined.wake.notified()).await;
            }
        }
    };
    within(super::PATIENCE, reading).await;
    let short: Vec<_> =
        payloads.iter().map(|payload| (payload.len(), payload.chars().take(16).collect())).collect();
    let expected: Vec<(usize, String)> = [
        (6, "no key"),
        (0, ""),
        (12, "not \u{fffd} text"),
        (0, ""),
        (large.len(), "xxxxxxxxxxxxxxxx"),
        (5, "after"),
    ]
    .map(|(length, text)| (length, text.to_owned()))
    .into();
    assert_eq!(short, expected);
    let read = bus.read("rtc.orders", 0, 0, 4).await.unwrap();
    assert_eq!(read.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_carry_the_attributes_of_their_events() {
    use rdkafka::message::Headers as _;
    let text = r#"{"id":"evt_1","type":"rtc.orders.order_placed.v1","source":"orders","subject":"ord_1","sequence":3,"time":"2026-03-01T09:00:00.000Z","data":{"ä":"\u00e4"}}"#;
    let headers = crate::wire::headers(text);
    let found: Vec<(String, String)> = headers
        .as_borrowed()
        .iter()
        .map(|header| (header.key.to_owned(), String::from_utf8_lossy(header.value.unwrap()).into_owned()))
        .collect();
    let expected = [
        ("content-type", "application/json"),
        ("ce_specversion", "1.0"),
        ("ce_id", "evt_1"),
        ("ce_type", "rtc.orders.order_placed.v1"),
        ("ce_source", "orders"),
        ("ce_subject", "ord_1"),
        ("ce_time", "2026-03-01T09:00:00.000Z"),
    ];
    assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(crate::wire::headers("no envelope").as_borrowed().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_not_polled_reads_ahead_a_little_and_no_more() {
    let cluster = Cluster::new();
    let bus = cluster.open().await;
    let mut joined = Joined::new(bus.as_ref(), "g").await;
    let body = "x".repeat(100_000);
    let large =
        |n| bus::Message { payload: format!("k|{n}|{body}").into(), ..message(topics::ORDERS, "k", n) };
    bus.publish((0..10).map(large).collect()).await.unwrap();
    while joined.member.poll(1).await.unwrap().is_empty() {
        let _ = tokio::time::timeout(Duration::from_millis(100), joined.wake.notified()).await;
    }
    for from in 1..8 {
        bus.publish((from * 10..from * 10 + 10).map(large).collect()).await.unwrap();
    }
    // One poll gives no more than its bound of bytes, however many messages it may give.
    let mut seen = 1;
    let reading = async {
        while seen < 80 {
            let batch = joined.member.poll(1_000).await.unwrap();
            let bytes: usize = batch.iter().map(|delivery| delivery.payload.len()).sum();
            assert!(bytes < crate::client::BATCH_BYTES_MAX + 200_000, "{bytes} bytes at once");
            seen += batch.len();
            let _ = tokio::time::timeout(Duration::from_millis(50), joined.wake.notified()).await;
        }
    };
    within(super::PATIENCE, reading).await;
    assert!(bus.offset_of("rtc.orders", 0, Start::Latest).await.is_ok());
}
