//! Turns at the connections of an engine for queries: whoever waits for one waits here, and holds no thread meanwhile.
//!
//! Invariants:
//! - the house goes before guests, and where there are several connections one is kept free of guests for it: no number of
//!   guests keeps an operator waiting;
//! - a guest does not wait for what will take too long: where those before him wait that long already he is refused at once;
//! - a place is given on however its holder ended, and to nobody who has gone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::{Asker, Error};

/// How long the house waits: beyond it the server, or who holds its connections, is too slow to be of use.
pub const HOUSE_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a guest waits.
const GUEST_WAIT_MAX: Duration = Duration::from_secs(1);
/// A guest who would have to wait so long is refused at once.
const GUEST_QUEUE_MAX: Duration = Duration::from_millis(500);

/// As many places as there are connections.
pub struct Turns {
    state: Mutex<State>,
    places: usize,
}

#[derive(Default)]
struct State {
    taken: usize,
    /// Those of them that guests have.
    guests_in: usize,
    house: VecDeque<Waiter>,
    guests: VecDeque<Waiter>,
    /// How long a guest had a place of late, on average.
    held: Duration,
}

struct Waiter {
    place: oneshot::Sender<Place>,
    since: Instant,
}

/// A place at a connection, given on when it is dropped.
pub struct Place {
    turns: Arc<Turns>,
    asker: Asker,
    since: Instant,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.turns.leave(self.asker, self.since.elapsed());
    }
}

impl State {
    fn may_enter(&self, asker: Asker, places: usize) -> bool {
        match asker {
            Asker::House => self.taken < places,
            Asker::Guest => self.taken < places && self.guests_in < for_guests(places),
        }
    }

    fn enter(&mut self, asker: Asker) {
        self.taken += 1;
        if asker == Asker::Guest {
            self.guests_in += 1;
        }
    }

    /// How long a guest who comes now waits: as those before him let expect, and no less than the first of them has waited.
    fn guest_waits(&self, places: usize) -> Duration {
        let count = u32::try_from(self.guests.len()).unwrap_or(u32::MAX);
        let by_pace = self.held.saturating_mul(count) / u32::try_from(for_guests(places)).unwrap_or(1);
        self.guests.front().map_or(Duration::ZERO, |first| by_pace.max(first.since.elapsed()))
    }

    /// Who is next, of those who still wait.
    fn next(&mut self, places: usize) -> Option<(Asker, Waiter)> {
        for waiters in [&mut self.house, &mut self.guests] {
            while waiters.front().is_some_and(|waiter| waiter.place.is_closed()) {
                waiters.pop_front();
            }
        }
        let asker = if self.house.is_empty() { Asker::Guest } else { Asker::House };
        if !self.may_enter(asker, places) {
            return None;
        }
        let waiters = if asker == Asker::House { &mut self.house } else { &mut self.guests };
        let waiter = waiters.pop_front()?;
        self.enter(asker);
        Some((asker, waiter))
    }
}

/// How many of the places guests may have.
fn for_guests(places: usize) -> usize {
    places.saturating_sub(1).max(1)
}

impl Turns {
    /// At least one.
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), places: places.max(1) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place: without a word where one is free. [`Error::Busy`] where it would take too long.
    pub async fn take(self: &Arc<Self>, asker: Asker) -> Result<Place, Error> {
        let since = Instant::now();
        let handed = {
            let mut state = self.state();
            let is_first = match asker {
                Asker::House => state.house.is_empty(),
                Asker::Guest => state.house.is_empty() && state.guests.is_empty(),
            };
            if is_first && state.may_enter(asker, self.places) {
                state.enter(asker);
                return Ok(Place { turns: self.clone(), asker, since });
            }
            if asker == Asker::Guest && state.guest_waits(self.places) > GUEST_QUEUE_MAX {
                // Those who have gone make nobody wait.
                state.guests.retain(|waiter| !waiter.place.is_closed());
                if state.guest_waits(self.places) > GUEST_QUEUE_MAX {
                    return Err(Error::Busy);
                }
            }
            let waiters = if asker == Asker::House { &mut state.house } else { &mut state.guests };
            let (place, handed) = oneshot::channel();
            waiters.push_back(Waiter { place, since });
            handed
        };
        // Whoever was before may have gone without a word.
        self.hand_out();
        let wait_max = if asker == Asker::House { HOUSE_WAIT_MAX } else { GUEST_WAIT_MAX };
        match tokio::time::timeout(wait_max, handed).await {
            Ok(Ok(place)) => Ok(place),
            // The server may well answer: it is those before who do not come to their end.
            Ok(Err(_)) | Err(_) => Err(Error::Busy),
        }
    }

    fn leave(self: &Arc<Self>, asker: Asker, held: Duration) {
        {
            let mut state = self.state();
            state.taken -= 1;
            if asker == Asker::Guest {
                state.guests_in -= 1;
                state.held = (state.held * 7 + held) / 8;
            }
        }
        self.hand_out();
    }

    /// Gives free places to those who wait.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let next = self.state().next(self.places);
            let Some((asker, waiter)) = next else { return };
            // Outside of the lock: where he has gone meanwhile the place comes back at once, and is handed out again.
            let _ = waiter.place.send(Place { turns: self.clone(), asker, since: Instant::now() });
        }
    }
}

#[cfg(test)]
mod tests;
