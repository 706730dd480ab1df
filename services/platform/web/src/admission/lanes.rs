//! Who waits for a place: the most important first, and among equals whoever came first.

use std::collections::VecDeque;

use super::{LEVELS, Priority};

/// What became of one who wants to wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed<T> {
    Waits,
    /// Waits in the place of this one, which is less important.
    Instead(T),
    /// All who wait are at least as important.
    Full(T),
}

#[derive(Debug)]
pub(super) struct Lanes<T> {
    lanes: [VecDeque<T>; LEVELS],
    max: usize,
}

impl<T> Lanes<T> {
    pub(super) fn new(max: usize) -> Self {
        Self { lanes: Default::default(), max }
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    pub(super) fn push(&mut self, priority: Priority, one: T) -> Pushed<T> {
        if self.len() < self.max {
            self.lanes[priority as usize].push_back(one);
            return Pushed::Waits;
        }
        // Of the least important the last: it has waited for the shortest time.
        let lowest = self.lanes[..priority as usize].iter_mut().find(|lane| !lane.is_empty());
        match lowest.and_then(VecDeque::pop_back) {
            Some(less) => {
                self.lanes[priority as usize].push_back(one);
                Pushed::Instead(less)
            }
            None => Pushed::Full(one),
        }
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        self.lanes.iter_mut().rev().find_map(VecDeque::pop_front)
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.lanes.iter_mut().for_each(|lane| lane.retain(&mut keep));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_important_goes_first_and_equals_in_their_order() {
        let mut lanes = Lanes::new(10);
        for (priority, one) in [
            (Priority::Read, 1),
            (Priority::Analytics, 2),
            (Priority::Pay, 3),
            (Priority::Read, 4),
            (Priority::Order, 5),
            (Priority::Bid, 6),
        ] {
            assert_eq!(lanes.push(priority, one), Pushed::Waits);
        }
        let order: Vec<i32> = std::iter::from_fn(|| lanes.pop()).collect();
        assert_eq!(order, [3, 6, 5, 1, 4, 2]);
    }

    #[test]
    fn a_full_queue_lets_go_of_the_least_important_and_of_it_the_youngest() {
        let mut lanes = Lanes::new(3);
        lanes.push(Priority::Analytics, 1);
        lanes.push(Priority::Analytics, 2);
        lanes.push(Priority::Order, 3);
        assert_eq!(lanes.push(Priority::Analytics, 4), Pushed::Full(4));
        assert_eq!(lanes.push(Priority::Read, 5), Pushed::Instead(2));
        assert_eq!(lanes.push(Priority::Pay, 6), Pushed::Instead(1));
        assert_eq!(lanes.push(Priority::Pay, 7), Pushed::Instead(5));
        assert_eq!(lanes.push(Priority::Order, 8), Pushed::Full(8));
        assert_eq!(lanes.len(), 3);
    }
}
