//! The full screen: what is asked each time, what keys do, how it is drawn, and how the terminal is left.
//!
//! Invariants: drawing and keys know no clock and no network; a question under way never holds up a key; however the
//! watching ends, by a key, a signal or a panic, the terminal is as it was before.

mod draw;
mod live;
mod terminal;
mod view;

pub use draw::{Paint, screen};
pub use live::{Live, Red, look};
pub use terminal::{FullScreen, Raw};
pub use view::{Act, View};

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use codes::{Error, Result};
use crossterm::event::Event;
use futures_util::{Stream, StreamExt};
use kernel::Clock;
use ratatui::Terminal;
use ratatui::backend::Backend;
use tokio::time::{MissedTickBehavior, interval};

use super::Source;
use super::slo::Objective;
use crate::signals::{Interrupts, Signal};

/// What is watched.
pub struct Watched<'a> {
    pub source: &'a Source,
    pub clock: &'a dyn Clock,
    pub env: &'a str,
    pub objectives: &'a [Objective],
    pub window: String,
    pub every: Duration,
}

/// How the watching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Quit,
    By(Signal),
}

/// Draws, asks and listens until the operator has seen enough.
pub async fn watch<B: Backend>(
    watched: &Watched<'_>,
    paint: Paint,
    terminal: &mut Terminal<B>,
    events: impl Stream<Item = io::Result<Event>>,
    interrupts: &Interrupts,
) -> Result<End>
where
    B::Error: 'static,
{
    let mut events = std::pin::pin!(events);
    let mut view = View::new(watched.env);
    let mut ticks = interval(watched.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asking: Option<Pin<Box<dyn Future<Output = Result<Live>> + '_>>> = None;
    loop {
        terminal
            .draw(|frame| screen(frame, &view, paint))
            .map_err(|error| Error::internal("cannot draw on the terminal").with_source(&error))?;
        let is_idle = asking.is_none();
        let answer = async {
            match asking.as_mut() {
                Some(asking) => asking.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            signal = interrupts.wait() => return Ok(End::By(signal)),
            event = events.next() => match event {
                Some(Ok(Event::Key(key))) => match view.press(key) {
                    Act::Quit => return Ok(End::Quit),
                    Act::Interrupt => return Ok(End::By(Signal::Interrupt)),
                    Act::Ask => asking = None,
                    Act::Redraw => terminal.clear().map_err(|error| {
                        Error::internal("cannot draw on the terminal").with_source(&error)
                    })?,
                    Act::Nothing => {}
                },
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    return Err(Error::internal("cannot read the keyboard").with_source(&error));
                }
                // Nobody types any more, so nobody watches.
                None => return Ok(End::Quit),
            },
            answer = answer => {
                asking = None;
                view.take(answer);
            }
            _ = ticks.tick(), if is_idle && !view.is_paused() => view.come_due(),
        }
        if asking.is_none() && view.wants_answer() {
            let now_ms = watched.clock.now().as_millis();
            let detail = view.detail().map(str::to_owned);
            view.asked();
            asking =
                Some(Box::pin(look(watched.source, watched.objectives, &watched.window, detail, now_ms)));
        }
    }
}

#[cfg(test)]
mod tests;
