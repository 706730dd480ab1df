//! How much is let in: decided once an interval from how long work had to wait and how much was done.
//!
//! Invariant: what is let in under overload is less than what was done, so that what waits gets less; when nothing waits
//! too long it grows again, until everything is let in.

use std::time::Duration;

use super::{GRAIN, LEVELS};

/// Fewer requests than that in an interval are not what overloads a process.
const OFFERED_MIN: u32 = 10;
/// So many bad intervals in a row are overload; one is bad luck.
const BAD_INTERVALS: u32 = 2;

/// What one interval has shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interval {
    /// How many requests came, by priority.
    pub offered: [u32; LEVELS],
    pub done: u32,
    /// The shortest time that work had to wait before it was begun: what nobody escaped is a standing queue.
    pub delay: Duration,
}

#[derive(Debug)]
pub(super) struct Controller {
    target: Duration,
    floor: u32,
    bad: u32,
}

impl Controller {
    pub(super) fn new(target: Duration) -> Self {
        Self { target, floor: 0, bad: 0 }
    }

    /// The lowest rank that is let in from now on; 0 is everybody. The ranks of a priority are a run of [`GRAIN`].
    pub(super) fn next(&mut self, interval: &Interval) -> u32 {
        let offered: u32 = interval.offered.iter().sum();
        if interval.delay > self.target && offered >= OFFERED_MIN {
            self.bad += 1;
            // Far beyond the target there is no doubt.
            if self.floor > 0 || self.bad >= BAD_INTERVALS || interval.delay > self.target * 4 {
                // The longer work waits, the more has to be worked off.
                let excess = interval.delay.as_secs_f64() / self.target.as_secs_f64();
                let cut = (0.02 * excess).clamp(0.02, 0.5);
                let room = f64::from(interval.done) * (1.0 - cut);
                self.floor = floor_for(&interval.offered, room);
            }
        } else {
            self.bad = 0;
            if self.floor > 0 {
                // Where next to nothing waits there is much room.
                let growth = if interval.delay < self.target / 4 { 1.25 } else { 1.05 };
                let let_in = let_in(&interval.offered, self.floor).max(f64::from(interval.done));
                self.floor = floor_for(&interval.offered, let_in * growth + 1.0);
            }
        }
        self.floor
    }
}

/// How many of `offered` have at least the rank `floor`.
fn let_in(offered: &[u32; LEVELS], floor: u32) -> f64 {
    let of_level = |(level, count): (usize, &u32)| {
        let below = floor.saturating_sub(level as u32 * GRAIN).min(GRAIN);
        f64::from(*count) * f64::from(GRAIN - below) / f64::from(GRAIN)
    };
    offered.iter().enumerate().map(of_level).sum()
}

/// The lowest floor that lets in at most `room` of `offered`.
fn floor_for(offered: &[u32; LEVELS], room: f64) -> u32 {
    let mut room = room;
    for level in (0..LEVELS).rev() {
        let count = f64::from(offered[level]);
        if count > room {
            let let_in = (room.max(0.0) / count * f64::from(GRAIN)).floor() as u32;
            return level as u32 * GRAIN + (GRAIN - let_in.min(GRAIN));
        }
        room -= count;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(20);

    fn interval(offered: [u32; LEVELS], done: u32, delay_ms: u64) -> Interval {
        Interval { offered, done, delay: Duration::from_millis(delay_ms) }
    }

    #[test]
    fn a_floor_lets_in_no_more_than_there_is_room_for() {
        let offered = [100, 400, 300, 50, 150];
        assert_eq!(floor_for(&offered, 1_000.0), 0);
        for room in [999.0, 900.0, 500.0, 150.0, 10.0, 0.0] {
            let floor = floor_for(&offered, room);
            assert!(let_in(&offered, floor) <= room + 1e-6, "{room}");
            assert!(let_in(&offered, floor - 1) > room, "{room}: {floor} is higher than it has to be");
        }
    }

    #[test]
    fn one_slow_interval_or_a_slow_process_without_requests_is_no_overload() {
        let mut controller = Controller::new(TARGET);
        assert_eq!(controller.next(&interval([0, 100, 0, 0, 0], 100, 30)), 0);
        assert_eq!(controller.next(&interval([0, 100, 0, 0, 0], 100, 5)), 0);
        assert_eq!(controller.next(&interval([0, 100, 0, 0, 0], 100, 30)), 0);
        assert!(controller.next(&interval([0, 100, 0, 0, 0], 100, 30)) > 0);
        let mut idle = Controller::new(TARGET);
        for _ in 0..10 {
            assert_eq!(idle.next(&interval([0, 9, 0, 0, 0], 9, 500)), 0);
        }
    }

    #[test]
    fn when_the_load_goes_everybody_is_let_in_again() {
        let mut controller = Controller::new(TARGET);
        let floor = controller.next(&interval([1_000, 1_000, 1_000, 0, 1_000], 500, 500));
        assert!(floor > 4 * GRAIN, "half of those who pay must wait, too");
        assert_eq!(controller.next(&interval([10, 10, 10, 0, 10], 40, 1)), 0);
    }
}
