//! Following: every state once and in order, whatever breaks off on the way.

use std::time::Duration;

use super::{name, number_of, shop, with};
use crate::testing::{Script, Standin, Step, World, stage};
use crate::{BuildResult, Client, Error, Event, From, Item, Pace, StageStatus, Watch};

/// Time does not pass in the stand-in, so nobody need wait.
const AT_ONCE: Pace = Pace { poll: Duration::ZERO, patience: Duration::from_secs(60) };

async fn begun(arrange: impl FnOnce(&mut World)) -> (Standin, Client, From) {
    let (standin, client) = with(None, arrange).await;
    let queued = client.run(&name("shop"), &[]).await.unwrap();
    (standin, client, From::Item(queued.item))
}

/// Everything that happens until the end, or to an error.
async fn all(watch: &mut Watch<'_>) -> (Vec<Event>, Option<Error>) {
    let mut events = Vec::new();
    loop {
        match watch.next().await {
            Ok(Some(event)) => events.push(event),
            Ok(None) => return (events, None),
            Err(error) => return (events, Some(error)),
        }
    }
}

fn log_of(events: &[Event]) -> String {
    let text = |event: &Event| match event {
        Event::Log(text) => Some(text.clone()),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

fn scripted(script: Script) -> impl FnOnce(&mut World) {
    move |world| world.pipeline("shop", Vec::new(), script)
}

#[tokio::test]
async fn a_wish_is_followed_through_the_queue_to_the_end_of_its_build() {
    let stages = vec![
        vec![stage("Test", "IN_PROGRESS", 10)],
        vec![stage("Test", "SUCCESS", 20), stage("Deploy", "IN_PROGRESS", 5)],
        vec![stage("Test", "SUCCESS", 20), stage("Deploy", "UNSTABLE", 9)],
    ];
    let script = Script { stages, result: "UNSTABLE", ..Script::default() };
    let (_standin, client, from) = begun(scripted(script)).await;
    let mut watch = Watch::new(&client, name("shop"), from, AT_ONCE);
    let (events, error) = all(&mut watch).await;
    assert!(error.is_none(), "{error:?}");
    assert!(matches!(
        &events[..4],
        [
            Event::Queued(Item::Waiting { .. }),
            Event::Queued(Item::Blocked { .. }),
            Event::Queued(Item::Buildable { .. }),
            Event::Started(1)
        ]
    ));
    assert_eq!(log_of(&events), "Started\nFinished: SUCCESS\n");
    let last_stages = events.iter().rev().find_map(|event| match event {
        Event::Stages(stages) => Some(stages.clone()),
        _ => None,
    });
    let statuses: Vec<_> = last_stages.unwrap().iter().map(|stage| stage.status).collect();
    assert_eq!(statuses, [StageStatus::Success, StageStatus::Unstable]);
    let Some(Event::Ended(build)) = events.last() else { panic!("{events:?}") };
    assert_eq!(build.result, Some(BuildResult::Unstable));
    assert_eq!((watch.number(), watch.next().await.unwrap()), (Some(1), None));
}

#[tokio::test]
async fn a_jenkins_that_is_started_again_in_the_middle_loses_and_repeats_nothing() {
    let pieces: Vec<Vec<u8>> =
        "Gebaut für 한국 🛒\nzwei\ndrei\n".as_bytes().chunks(5).map(<[u8]>::to_vec).collect();
    let (standin, client, from) = begun(scripted(Script { log: pieces, ..Script::default() })).await;
    let mut watch = Watch::new(&client, name("shop"), from, AT_ONCE);
    let mut events = Vec::new();
    // Away in the queue, then between and within pieces of the log.
    standin.world().outages = 2;
    while let Some(event) = watch.next().await.unwrap() {
        if let Event::Log(_) = event {
            let is_early = log_of(&events).len() < 12;
            standin.world().outages = u32::from(is_early) * 3;
            standin.world().cuts = u32::from(!is_early);
        }
        events.push(event);
    }
    assert_eq!(log_of(&events), "Gebaut für 한국 🛒\nzwei\ndrei\n");
    let aways = events.iter().filter(|event| matches!(event, Event::Away(_))).count();
    let backs = events.iter().filter(|event| matches!(event, Event::Back(_))).count();
    assert!(aways >= 4 && aways == backs, "{aways} {backs}");
}

#[tokio::test]
async fn a_jenkins_that_stays_away_is_given_up_and_can_be_followed_again() {
    let (standin, client, from) = begun(shop).await;
    let hasty = Pace { patience: Duration::ZERO, ..AT_ONCE };
    let mut watch = Watch::new(&client, name("shop"), from, hasty);
    assert!(matches!(watch.next().await.unwrap(), Some(Event::Queued(_))));
    standin.world().outages = 1;
    let error = watch.next().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let (events, error) = all(&mut Watch::new(&client, name("shop"), from, hasty)).await;
    assert!(error.is_none() && matches!(events.last(), Some(Event::Ended(_))), "{error:?}");
}

#[tokio::test]
async fn an_item_that_is_taken_out_or_forgotten_ends_it() {
    for (steps, wanted) in [
        (vec![Step::Waiting, Step::Cancelled], Event::Cancelled),
        // It left long ago: its build is found by the number of the item.
        (vec![Step::Expired], Event::Started(1)),
    ] {
        let (_standin, client, from) = begun(scripted(Script { queue: steps, ..Script::default() })).await;
        let (events, error) = all(&mut Watch::new(&client, name("shop"), from, AT_ONCE)).await;
        assert!(error.is_none() && events.contains(&wanted), "{events:?}");
    }
    let (_standin, client, _) = begun(shop).await;
    let (events, _) = all(&mut Watch::new(&client, name("shop"), From::Item(999), AT_ONCE)).await;
    assert_eq!(events, [Event::Expired]);
}

#[tokio::test]
async fn without_the_plug_in_of_stages_the_log_is_told_all_the_same() {
    let (_standin, client, from) = begun(|world| {
        shop(world);
        world.lacks_stages = true;
    })
    .await;
    let (events, error) = all(&mut Watch::new(&client, name("shop"), from, AT_ONCE)).await;
    assert!(error.is_none());
    assert_eq!(events.iter().filter(|event| **event == Event::NoStages).count(), 1);
    assert_eq!(log_of(&events), "Started\nFinished: SUCCESS\n");
}

#[tokio::test]
async fn a_question_is_told_once_and_its_answer_lets_the_build_go_on() {
    let inputs =
        vec![serde_json::json!({"id": "go", "message": "Deploy?", "proceedText": "Yes", "inputs": []})];
    let (standin, client, from) = begun(scripted(Script { inputs, ..Script::default() })).await;
    let mut watch = Watch::new(&client, name("shop"), from, AT_ONCE);
    let mut asked = Vec::new();
    while let Some(event) = watch.next().await.unwrap() {
        if let Event::Asks(inputs) = event {
            if let [input] = inputs.as_slice() {
                client.proceed(&name("shop"), 1, input, &[]).await.unwrap();
            }
            asked.push(inputs.len());
        }
    }
    assert_eq!(asked, [1, 0]);
    assert_eq!(standin.world().jobs["shop"].builds[0].answers[0].1, "proceedEmpty");
}

#[tokio::test]
async fn a_log_that_was_replaced_is_told_from_its_begin() {
    let log = vec![b"one\n".to_vec(), b"two\n".to_vec(), b"three\n".to_vec()];
    let (standin, client) = with(None, scripted(Script { log, ..Script::default() })).await;
    let queued = client.run(&name("shop"), &[]).await.unwrap();
    let number = number_of(&client, queued.item).await;
    let mut watch = Watch::new(&client, name("shop"), From::Build(number), AT_ONCE);
    let mut events = Vec::new();
    while let Some(event) = watch.next().await.unwrap() {
        let is_second = matches!(&event, Event::Log(text) if text == "two\n");
        if is_second {
            standin.world().jobs.get_mut("shop").unwrap().builds[0].written = b"x".to_vec();
            standin.world().jobs.get_mut("shop").unwrap().builds[0].pending.clear();
        }
        events.push(event);
    }
    let from_there = events.iter().position(|event| *event == Event::LogBeganAgain).unwrap();
    assert_eq!(log_of(&events[..from_there]), "one\ntwo\n");
    assert_eq!(log_of(&events[from_there..]), "x");
}

#[tokio::test]
async fn a_build_that_is_deleted_while_it_is_followed_is_an_error() {
    let (standin, client, from) = begun(shop).await;
    let mut watch = Watch::new(&client, name("shop"), from, AT_ONCE);
    while !matches!(watch.next().await.unwrap(), Some(Event::Log(_))) {}
    standin.world().jobs.get_mut("shop").unwrap().builds.clear();
    let (_, error) = all(&mut watch).await;
    assert!(matches!(error, Some(Error::NotFound { what }) if what == "build 1 of shop"));
}

#[tokio::test]
async fn notes_that_are_sent_are_taken_out() {
    let log = vec![b"\x1b[8mha:////4AA".to_vec(), b"BB=\x1b[0mStarted\n".to_vec(), b"\x1b[8mha:cut".to_vec()];
    let (_standin, client, from) = begun(|world| {
        scripted(Script { log, ..Script::default() })(world);
        world.sends_notes = true;
    })
    .await;
    let (events, _) = all(&mut Watch::new(&client, name("shop"), from, AT_ONCE)).await;
    assert_eq!(log_of(&events), "Started\n");
}
