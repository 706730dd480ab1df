//! SMTP against a small server on the loopback that is friendly, refuses, defers, or hangs.

use std::sync::{Arc, Mutex};

use contracts::topics;
use contracts::users::VerificationRequested;
use kernel::Clock;
use serde_json::json;
use testkit::House;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{confirm, register};
use crate::config::{SmtpConfig, Tls};
use crate::mailer::{Mail, Mailer, Outcome, Password, Smtp};
use crate::message::address_of;
use crate::oracle;

/// What the server does with whom. Recipients choose: `r450@`, `r550@`, `d451@` (after the text), `hang@` (after the
/// text), `hangrcpt@`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Friendly,
    /// Answers the connection with 421.
    Closing,
    /// Never says a word.
    Mute,
    /// Wants the password `second`.
    Strict,
}

#[derive(Default)]
struct Seen {
    commands: Vec<String>,
    texts: Vec<String>,
    connections: usize,
}

struct Server {
    port: u16,
    seen: Arc<Mutex<Seen>>,
}

async fn serve(mood: Mood) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let shared = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            shared.lock().unwrap().connections += 1;
            tokio::spawn(converse(stream, mood, shared.clone()));
        }
    });
    Server { port, seen }
}

async fn converse(stream: TcpStream, mood: Mood, seen: Arc<Mutex<Seen>>) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    match mood {
        Mood::Mute => std::future::pending().await,
        Mood::Closing => return writer.write_all(b"421 closing down\r\n").await,
        Mood::Friendly | Mood::Strict => writer.write_all(b"220 ready\r\n").await?,
    }
    let mut to = String::new();
    while let Some(line) = lines.next_line().await? {
        seen.lock().unwrap().commands.push(line.clone());
        let verb = line.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => "250-here\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN".to_owned(),
            // In base64: no name, the user shop, the password.
            "AUTH" if mood == Mood::Strict && line != "AUTH PLAIN AHNob3AAc2Vjb25k" => {
                "535 wrong password".to_owned()
            }
            "AUTH" => "235 welcome".to_owned(),
            "MAIL" => "250 ok".to_owned(),
            "RCPT" => {
                to = line.clone();
                match () {
                    () if to.contains("r450@") => "450 mailbox busy".to_owned(),
                    () if to.contains("r550@") => "550 5.1.1 <R550@x.kr>: no such user".to_owned(),
                    () if to.contains("hangrcpt@") => std::future::pending().await,
                    () => "250 ok".to_owned(),
                }
            }
            "DATA" => {
                writer.write_all(b"354 go on\r\n").await?;
                let mut text = String::new();
                while let Some(line) = lines.next_line().await? {
                    if line == "." {
                        break;
                    }
                    text.push_str(line.strip_prefix('.').unwrap_or(&line));
                    text.push_str("\r\n");
                }
                seen.lock().unwrap().texts.push(text);
                match () {
                    () if to.contains("d451@") => "451 out of room".to_owned(),
                    () if to.contains("hang@") => std::future::pending().await,
                    () => "250 queued as 42 for a@x.kr".to_owned(),
                }
            }
            "QUIT" => {
                writer.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => "502 what".to_owned(),
        };
        writer.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}

fn config(port: u16) -> SmtpConfig {
    SmtpConfig {
        host: "127.0.0.1".to_owned(),
        port,
        tls: Tls::None,
        timeout_ms: 300,
        connections: 1,
        ..SmtpConfig::default()
    }
}

fn mail(to: &str) -> Mail {
    Mail {
        message_id: format!("{to}.1"),
        from: address_of("shop@rtc.local").unwrap(),
        to: address_of(to).unwrap(),
        bytes: format!("To: {to}\r\n\r\n.a line with a dot\r\n").into_bytes().into(),
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Sent { .. } => "sent",
        Outcome::Deferred { .. } => "deferred",
        Outcome::Unknown { .. } => "unknown",
        Outcome::Refused { .. } => "refused",
        Outcome::Unreachable { .. } => "unreachable",
    }
}

async fn send(config: SmtpConfig, password: Option<&str>, to: &[&str]) -> Vec<Outcome> {
    let given = Password::default();
    given.set(password.unwrap_or_default());
    let smtp = Smtp::new(config, password.map(|_| given)).unwrap();
    smtp.send(to.iter().map(|to| mail(to)).collect()).await
}

async fn words(config: SmtpConfig, password: Option<&str>, to: &[&str]) -> Vec<&'static str> {
    send(config, password, to).await.iter().map(word).collect()
}

#[tokio::test]
async fn a_batch_goes_over_one_connection_and_each_letter_gets_its_own_verdict() {
    let server = serve(Mood::Friendly).await;
    let outcomes = send(config(server.port), None, &["a@x.kr", "b@x.kr"]).await;
    assert_eq!(
        outcomes[0],
        Outcome::Sent { provider_id: "queued as 42 for <address>".to_owned(), place: None }
    );
    assert_eq!(server.seen.lock().unwrap().connections, 1);
    assert_eq!(server.seen.lock().unwrap().texts[1], "To: b@x.kr\r\n\r\n.a line with a dot\r\n");

    let to = ["a@x.kr", "r450@x.kr", "b@x.kr", "r550@x.kr", "d451@x.kr", "c@x.kr"];
    let wanted = ["sent", "deferred", "sent", "refused", "deferred", "sent"];
    assert_eq!(words(config(server.port), None, &to).await, wanted);
    let refused = send(config(server.port), None, &["r550@x.kr"]).await;
    let Outcome::Refused { reason } = &refused[0] else { panic!("{refused:?}") };
    assert!(reason.contains("no such user") && !reason.contains('@'), "{reason}");
    let several = SmtpConfig { connections: 3, ..config(server.port) };
    assert_eq!(words(several, None, &to).await, wanted);
}

#[tokio::test]
async fn silence_after_the_text_leaves_the_outcome_unknown_and_before_it_does_not() {
    let server = serve(Mood::Friendly).await;
    let to = ["hang@x.kr", "hangrcpt@x.kr", "a@x.kr"];
    assert_eq!(words(config(server.port), None, &to).await, ["unknown", "deferred", "sent"]);
    assert_eq!(server.seen.lock().unwrap().connections, 3, "a connection that fell silent is not used again");
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_tried_once_a_batch() {
    for mood in [Mood::Closing, Mood::Mute] {
        let server = serve(mood).await;
        let outcomes = words(config(server.port), None, &["a@x.kr", "b@x.kr"]).await;
        assert_eq!(outcomes, ["unreachable", "unreachable"]);
        assert_eq!(server.seen.lock().unwrap().connections, 1);
    }
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    assert_eq!(words(config(free), None, &["a@x.kr"]).await, ["unreachable"]);
}

#[tokio::test]
async fn a_batch_that_takes_too_long_gives_back_what_is_left() {
    let server = serve(Mood::Friendly).await;
    let config = SmtpConfig { batch_timeout_ms: 100, ..config(server.port) };
    assert_eq!(words(config, None, &["hang@x.kr", "a@x.kr"]).await, ["unknown", "unreachable"]);
}

#[tokio::test]
async fn a_password_is_said_when_asked_for_and_never_in_clear_where_tls_is_wanted() {
    let user = |server: &Server| SmtpConfig { user: Some("shop".to_owned()), ..config(server.port) };
    let server = serve(Mood::Friendly).await;
    assert_eq!(words(user(&server), Some("secret"), &["a@x.kr"]).await, ["sent"]);
    assert!(server.seen.lock().unwrap().commands.iter().any(|line| line.starts_with("AUTH PLAIN")));

    let server = serve(Mood::Strict).await;
    assert_eq!(words(user(&server), Some("wrong"), &["a@x.kr"]).await, ["unreachable"]);

    let server = serve(Mood::Friendly).await;
    let starttls = SmtpConfig { tls: Tls::Starttls, ..user(&server) };
    assert_eq!(words(starttls, Some("secret"), &["a@x.kr"]).await, ["unreachable"]);
    let commands = server.seen.lock().unwrap().commands.clone();
    assert!(commands.iter().all(|line| line.starts_with("EHLO")), "{commands:?}");
}

#[tokio::test]
async fn the_service_sends_by_smtp_what_it_is_told_by_events() {
    let server = serve(Mood::Friendly).await;
    let smtp =
        json!({ "smtp": { "host": "127.0.0.1", "port": server.port, "tls": "none", "timeout_ms": 2_000 } });
    let house = House::build(&[("services.notifications", smtp)], async |context| {
        Ok::<_, host::StartError>(vec![crate::service(context).await?])
    })
    .await;
    let kim = register(&house, 1, "ko").await;
    confirm(&house, 1, kim).await;
    let vault = &house.context.vault;
    let event = VerificationRequested {
        user_id: kim,
        email: vault.seal("r550@example.kr").unwrap(),
        code: vault.seal("Q7W8E9").unwrap(),
        expires_at: house.clock.now().plus(std::time::Duration::from_secs(180)),
        locale: "ko".to_owned(),
    };
    house.publish(topics::USERS, "users", &kim.to_string(), &event).await;
    house.settle().await;
    let counts = oracle::counts(&house.service("notifications").db).await.unwrap();
    assert_eq!((counts.sent, counts.failed), (1, 1));
    let text = server.seen.lock().unwrap().texts.concat();
    let read = crate::message::parse(text.as_bytes()).unwrap();
    assert!(read.subject.starts_with("[RTC] 주문이 확정되었습니다"), "{read:?}");
    assert!(read.message_id.ends_with("@rtc.local"));
}

#[tokio::test]
async fn a_password_that_was_rotated_is_said_from_then_on() {
    let server = serve(Mood::Strict).await;
    let smtp = json!({ "smtp": {
        "host": "127.0.0.1", "port": server.port, "tls": "none", "timeout_ms": 2_000,
        "user": "shop", "password_secret": "smtp_password",
    } });
    let file = Arc::new(Mutex::new(None));
    let put = file.clone();
    let house = House::build(&[("services.notifications", smtp)], async move |context| {
        let secret = context.config.data.join("secrets/smtp_password");
        std::fs::create_dir_all(secret.parent().unwrap()).unwrap();
        std::fs::write(&secret, "first").unwrap();
        *put.lock().unwrap() = Some(secret);
        Ok::<_, host::StartError>(vec![crate::service(context).await?])
    })
    .await;
    let kim = register(&house, 1, "ko").await;
    confirm(&house, 1, kim).await;
    let sent = async || oracle::counts(&house.service("notifications").db).await.unwrap().sent;
    house.settle().await;
    assert_eq!(sent().await, 0, "the server wants another password");
    let secret = file.lock().unwrap().clone().unwrap();
    std::fs::write(secret, "second\nfirst\n").unwrap();
    assert_eq!(house.context.secrets.refresh(), ["smtp_password"]);
    house.clock.advance(std::time::Duration::from_secs(3_600));
    house.settle().await;
    assert_eq!(sent().await, 1);
}
