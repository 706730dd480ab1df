//! A member's share of its group's partitions, and whether that is the last word.
//!
//! Rebalances are cooperative and have two rounds: in the first one a new member gets nothing, because others still have what will
//! be its own; that they have let go of it is known to it with a heartbeat, no sooner. So who has nothing waits for longer until it
//! believes that it will get nothing.

use std::time::Duration;

use tokio::time::Instant;

/// A group in which nothing was divided anew for so long has settled.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Share {
    heartbeat: Duration,
    partitions: usize,
    /// When it was last told anything.
    told_at: Option<Instant>,
}

impl Share {
    pub fn new(heartbeat: Duration) -> Self {
        Self { heartbeat, partitions: 0, told_at: None }
    }

    pub fn takes(&mut self, partitions: usize) {
        self.partitions += partitions;
        self.told_at = Some(Instant::now());
    }

    pub fn lets_go(&mut self, partitions: usize) {
        self.partitions = self.partitions.saturating_sub(partitions);
        self.told_at = Some(Instant::now());
    }

    pub fn has_settled(&self) -> bool {
        let calm = match self.partitions {
            0 => self.heartbeat + SETTLED_AFTER,
            _ => SETTLED_AFTER,
        };
        self.told_at.is_some_and(|at| at.elapsed() >= calm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_has_nothing_yet_has_not_settled_before_the_second_round() {
        let (heartbeat, second) = (Duration::from_secs(3), Duration::from_secs(1));
        let mut share = Share::new(heartbeat);
        tokio::time::advance(heartbeat * 2).await;
        assert!(!share.has_settled(), "it has joined nothing");
        share.takes(0);
        tokio::time::advance(heartbeat).await;
        assert!(!share.has_settled(), "the others may have let go of its share just now");
        share.takes(2);
        assert!(!share.has_settled());
        tokio::time::advance(second).await;
        assert!(share.has_settled());
        // Somebody else comes.
        share.lets_go(1);
        assert!(!share.has_settled());
        tokio::time::advance(second).await;
        assert!(share.has_settled());
        // It is one too many: there is nothing for it.
        share.lets_go(1);
        tokio::time::advance(second).await;
        assert!(!share.has_settled());
        tokio::time::advance(heartbeat).await;
        assert!(share.has_settled());
    }
}
