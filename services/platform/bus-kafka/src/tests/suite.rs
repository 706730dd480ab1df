//! What every bus does, on the mock cluster; and addresses.

use bus::Error;
use contracts::topics;
use rdkafka::mocking::MockCluster;

use super::{Cluster, Options, within};
use crate::address::{Address, Mechanism, Security};
use crate::sign_in::SignIn;
use crate::{OpenError, Settings, client};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mock_cluster_does_all_that_a_bus_does() {
    let cluster = Cluster::new();
    // It knows no offsets by time.
    conformance::bus::all_but_times(async || cluster.open().await, "suite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_with_several_members_work_on_the_mock_cluster() {
    let cluster = Cluster::new();
    conformance::bus::shared(&cluster.open().await, "suite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_another_number_of_partitions_is_said() {
    let mock = MockCluster::new(1).unwrap();
    for topic in topics::ALL {
        mock.create_topic(topic.name, if topic == topics::ORDERS { 3 } else { 4 }, 1).unwrap();
    }
    let url = format!("kafka://{}", mock.bootstrap_servers());
    let error = crate::open(&url, Options::default()).await.err().unwrap();
    assert!(
        matches!(&error, OpenError::Bus(Error::Misconfigured(reason))
        if reason == "topic rtc.orders has 3 partitions on the brokers and 4 here"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_are_not_there_are_said_in_time_and_with_the_cause() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = Options { open_timeout: std::time::Duration::from_secs(1), ..Options::default() };
    let url = format!("kafka://{free}");
    let opening = crate::open(&url, options);
    let error = within(std::time::Duration::from_secs(10), opening).await.err().unwrap();
    assert!(
        matches!(&error, OpenError::Bus(Error::Unavailable(reason)) if reason.contains("Connection refused")),
        "{error}"
    );
}

#[test]
fn an_address_says_what_it_means_or_what_is_wrong() {
    let address = Address::parse("kafka://a:9092,b:9093?replication=3").unwrap();
    assert_eq!(address.servers, "a:9092,b:9093");
    assert_eq!((address.security, address.replication), (Security::Plaintext, Some(3)));
    let address = Address::parse("kafka://a:1?security=sasl_plaintext&mechanism=PLAIN&user=r%26d").unwrap();
    assert_eq!((address.user.as_deref(), address.mechanism), (Some("r&d"), Some(Mechanism::Plain)));
    assert_eq!(address.security, Security::SaslPlaintext);
    let address = Address::parse("kafka://a:1?session_timeout_ms=6000&fetch_wait_ms=20").unwrap();
    assert_eq!(address.session_timeout, Some(std::time::Duration::from_secs(6)));
    assert_eq!(address.fetch_wait_ms, Some(20));
    for (wrong, reason) in [
        ("http://a:1", "begins with kafka://"),
        ("kafka://", "host:port"),
        ("kafka://a", "host:port"),
        ("kafka://a:0", "host:port"),
        ("kafka://a:99999", "host:port"),
        ("kafka://a:1,,b:2", "host:port"),
        ("kafka://user:secret@a:1", "?user="),
        ("kafka://a:1?password=x", "password"),
        ("kafka://a:1?security=maybe", "maybe"),
        ("kafka://a:1?security=sasl_plaintext", "?user="),
        ("kafka://a:1?security=sasl_tls&user=u&mechanism=GSSAPI", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        ("kafka://a:1?user=u", "security="),
        ("kafka://a:1?security=tls&mechanism=PLAIN", "security="),
        ("kafka://a:1?ca=/etc/ca.pem", "security="),
        ("kafka://a:1?security=tls&ca=", "ca is a file"),
        ("kafka://a:1?replication=0", "replication"),
        ("kafka://a:1?session_timeout_ms=999", "session_timeout_ms"),
        ("kafka://a:1?session_timeout_ms=10s", "session_timeout_ms"),
        ("kafka://a:1?user=%f", "user: a % is not"),
    ] {
        let error = Address::parse(wrong).unwrap_err();
        assert!(error.contains(reason) && !error.contains("secret"), "{wrong}: {error}");
    }
}

#[tokio::test]
#[cfg(not(feature = "tls"))]
async fn a_program_without_tls_says_so_and_how_it_is_built_with_it() {
    for (query, what) in [
        ("security=tls", "TLS"),
        ("security=ssl&ca=/etc/ca.pem", "TLS"),
        ("security=sasl_tls&user=rtc", "TLS"),
        ("security=sasl_tls&user=rtc&mechanism=PLAIN", "TLS"),
        ("security=sasl_plaintext&user=rtc", "SCRAM-SHA-512"),
        ("security=sasl_plaintext&user=rtc&mechanism=SCRAM-SHA-256", "SCRAM-SHA-256"),
    ] {
        let refused = crate::open(&format!("kafka://127.0.0.1:1?{query}"), Options::default()).await.err();
        let Some(OpenError::Address(told)) = refused else { panic!("{query}: {refused:?}") };
        assert!(told.starts_with(&format!("its address asks for {what}, ")), "{query}: {told}");
        assert!(
            told.contains("this rtcd was built without TLS to Kafka: build with --features kafka-tls"),
            "{told}"
        );
    }
}

#[test]
fn names_and_authorities_are_checked_wherever_there_is_tls() {
    let config = |security, ca: Option<&str>| {
        let address = Address { security, ca: ca.map(str::to_owned), ..Address::default() };
        let settings = Settings { address, options: Options::default(), sign_in: SignIn::new(None) };
        let config = client::desk(&settings).unwrap();
        ["ssl.ca.location", "enable.ssl.certificate.verification", "ssl.endpoint.identification.algorithm"]
            .map(|name| config.get(name).unwrap_or_default().to_owned())
    };
    assert_eq!(config(Security::Tls, None), ["probe", "true", "https"]);
    assert_eq!(config(Security::Tls, Some("/etc/ca.pem")), ["/etc/ca.pem", "true", "https"]);
    assert_eq!(config(Security::Plaintext, None), ["", "", ""]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_nobody_gives_is_said_before_anything_is_sent() {
    let url = "kafka://127.0.0.1:1?security=sasl_plaintext&mechanism=PLAIN&user=me";
    let error = crate::open(url, Options::default()).await.err().unwrap();
    assert!(matches!(&error, OpenError::SignIn(reason) if reason.contains("password")), "{error}");
}
