//! The full screen: keys, resizes, pauses, and what stands on it, without a terminal.

use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use futures_util::stream;
use kernel::{ManualClock, Timestamp};
use ratatui::backend::TestBackend;
use tokio::sync::mpsc;

use super::*;
use crate::metrics::testing::{NOW_MS, alerting, shop};
use crate::metrics::{Local, slo};

fn text(terminal: &Terminal<TestBackend>) -> String {
    let buffer = terminal.backend().buffer();
    let width = usize::from(buffer.area.width);
    let cells: Vec<&str> = buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect();
    cells.chunks(width).map(|row| format!("{}\n", row.concat().trim_end())).collect()
}

fn source() -> Source {
    Source::Local(Box::new(Local::of_history(shop())))
}

async fn live(detail: Option<&str>) -> Live {
    let objectives = slo::catalogue();
    look(&source(), &objectives, "1m", detail.map(str::to_owned), NOW_MS).await.unwrap()
}

fn drawn(view: &View, (width, height): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen(frame, view, Paint::Plain)).unwrap();
    text(&terminal)
}

fn key(code: KeyCode) -> KeyEvent {
    KeyEvent::new(code, KeyModifiers::NONE)
}

fn press(view: &mut View, keys: &str) -> Act {
    let mut act = Act::Nothing;
    for letter in keys.chars() {
        let code = match letter {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            '↓' => KeyCode::Down,
            letter => KeyCode::Char(letter),
        };
        act = view.press(key(code));
    }
    act
}

async fn seen() -> View {
    let mut view = View::new("local");
    view.take(Ok(live(None).await));
    view
}

#[tokio::test]
async fn the_screen_at_80_by_24() {
    let mut view = seen().await;
    if let Some(live) = &mut view.live {
        (live.alerts, live.targets) = alerting();
    }
    insta::assert_snapshot!(drawn(&view, (80, 24)));
}

#[tokio::test]
async fn the_screen_at_200_by_60() {
    let mut view = seen().await;
    if let Some(live) = &mut view.live {
        (live.alerts, live.targets) = alerting();
    }
    insta::assert_snapshot!(drawn(&view, (200, 60)));
}

#[tokio::test]
async fn a_service_is_looked_into_at_80_by_24() {
    let mut view = seen().await;
    assert_eq!(press(&mut view, "/ord\n\n"), Act::Ask);
    assert_eq!(view.detail(), Some("orders"));
    view.take(Ok(live(view.detail()).await));
    insta::assert_snapshot!(drawn(&view, (80, 24)));
    assert_eq!(press(&mut view, "\x1b"), Act::Ask);
    assert_eq!((view.detail(), view.rows()[view.marked()].name.as_str()), (None, "orders"));
}

#[tokio::test]
async fn keys_sort_reverse_filter_and_mark() {
    let mut view = seen().await;
    let names = |view: &View| view.rows().iter().map(|row| row.name.clone()).collect::<Vec<_>>().join(" ");
    assert_eq!(names(&view), "catalog gateway inventory orders payments");
    press(&mut view, "s");
    assert!(names(&view).starts_with("gateway"), "by rate, the greatest first: {}", names(&view));
    press(&mut view, "r");
    assert!(names(&view).ends_with("gateway"));
    press(&mut view, "↓↓");
    let marked = view.rows()[view.marked()].name.clone();
    press(&mut view, "rr");
    assert_eq!(view.rows()[view.marked()].name, marked, "the mark stays with its row");
    press(&mut view, "/y");
    assert_eq!(names(&view).split(' ').count(), 3);
    assert_eq!(press(&mut view, "q"), Act::Nothing, "letters go into the filter");
    assert_eq!(names(&view), "");
    press(&mut view, "\x1b");
    assert_eq!(names(&view).split(' ').count(), 5);
    assert_eq!(press(&mut view, "?"), Act::Nothing);
    assert_eq!(press(&mut view, "q"), Act::Nothing, "any key closes the help");
    assert_eq!(press(&mut view, "q"), Act::Quit);
    assert_eq!(view.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Act::Interrupt);
}

#[tokio::test]
async fn a_question_that_fails_leaves_the_last_answer_and_says_so() {
    let mut view = View::new("local");
    let failed = || Err(Error::new(&codes::NET002, "the admin port does not answer"));
    view.take(failed());
    assert!(drawn(&view, (80, 24)).contains("NET002: the admin port does not answer"));
    view.take(Ok(live(None).await));
    view.take(failed());
    let screen = drawn(&view, (80, 24));
    assert!(screen.contains("NET002") && screen.contains("gateway"), "{screen}");
}

#[tokio::test]
async fn no_size_of_the_terminal_breaks_the_drawing() {
    let mut view = seen().await;
    for help in [false, true] {
        if help {
            press(&mut view, "?");
        }
        for (width, height) in
            [(1, 1), (10, 3), (40, 10), (41, 11), (79, 23), (80, 24), (120, 12), (300, 100)]
        {
            let screen = drawn(&view, (width, height));
            assert!(screen.lines().all(|line| line.chars().count() <= usize::from(width)));
        }
    }
}

/// Runs the loop on a screen of its own; what is sent is what the operator types.
struct Seat {
    keys: mpsc::UnboundedSender<io::Result<Event>>,
    trigger: crate::signals::Trigger,
}

impl Seat {
    fn type_in(&self, letters: &str) {
        for letter in letters.chars() {
            self.keys.send(Ok(Event::Key(key(KeyCode::Char(letter))))).unwrap();
        }
    }
}

async fn sit(act: impl AsyncFnOnce(&Seat)) -> (Result<End>, String) {
    let (keys, typed) = mpsc::unbounded_channel();
    let (trigger, interrupts) = Interrupts::new();
    let seat = Seat { keys, trigger };
    let source = source();
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(NOW_MS)));
    let objectives = slo::catalogue();
    let watched = Watched {
        source: &source,
        clock: &*clock,
        env: "local",
        objectives: &objectives,
        window: "1m".to_owned(),
        every: Duration::from_secs(2),
    };
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let events = stream::unfold(typed, |mut typed| async move { Some((typed.recv().await?, typed)) });
    let end = {
        let watching = watch(&watched, Paint::Plain, &mut terminal, events, &interrupts);
        let (end, ()) = tokio::join!(watching, act(&seat));
        end
    };
    let text = text(&terminal);
    (end, text)
}

#[tokio::test(start_paused = true)]
async fn the_loop_asks_draws_and_ends_by_a_key() {
    let (end, text) = sit(async |seat| {
        tokio::time::sleep(Duration::from_secs(5)).await;
        seat.keys.send(Ok(Event::Resize(80, 24))).unwrap();
        seat.type_in("sq");
    })
    .await;
    assert_eq!(end.unwrap(), End::Quit);
    assert!(text.contains("RATE▼") && text.contains("gateway"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_the_loop_at_once() {
    let (end, _) = sit(async |seat| seat.trigger.fire(Signal::Terminate)).await;
    assert_eq!(end.unwrap(), End::By(Signal::Terminate));
}

#[tokio::test(start_paused = true)]
async fn a_pause_keeps_what_is_shown() {
    let (end, text) = sit(async |seat| {
        tokio::time::sleep(Duration::from_secs(1)).await;
        seat.type_in("p");
        tokio::time::sleep(Duration::from_secs(60)).await;
        seat.type_in("q");
    })
    .await;
    assert_eq!(end.unwrap(), End::Quit);
    assert!(text.contains("PAUSED"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_keyboard_that_goes_away_ends_the_loop() {
    let (end, _) = sit(async |seat| {
        seat.keys.send(Err(io::Error::other("the terminal is gone"))).unwrap();
    })
    .await;
    assert_eq!(end.unwrap_err().code().id, "INT001");
}
