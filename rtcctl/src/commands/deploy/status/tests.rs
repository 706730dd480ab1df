//! The screen of `--watch`: what stands on it while a cluster goes on, and how it ends, without a terminal.

use std::io;

use crossterm::event::KeyEvent;
use futures_util::stream;
use kubernetes::testing::behaviour::Behaviour;
use kubernetes::testing::{Api, Control, What};
use kubernetes::write::Apply;
use ratatui::backend::TestBackend;
use tokio::sync::mpsc;

use super::*;
use crate::signals::Trigger;

const SIZE: (u16, u16) = (80, 24);

fn text_of(terminal: &Terminal<TestBackend>) -> String {
    let buffer = terminal.backend().buffer();
    let width = usize::from(buffer.area.width);
    let cells: Vec<&str> = buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect();
    cells.chunks(width).map(|row| format!("{}\n", row.concat().trim_end())).collect()
}

/// A cluster in which `users` is well and `orders` has an image that is not there.
async fn shop() -> Api {
    let api = Api::new();
    api.node("n1", 50, 4, 8);
    api.node("n2", 50, 4, 8);
    api.namespace("rtc");
    api.behave("orders", Behaviour::ImageMissing);
    for (name, replicas) in [("orders", 2), ("users", 3)] {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": "rtc" },
            "spec": {
                "replicas": replicas, "selector": { "matchLabels": { "app": name } },
                "template": {
                    "metadata": { "labels": { "app": name } },
                    "spec": { "containers": [{ "name": name, "image": format!("example.com/{name}:1") }] },
                },
            },
        });
        api.cluster().apply(&object, &Apply::default()).await.unwrap();
    }
    api.settle(20);
    api
}

fn targets() -> Vec<Target> {
    ["orders", "users"].map(|name| Target::new(Kind::Deployment, "rtc", name)).to_vec()
}

/// Where somebody sits and watches.
struct Seat {
    keys: mpsc::UnboundedSender<io::Result<Event>>,
    trigger: Trigger,
}

impl Seat {
    fn press(&self, code: KeyCode, modifiers: KeyModifiers) {
        self.keys.send(Ok(Event::Key(KeyEvent::new(code, modifiers)))).unwrap();
    }

    fn quit(&self) {
        self.press(KeyCode::Char('q'), KeyModifiers::NONE);
    }
}

/// Long enough for everything that has come to be drawn.
async fn a_moment() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

/// Watches until `act` has ended it; gives how it ended and what was seen last.
async fn sit(
    api: &Api,
    (width, height): (u16, u16),
    paint: Paint,
    act: impl AsyncFnOnce(&Seat),
) -> (Result<Exit>, Terminal<TestBackend>) {
    let (keys, typed) = mpsc::unbounded_channel();
    let (trigger, interrupts) = Interrupts::new();
    let (cluster, clock) = (api.cluster(), api.clock());
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let events = stream::unfold(typed, |mut typed| async move { Some((typed.recv().await?, typed)) });
    let seat = Seat { keys, trigger };
    let end = {
        let mut watched = Watched::begin(&cluster, "rtc", targets(), clock.as_ref());
        let watching = redrawn(&mut watched, paint, &mut terminal, events, &interrupts);
        let (end, ()) = tokio::join!(watching, act(&seat));
        end
    };
    (end, terminal)
}

#[tokio::test(start_paused = true)]
async fn what_fails_stands_above_what_is_well_until_a_key_ends_it() {
    let api = shop().await;
    let (end, terminal) = sit(&api, SIZE, Paint::Plain, async |seat| {
        a_moment().await;
        seat.quit();
    })
    .await;
    assert_eq!(end.unwrap(), exit::DONE);
    let text = text_of(&terminal);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("rtc at api.test: pods 2 failing, 3 well"), "{text}");
    assert!(lines[1].starts_with("✗ orders") && text.contains("ROL001"), "{text}");
    let at = |word: &str| lines.iter().position(|line| line.contains(word)).unwrap();
    assert!(at("✗ orders") < at("✓ users"), "{text}");
    assert!(!text.contains("reading") && !text.contains("may be old"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_change_is_drawn_when_it_comes_and_ages_go_on_without_one() {
    let api = shop().await;
    let played = api.clone();
    let (end, terminal) = sit(&api, SIZE, Paint::Plain, async |seat| {
        a_moment().await;
        played.autoscale("rtc", "users", 5);
        played.settle(20);
        a_moment().await;
        // Nothing more happens but time.
        played.clock().advance(Duration::from_secs(7200));
        a_moment().await;
        seat.quit();
    })
    .await;
    assert_eq!(end.unwrap(), exit::DONE);
    let text = text_of(&terminal);
    let users = text.lines().find(|line| line.contains("users ")).unwrap();
    assert!(users.contains("5/5") && users.contains("2h"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_may_be_old_is_said_until_it_is_heard_of_again() {
    let api = shop().await;
    for is_back in [false, true] {
        let played = api.clone();
        let (end, terminal) = sit(&api, SIZE, Paint::Plain, async |seat| {
            a_moment().await;
            played.fault("GET", "pods?watch=true", What::Status(503, "down".to_owned()), 4);
            played.control(Control::Cut);
            if is_back {
                tokio::time::sleep(Duration::from_secs(60)).await;
            } else {
                tokio::time::sleep(Duration::from_millis(600)).await;
            }
            seat.quit();
        })
        .await;
        assert_eq!(end.unwrap(), exit::DONE);
        let text = text_of(&terminal);
        assert_eq!(text.contains("Pod may be old"), !is_back, "{text}");
        assert!(text.contains("✗ orders"), "what was known stays\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_looked_at_is_said_and_what_is_needed_ends_it() {
    let api = shop().await;
    api.forbid("list", "nodes");
    let (end, terminal) = sit(&api, SIZE, Paint::Plain, async |seat| {
        a_moment().await;
        seat.quit();
    })
    .await;
    assert_eq!(end.unwrap(), exit::DONE);
    assert!(text_of(&terminal).contains("Node cannot be looked at"), "{}", text_of(&terminal));
    api.forbid("list", "pods");
    let (end, _) = sit(&api, SIZE, Paint::Plain, async |_| {}).await;
    assert_eq!(end.unwrap_err().code().id, "KUB003");
}

#[tokio::test(start_paused = true)]
async fn every_way_out_has_its_exit_code() {
    let api = shop().await;
    let ends = [KeyCode::Char('q'), KeyCode::Esc].map(|code| (code, KeyModifiers::NONE, 0));
    for (code, modifiers, exit) in ends.into_iter().chain([(KeyCode::Char('c'), KeyModifiers::CONTROL, 130)])
    {
        let (end, _) = sit(&api, SIZE, Paint::Plain, async |seat| seat.press(code, modifiers)).await;
        assert_eq!(end.unwrap().code(), exit, "{code:?}");
    }
    let (end, _) = sit(&api, SIZE, Paint::Plain, async |seat| seat.trigger.fire(Signal::Terminate)).await;
    assert_eq!(end.unwrap(), Signal::Terminate.exit());
    let (end, _) = sit(&api, SIZE, Paint::Plain, async |seat| {
        seat.keys.send(Err(io::Error::other("the terminal is gone"))).unwrap();
    })
    .await;
    assert_eq!(end.unwrap_err().code().id, "INT001");
}

#[tokio::test(start_paused = true)]
async fn it_fits_any_screen_and_is_coloured_only_where_that_is_wanted() {
    let api = shop().await;
    for size in [(1, 1), (12, 3), (40, 10), (79, 23), (200, 60)] {
        for paint in [Paint::Plain, Paint::Coloured] {
            let (end, terminal) = sit(&api, size, paint, async |seat| {
                a_moment().await;
                seat.quit();
            })
            .await;
            assert_eq!(end.unwrap(), exit::DONE);
            let is_red = |cell: &ratatui::buffer::Cell| cell.fg == Color::Red;
            let red = terminal.backend().buffer().content.iter().any(is_red);
            assert_eq!(red, paint == Paint::Coloured && size.1 > 1, "{size:?}\n{}", text_of(&terminal));
        }
    }
}
