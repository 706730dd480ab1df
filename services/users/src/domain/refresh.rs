//! What happens to a refresh token that is presented (S3).
//!
//! Invariants: at any time a session has at most one token that is neither used nor revoked, and a used token has one
//! successor that is not revoked; who sends a token again soon after its use gets that successor again; one that comes
//! back later ends the whole session where its successor was used, because one of the two who hold it is a thief.

use std::time::Duration;

use kernel::Timestamp;

/// One refresh token of a session's family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    /// 1, 2, 3 … within the session.
    pub generation: i64,
    /// The generation whose use gave this one; 0 for the first.
    pub parent: i64,
    pub expires_at: Timestamp,
    pub used_at: Option<Timestamp>,
    /// Replaced without having been used: its answer was lost.
    pub revoked_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Good: mark it used, give the next one.
    Rotate,
    /// Another tab was as quick: give both the same successor, revoke nothing.
    GiveAgain,
    /// Its answer was lost: revoke the pair that nobody used, give another.
    ReplaceLost,
    /// Somebody else has it too: end the session.
    EndSession,
    /// Too old; nothing else is wrong with it.
    Expired,
    /// The session has ended before.
    Ended,
}

/// `successor` is the token that a used one gave and that nobody revoked.
pub(crate) fn decide(
    session_ended_at: Option<Timestamp>,
    presented: &RefreshToken,
    successor: Option<&RefreshToken>,
    now: Timestamp,
    grace: Duration,
) -> Decision {
    if session_ended_at.is_some() {
        return Decision::Ended;
    }
    let expired = presented.expires_at <= now;
    match (presented.used_at, presented.revoked_at, successor) {
        (None, None, _) if expired => Decision::Expired,
        (None, None, _) => Decision::Rotate,
        (Some(used_at), None, Some(_)) if now.since(used_at) <= grace => Decision::GiveAgain,
        (Some(_), None, Some(successor)) if successor.used_at.is_none() => {
            if expired {
                Decision::Expired
            } else {
                Decision::ReplaceLost
            }
        }
        _ => Decision::EndSession,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn token(generation: i64, parent: i64, used_at: Option<i64>, revoked_at: Option<i64>) -> RefreshToken {
        RefreshToken {
            generation,
            parent,
            expires_at: at(1_000),
            used_at: used_at.map(at),
            revoked_at: revoked_at.map(at),
        }
    }

    #[test]
    fn every_state_of_a_token_has_one_outcome() {
        let decide =
            |ended: Option<i64>, presented: &RefreshToken, child: Option<&RefreshToken>, now: i64| {
                super::decide(ended.map(at), presented, child, at(now), GRACE)
            };
        let fresh = token(1, 0, None, None);
        assert_eq!(decide(None, &fresh, None, 10), Decision::Rotate);
        assert_eq!(decide(None, &fresh, None, 999), Decision::Rotate);
        assert_eq!(decide(None, &fresh, None, 1_000), Decision::Expired);
        assert_eq!(decide(Some(5), &fresh, None, 10), Decision::Ended);

        let used = token(1, 0, Some(10), None);
        let unused_child = token(2, 1, None, None);
        assert_eq!(decide(None, &used, Some(&unused_child), 10), Decision::GiveAgain);
        assert_eq!(decide(None, &used, Some(&unused_child), 40), Decision::GiveAgain);
        assert_eq!(decide(None, &used, Some(&unused_child), 41), Decision::ReplaceLost);
        assert_eq!(decide(None, &used, Some(&unused_child), 999), Decision::ReplaceLost);
        assert_eq!(decide(None, &used, Some(&unused_child), 1_000), Decision::Expired);
        assert_eq!(decide(Some(11), &used, Some(&unused_child), 11), Decision::Ended);

        // A tab that is slower by two refreshes of the other still gets on; a thief who is late does not.
        let used_child = token(2, 1, Some(12), None);
        assert_eq!(decide(None, &used, Some(&used_child), 40), Decision::GiveAgain);
        assert_eq!(decide(None, &used, Some(&used_child), 41), Decision::EndSession);
        assert_eq!(decide(None, &used, Some(&used_child), 1_000), Decision::EndSession);

        // The pair that was given up must not come back, however soon.
        let replaced = token(2, 1, None, Some(50));
        assert_eq!(decide(None, &replaced, None, 50), Decision::EndSession);
        assert_eq!(decide(Some(50), &replaced, None, 50), Decision::Ended);
        assert_eq!(decide(None, &used, None, 11), Decision::EndSession);
    }

    #[test]
    fn a_token_that_is_used_at_the_last_moment_has_its_grace_too() {
        let used = token(1, 0, Some(999), None);
        let child = token(2, 1, None, None);
        assert_eq!(decide(None, &used, Some(&child), at(1_010), GRACE), Decision::GiveAgain);
    }
}
