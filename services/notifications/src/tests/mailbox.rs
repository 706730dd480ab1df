//! The mailbox on disk: its files, and what an admin sees of them.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use contracts::Role;
use kernel::ManualClock;
use serde_json::json;
use testkit::{House, NOON};

use super::{confirm, letters_to, register};
use crate::config::MailboxConfig;
use crate::mailer::{Mail, MailboxOnDisk, Mailer, Outcome, Place};
use crate::message::address_of;

fn mail(n: usize) -> Mail {
    Mail {
        message_id: format!("{n}@rtc.local"),
        from: address_of("shop@rtc.local").unwrap(),
        to: address_of("kim@example.kr").unwrap(),
        bytes: format!("letter {n} {}", "x".repeat(200)).into_bytes().into(),
    }
}

fn places(outcomes: Vec<Outcome>) -> Vec<Place> {
    let place = |outcome| match outcome {
        Outcome::Sent { place: Some(place), .. } => place,
        other => panic!("{other:?}"),
    };
    outcomes.into_iter().map(place).collect()
}

#[tokio::test]
async fn letters_are_appended_to_files_of_a_bounded_size_and_the_oldest_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(NOON));
    let config = MailboxConfig { segment_bytes_max: 1_000, keep_bytes_max: 3_000 };
    let open = || MailboxOnDisk::open(&dir.path().join("mail"), config.clone(), clock.clone()).unwrap();
    let mailbox = open();
    let first = places(mailbox.send(vec![mail(1), mail(2)]).await);
    for (n, place) in (1..).zip(&first) {
        let read = mailbox.read(place.clone()).await.unwrap().unwrap();
        assert_eq!(read, mail(n).bytes.to_vec());
    }
    assert_eq!(mailbox.segments().unwrap(), ["2026-03-01.0001.mbox"]);
    let mode = std::fs::metadata(dir.path().join("mail/2026-03-01.0001.mbox")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Another process goes on behind what is there.
    let mailbox = open();
    let again = places(mailbox.send(vec![mail(3)]).await);
    assert_eq!(again[0].segment, first[0].segment);
    assert_eq!(mailbox.read(again[0].clone()).await.unwrap().unwrap(), mail(3).bytes.to_vec());
    assert_eq!(mailbox.read(first[1].clone()).await.unwrap().unwrap(), mail(2).bytes.to_vec());

    for n in 4..40 {
        places(mailbox.send(vec![mail(n)]).await);
    }
    let segments = mailbox.segments().unwrap();
    assert!(segments.len() <= 4 && !segments.contains(&first[0].segment), "{segments:?}");
    assert_eq!(mailbox.read(first[0].clone()).await.unwrap(), None);

    clock.advance(Duration::from_secs(86_400));
    let tomorrow = places(mailbox.send(vec![mail(50)]).await);
    assert_eq!(tomorrow[0].segment, "2026-03-02.0001.mbox");
    let beyond = Place { offset: 1 << 40, ..tomorrow[0].clone() };
    assert_eq!(mailbox.read(beyond).await.unwrap(), None);
    let elsewhere = Place { segment: "../secrets.0001.mbox".to_owned(), ..tomorrow[0].clone() };
    assert_eq!(mailbox.read(elsewhere).await.unwrap(), None);
}

#[tokio::test]
async fn a_mailbox_that_cannot_be_written_keeps_its_letters_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mail");
    let clock = Arc::new(ManualClock::at(NOON));
    let mailbox = MailboxOnDisk::open(&path, MailboxConfig::default(), clock).unwrap();
    std::fs::remove_dir(&path).unwrap();
    let outcomes = mailbox.send(vec![mail(1), mail(2)]).await;
    assert!(outcomes.len() == 2 && outcomes.iter().all(|o| matches!(o, Outcome::Unreachable { .. })));
    std::fs::create_dir(&path).unwrap();
    assert_eq!(places(mailbox.send(vec![mail(1)]).await).len(), 1);
}

#[tokio::test]
async fn an_admin_reads_the_mailbox_and_nobody_else_does() {
    let house =
        House::build(&[], async |context| Ok::<_, host::StartError>(vec![crate::service(context).await?]))
            .await;
    let (kim, lee) = (register(&house, 1, "ko").await, register(&house, 2, "en").await);
    for n in 1..=3 {
        confirm(&house, n, kim).await;
    }
    confirm(&house, 4, lee).await;
    house.settle().await;

    for role in Role::ALL.into_iter().filter(|role| *role != Role::Admin) {
        let token = house.token(kim, role);
        house.get("/api/v1/mailbox").token(&token).send().await.expect_problem(403, "role_required");
    }
    house.get("/api/v1/mailbox").send().await.expect_problem(401, "token_missing");

    let admin = house.token(House::user(99), Role::Admin);
    let get = |path: String| house.get(&path).token(&admin).send();
    assert_eq!(letters_to(&house, "KIM1@example.kr").await.len(), 3);
    let to_lee = letters_to(&house, "kim2@example.kr").await;
    assert_eq!(to_lee.len(), 1);
    assert!(to_lee[0]["subject"].as_str().unwrap().starts_with("[RTC] Order confirmed"));
    assert!(letters_to(&house, "park@example.kr").await.is_empty());

    let mut seen = Vec::new();
    let mut path = "/api/v1/mailbox?limit=3".to_owned();
    loop {
        let page = get(path).await.expect(200);
        seen.extend(page["data"].as_array().unwrap().iter().map(|mail| mail["id"].as_i64().unwrap()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/mailbox?limit=3&cursor={cursor}");
    }
    assert_eq!(seen, [4, 3, 2, 1]);
    let foreign = get("/api/v1/mailbox?limit=1".to_owned()).await.expect(200)["next_cursor"].clone();
    let path = format!("/api/v1/mailbox?to=kim1@example.kr&cursor={}", foreign.as_str().unwrap());
    get(path).await.expect_problem(422, "validation_failed");

    let one = get(format!("/api/v1/mailbox/{}", seen[0])).await.expect(200);
    assert_eq!(one["kind"], "order_confirmed");
    assert!(one["source"].as_str().unwrap().contains("Message-ID: <evt_"), "{one}");
    for path in ["/api/v1/mailbox/777", "/api/v1/mailbox/x"] {
        assert_eq!(get(path.to_owned()).await.status, 404);
    }

    for entry in std::fs::read_dir(house.directory.path().join("mail")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert!(letters_to(&house, "kim1@example.kr").await.is_empty());
    get(format!("/api/v1/mailbox/{}", seen[0])).await.expect_problem(404, "mail_not_found");
}

#[tokio::test]
async fn with_a_mail_server_there_is_no_mailbox_to_read() {
    let sections = [("services.notifications", json!({ "smtp": { "host": "127.0.0.1", "tls": "none" } }))];
    let house = House::build(&sections, async |context| {
        Ok::<_, host::StartError>(vec![crate::service(context).await?])
    })
    .await;
    assert!(house.service("notifications").routes.is_empty());
    assert!(!house.directory.path().join("mail").exists());
}
