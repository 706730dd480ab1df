//! The retry budget (R95): retries may add a fifth to the traffic, never more.

/// What one request earns, in thousandths of a retry.
const EARNED: i64 = 200;
const RETRY: i64 = 1_000;
/// There from the start, so that a service with little traffic can retry at all.
const RESERVE: i64 = 10 * RETRY;
/// What a quiet hour may save up.
const SAVED_MAX: i64 = 50 * RETRY;

#[derive(Debug)]
pub(crate) struct Budget {
    thousandths: i64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { thousandths: RESERVE }
    }
}

impl Budget {
    pub(crate) fn earn(&mut self) {
        self.thousandths = (self.thousandths + EARNED).min(SAVED_MAX);
    }

    /// Takes one retry, or says that there is none left.
    pub(crate) fn spend(&mut self) -> bool {
        let affordable = self.thousandths >= RETRY;
        if affordable {
            self.thousandths -= RETRY;
        }
        affordable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_at_most_a_fifth_of_the_requests_and_a_small_reserve() {
        for requests in [0_u32, 100, 10_000] {
            let mut budget = Budget::default();
            let mut retries = 0;
            for _ in 0..requests {
                budget.earn();
                // Everything fails: each request would be tried three times.
                retries += u32::from(budget.spend()) + u32::from(budget.spend());
            }
            retries += (0..1_000).map(|_| u32::from(budget.spend())).sum::<u32>();
            assert_eq!(retries, requests / 5 + 10);
        }
    }

    #[test]
    fn what_is_saved_up_is_bounded() {
        let mut budget = Budget::default();
        (0..1_000_000).for_each(|_| budget.earn());
        assert_eq!((0..1_000).filter(|_| budget.spend()).count(), 50);
    }
}
