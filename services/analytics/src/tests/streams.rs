//! The stream: order, refusals, back-pressure, clients that are slow, idle or gone.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use db::params;
use futures_util::{StreamExt, stream};
use http::Request;
use serde_json::{Value, json};
use testkit::House;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

use super::books::assert_balanced;
use super::{analyst, get, house, house_with, item};
use crate::stream::{CHUNK_MAX, LINE_MAX};

async fn open(house: &House, body: Body) -> BodyDataStream {
    let request = Request::post("/api/v1/transactions:stream?source=till")
        .header("authorization", format!("Bearer {}", analyst(house)))
        .header("content-type", "application/x-ndjson")
        .body(body)
        .unwrap();
    let Ok(response) = house.router.clone().oneshot(request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    response.into_body().into_data_stream()
}

fn answers(bytes: &[u8]) -> Vec<Value> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

async fn rest(mut stream: BodyDataStream) -> Vec<Value> {
    let mut all = Vec::new();
    while let Some(bytes) = stream.next().await {
        all.extend(answers(&bytes.unwrap()));
    }
    all
}

fn lines(numbers: std::ops::Range<i64>) -> String {
    numbers.map(|n| format!("{}\n", item(n))).collect()
}

async fn stored(house: &House) -> i64 {
    let db = &house.service("analytics").db;
    assert_balanced(db);
    let count =
        db.read_now(|tx| tx.query_one("SELECT COUNT(*) FROM transactions", params![], |row| row.get(0)));
    count.unwrap_or_else(|error: db::Error| panic!("{error}"))
}

fn results(answers: &[Value]) -> Vec<(i64, String)> {
    let text = |answer: &Value| match answer["code"].as_str() {
        Some(code) => code.to_owned(),
        None => answer["result"].as_str().unwrap().to_owned(),
    };
    answers.iter().map(|answer| (answer["line"].as_i64().unwrap(), text(answer))).collect()
}

/// A stream with everything that can be wrong with a line, and what each is answered.
fn mixed() -> (String, Vec<(i64, String)>) {
    let mut changed = item(1);
    changed["amount"] = json!(1);
    let fits = item(5);
    let padding = LINE_MAX - fits.to_string().len();
    let text = [
        format!("{}\r\n", item(1)),
        "\n".to_owned(),
        "   \t\r\n".to_owned(),
        format!("{}\n", item(1)),
        "{\"external_id\":\n".to_owned(),
        format!("{changed}\n"),
        format!("{{\"external_id\":\"{}\"}}\n", "x".repeat(LINE_MAX)),
        format!("  {}\n", item(2)),
        "[\"line-9\",\"2026-03-01T09:00:00.000Z\",1,\"KRW\",\"\",\"tea\",null,null,null,null]\n".to_owned(),
        "{\"role\":1}\n".to_owned(),
        format!("{}{}\n", fits, " ".repeat(padding)),
        format!("{}{}\n", fits, " ".repeat(padding + 1)),
        "\u{fffd}\n".to_owned(),
        item(3).to_string(),
    ]
    .concat();
    let wanted = [
        (1, "accepted"),
        (4, "duplicate"),
        (5, "malformed_json"),
        (6, "content_differs"),
        (7, "line_too_long"),
        (8, "accepted"),
        (9, "invalid_value"),
        (10, "unknown_field"),
        (11, "accepted"),
        (12, "line_too_long"),
        (13, "malformed_json"),
        (14, "accepted"),
    ];
    (text, wanted.map(|(line, result)| (line, result.to_owned())).into())
}

#[tokio::test]
async fn each_line_is_answered_in_order_however_the_bytes_are_cut() {
    let (text, wanted) = mixed();
    for size in [1, 7, 1_000, 65_536, text.len()] {
        let house = house().await;
        let pieces: Vec<_> = text
            .as_bytes()
            .chunks(size)
            .map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece)))
            .collect();
        let answers = rest(open(&house, Body::from_stream(stream::iter(pieces))).await).await;
        assert_eq!(results(&answers), wanted, "pieces of {size}");
        assert_eq!(stored(&house).await, 4);
    }
}

#[tokio::test]
async fn an_endless_line_is_refused_before_it_ends() {
    let house = house().await;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let head = stream::iter([Ok::<_, Infallible>(Bytes::from(lines(1..2)))]);
    let endless = stream::repeat_with(move || {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(Bytes::from_static(&[b'x'; 8 * 1024]))
    });
    let mut stream = open(&house, Body::from_stream(head.chain(endless))).await;
    let mut all = Vec::new();
    while all.len() < 2 {
        all.extend(answers(&stream.next().await.unwrap().unwrap()));
    }
    assert_eq!(results(&all), [(1, "accepted".to_owned()), (2, "line_too_long".to_owned())]);
}

#[tokio::test]
async fn no_more_is_read_than_the_client_takes_answers_for() {
    let house = house().await;
    let read = Arc::new(AtomicUsize::new(0));
    let count = read.clone();
    let half = i64::try_from(CHUNK_MAX / 2).unwrap();
    let pieces = stream::iter(0..8).map(move |n| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Infallible>(Bytes::from(lines(n * half..(n + 1) * half)))
    });
    let mut stream = open(&house, Body::from_stream(pieces)).await;
    for taken in 0..4_usize {
        assert_eq!(read.load(Ordering::SeqCst), taken * 2);
        assert_eq!(stored(&house).await, i64::try_from(taken * CHUNK_MAX).unwrap());
        let piece = answers(&stream.next().await.unwrap().unwrap());
        assert_eq!(piece.len(), CHUNK_MAX);
        assert_eq!(piece[0]["line"], taken * CHUNK_MAX + 1);
    }
    assert!(stream.next().await.is_none());
    assert_eq!(get(&house, "analytics/totals?source=till").await["lines"], 2_000);
}

#[tokio::test]
async fn one_big_piece_is_stored_in_chunks() {
    let house = house().await;
    let mut stream = open(&house, Body::from(lines(0..1_200))).await;
    let mut sizes = Vec::new();
    while let Some(bytes) = stream.next().await {
        sizes.push(answers(&bytes.unwrap()).len());
    }
    assert_eq!(sizes, [500, 500, 200]);
    assert_eq!(stored(&house).await, 1_200);
}

#[tokio::test]
async fn what_was_answered_is_stored_when_either_side_breaks_off() {
    let house = house().await;
    let mut stream = open(&house, Body::from(lines(0..1_200))).await;
    let first = answers(&stream.next().await.unwrap().unwrap());
    drop(stream);
    assert_eq!(stored(&house).await, i64::try_from(first.len()).unwrap());

    let half = lines(2_001..2_002);
    let pieces = [
        Ok(Bytes::from(lines(2_000..2_001))),
        Ok(Bytes::copy_from_slice(&half.as_bytes()[..half.len() / 2])),
        Err(std::io::Error::other("the client is gone")),
    ];
    let answers = rest(open(&house, Body::from_stream(stream::iter(pieces))).await).await;
    assert_eq!(results(&answers), [(1, "accepted".to_owned())]);
    assert_eq!(stored(&house).await, i64::try_from(first.len()).unwrap() + 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_lives_as_long_as_something_arrives_and_ends_after_thirty_idle_seconds() {
    let house = house().await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<String>(1);
    let pieces = stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|piece| (Ok::<_, Infallible>(Bytes::from(piece)), receiver))
    });
    let mut stream = open(&house, Body::from_stream(pieces)).await;
    for n in 1..=40 {
        tokio::time::sleep(Duration::from_secs(29)).await;
        sender.send(lines(n..n + 1)).await.unwrap();
        let answer = answers(&stream.next().await.unwrap().unwrap());
        assert_eq!(results(&answer), [(n, "accepted".to_owned())]);
    }
    sender.send("{\"external_id\":".to_owned()).await.unwrap();
    let started = tokio::time::Instant::now();
    let last = rest(stream).await;
    assert_eq!(results(&last), [(41, "idle_timeout".to_owned())]);
    assert_eq!(started.elapsed().as_secs(), 30);
    assert_eq!(stored(&house).await, 40);
}

#[tokio::test]
async fn there_are_only_so_many_streams_at_once() {
    let house = house_with(json!({ "streams_max": 1 })).await;
    let open_one = open(&house, Body::from_stream(stream::pending::<Result<Bytes, Infallible>>())).await;
    let post = || {
        let call = house.post("/api/v1/transactions:stream?source=till").token(&analyst(&house));
        call.bytes("application/x-ndjson", lines(0..1)).send()
    };
    post().await.expect_problem(503, "too_many_streams");
    drop(open_one);
    assert_eq!(post().await.status, 200);
    let other = house.post("/api/v1/transactions:stream?source=till").token(&analyst(&house));
    other.bytes("application/json", lines(0..1)).send().await.expect_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn a_chunk_that_cannot_be_stored_is_said_so_and_ends_the_stream() {
    let house = house().await;
    let db = house.service("analytics").db.clone();
    db.write(|tx| tx.execute_batch("ALTER TABLE month_totals RENAME TO elsewhere")).await.unwrap();
    let answers = rest(open(&house, Body::from(lines(0..600))).await).await;
    let wanted: Vec<_> = (1..=500).map(|line| (line, "not_stored".to_owned())).collect();
    assert_eq!(results(&answers), wanted);
    db.write(|tx| tx.execute_batch("ALTER TABLE elsewhere RENAME TO month_totals")).await.unwrap();
    assert_eq!(stored(&house).await, 0);
    assert_eq!(rest(open(&house, Body::from(lines(0..600))).await).await.len(), 600);
    assert_eq!(stored(&house).await, 600);
}

#[tokio::test]
async fn over_a_socket_answers_come_while_the_client_still_sends() {
    let house = house().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let server = web::Server::new(listener, house.router.clone(), web::ServerConfig::default());
    let serving = tokio::spawn(server.run(stop.clone()));

    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api/v1/transactions:stream?source=till HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
        analyst(&house)
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut read = String::new();
    for n in 1..=20 {
        let piece = lines(n..n + 1);
        socket.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await.unwrap();
        read_until(&mut socket, &mut read, &format!("{{\"line\":{n},\"result\":\"accepted\"}}\n")).await;
    }
    // A client that sends much and reads nothing until the end loses nothing.
    let piece = lines(100..20_100);
    let (mut reader, mut writer) = socket.into_split();
    let sending = tokio::spawn(async move {
        writer.write_all(format!("{:x}\r\n{piece}\r\n0\r\n\r\n", piece.len()).as_bytes()).await.unwrap();
        writer
    });
    read_until(&mut reader, &mut read, "\r\n0\r\n\r\n").await;
    drop(sending.await.unwrap());
    assert_eq!(read.matches("\"result\":\"accepted\"").count(), 20_020);
    assert_eq!(stored(&house).await, 20_020);
    stop.cancel();
    serving.await.unwrap();
}

async fn read_until(socket: &mut (impl AsyncReadExt + Unpin), read: &mut String, wanted: &str) {
    let mut buffer = vec![0; 64 * 1024];
    while !read.contains(wanted) {
        let count = socket.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0, "the server closed early: {read}");
        read.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_process_after_the_chunk_under_way() {
    let house = house().await;
    let head = stream::iter([Ok::<_, Infallible>(Bytes::from(lines(1..4)))]);
    let mut stream = open(&house, Body::from_stream(head.chain(stream::pending()))).await;
    let first = answers(&stream.next().await.unwrap().unwrap());
    assert_eq!(first.len(), 3);
    house.context.stopping.cancel();
    assert!(stream.next().await.is_none());
    assert_eq!(stored(&house).await, 3);
}
