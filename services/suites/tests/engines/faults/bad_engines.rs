//! Engines that cannot be used: one clear error, a hint, a documented exit code, and nothing of theirs is touched.

use std::path::Path;
use std::time::Duration;

use contracts::topics;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use suites::platform::{Ended, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::cache_tls::Secured;
use crate::faults::shop::{administer, ask};
use crate::support::{Engine, Engines};

/// Starts rtcd with settings of its own, which it is expected to refuse.
async fn serve(engines: &Engines, data: &Path, settings: &[(&str, &str)]) -> Ended {
    let mut command = engines.program("rtcd");
    command.args(["serve", "--api-bind", "127.0.0.1:0", "--admin-bind", "127.0.0.1:0", "--data"]).arg(data);
    for (name, value) in settings {
        command.env(format!("RTC_{}", name.to_uppercase()), value);
    }
    let ended = tokio::time::timeout(Duration::from_secs(60), run(command)).await;
    ended.unwrap_or_else(|_| panic!("rtcd with {settings:?} did not refuse to start"))
}

#[track_caller]
fn refused(ended: Ended, exit: i32, code: &str, word: &str) {
    let ended = ended.expect(exit);
    let said = ended.stderr.as_str();
    assert!(said.contains(&format!("error[{code}]")) && said.contains("hint: "), "{code} {word:?}: {said}");
    assert!(said.contains(word), "{word:?} is not said: {said}");
    assert_eq!(said.matches("error[").count(), 1, "one error: {said}");
    for secret in ["5ecret", "panicked"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
}

/// A port on which nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").to_string()
}

/// Stands before a server and makes it say that it is older than it is.
async fn aged(server: &str, says: &'static [u8], instead: &'static [u8]) -> String {
    assert_eq!(says.len(), instead.len());
    let (server, listener) = (server.to_owned(), TcpListener::bind("127.0.0.1:0").await.expect("a port"));
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.expect("the server");
            let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                let mut buffer = vec![0; 65_536];
                while let Ok(n @ 1..) = from_server.read(&mut buffer).await {
                    let mut at = 0;
                    while let Some(found) =
                        buffer[at..n].windows(says.len()).position(|window| window == says)
                    {
                        buffer[at + found..at + found + says.len()].copy_from_slice(instead);
                        at += found + says.len();
                    }
                    if to_client.write_all(&buffer[..n]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn for_user(statement: &str) -> Vec<String> {
    ["%", "localhost", "127.0.0.1"]
        .map(|host| statement.replace("ACCOUNT", &format!("'clerk'@'{host}'")))
        .to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_server_that_cannot_be_used_is_told_with_its_code() {
    let engines = Engines::start(&[Engine::MariaDb]).await;
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let server = engines.mysql().to_owned();
    let place = server.split_once('@').expect("a user").1.to_owned();
    let database = async |url: String| serve(&engines, &data, &[("database", &url)]).await;

    let nowhere = nobody().await;
    refused(database(format!("mysql://root@{nowhere}/rtc_{{service}}")).await, 9, "RTD013", &nowhere);
    refused(database("mysql://root@127.0.0.1/no-such".to_owned()).await, 3, "RTD001", "schema");
    administer(&server, &for_user("CREATE USER ACCOUNT IDENTIFIED BY 'right'")).await;
    let wrong = database(format!("mysql://clerk:5ecret@{place}/rtc_{{service}}")).await;
    refused(wrong, 3, "RTD014", "clerk");
    let no_right = database(format!("mysql://clerk:right@{place}/rtc_{{service}}")).await.expect(3);
    assert!(["RTD014", "RTD018"].iter().any(|code| no_right.stderr.contains(code)), "{}", no_right.stderr);
    let old = aged(&place, b"10.11.", b"10.01.").await;
    refused(database(format!("mysql://root@{old}/rtc_{{service}}")).await, 3, "RTD015", "10.01.");
    administer(
        &server,
        &["CREATE DATABASE theirs".to_owned(), "CREATE TABLE theirs.things (id INT)".to_owned()],
    )
    .await;
    refused(database(format!("mysql://root@{place}/theirs")).await, 8, "RTD017", "theirs");
    let tables: Vec<String> = ask(&server, "SHOW TABLES FROM theirs").await;
    assert_eq!(tables, ["things"], "a schema of somebody else was touched");

    administer(&server, &for_user("GRANT ALL ON `rtc\\_%`.* TO ACCOUNT")).await;
    administer(&server, &["SET GLOBAL read_only = 1".to_owned()]).await;
    let ours = format!("mysql://clerk:right@{place}/rtc_{{service}}");
    refused(database(ours.clone()).await, 8, "RTD016", "read-only");
    administer(&server, &["SET GLOBAL read_only = 0".to_owned()]).await;

    let mut migrate = engines.program("rtcd");
    migrate.args(["migrate", "--data"]).arg(&data).env("RTC_DATABASE", &ours);
    run(migrate).await.expect(0);
    let later =
        "INSERT INTO rtc_orders.schema_migrations (component, version, name) VALUES ('orders', 99, 'later')";
    administer(&server, &[later.to_owned()]).await;
    refused(database(ours).await, 8, "RTD006", "99");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_a_cache_and_a_store_that_cannot_be_used_are_told_with_their_codes() {
    let engines = Engines::start(&[Engine::KafkaA, Engine::Redis, Engine::S3]).await;
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let with = async |name: &str, url: &str| serve(&engines, &data, &[(name, url)]).await;

    let nowhere = nobody().await;
    refused(with("bus", &format!("kafka://{nowhere}")).await, 9, "RTD020", &nowhere);
    refused(with("bus", "rabbit://127.0.0.1:1").await, 3, "RTD001", "rabbit");
    // Somebody made a topic by hand.
    let broker = engines.kafka(Engine::KafkaA).to_owned();
    let servers = broker.trim_start_matches("kafka://");
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", servers).create().expect("a client");
    let topic = NewTopic::new(topics::ORDERS.name, 1, TopicReplication::Fixed(1));
    admin.create_topics(&[topic], &AdminOptions::new()).await.expect("an answer")[0]
        .clone()
        .expect("a topic");
    refused(with("bus", &broker).await, 8, "RTD023", topics::ORDERS.name);

    let cache = engines.redis().trim_start_matches("redis://").to_owned();
    refused(with("cache", "memcached://127.0.0.1:1").await, 3, "RTD001", "memcached");
    let old = aged(&cache, b"redis_version:7", b"redis_version:5").await;
    refused(with("cache", &format!("redis://{old}")).await, 3, "RTD028", "6.2");
    let mut redis = TcpStream::connect(&cache).await.expect("redis");
    redis.write_all(b"CONFIG SET requirepass right\r\n").await.expect("a command");
    let mut said = [0; 5];
    redis.read_exact(&mut said).await.expect("an answer");
    assert_eq!(&said, b"+OK\r\n");
    refused(with("cache", &format!("redis://{cache}")).await, 3, "RTD027", "password");

    let bucket = engines.s3();
    let missing = bucket.replacen("s3://", "s3://nobodys-", 1);
    refused(with("objects", &missing).await, 3, "RTD032", "nobodys-");
    refused(with("objects", "ftp://127.0.0.1/x").await, 3, "RTD001", "ftp");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_does_not_prove_who_it_is_is_told_with_its_code() {
    let redis = Secured::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let cache = async |url: String| serve(&redis.engines, &data, &[("cache", &url)]).await;

    let stranger = redis.at(":5ecret@localhost", &redis.file("others.pem"));
    refused(cache(stranger).await, 3, "RTD037", "is not trusted");
    let other_name = redis.at("127.0.0.1", &redis.file("ca.pem"));
    refused(cache(other_name).await, 3, "RTD037", "127.0.0.1");
    let in_the_open = redis.engines.redis().replacen("redis://127.0.0.1", "rediss://localhost", 1);
    let in_the_open = format!("{in_the_open}?ca={}", redis.file("ca.pem").display());
    refused(cache(in_the_open).await, 3, "RTD038", "in the open");
    refused(cache(format!("redis://localhost:{}", redis.port)).await, 3, "RTD038", "speaks TLS");
    let missing = redis.at("localhost", &redis.file("missing.pem"));
    refused(cache(missing).await, 3, "RTD001", "missing.pem");
    let no_certificate = redis.at("localhost", &redis.file("server.key"));
    refused(cache(no_certificate).await, 3, "RTD001", "server.key");
    refused(cache(format!("{}#insecure", redis.url())).await, 3, "RTD001", "always verified");
}
