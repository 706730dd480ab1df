//! What happens to a refresh token that is presented (S3).
//!
//! Invariants: a token is used once; at any time a session has at most one token that can be used; a token that comes
//! back after its successor was used, or too late for a lost answer, ends the whole session, because one of the two
//! who hold it is a thief.

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
    /// Its answer was lost: revoke the pair that nobody used, give another.
    ReplaceLost,
    /// Somebody else has it too: end the session.
    EndSession,
    /// Too old; nothing else is wrong with it.
    Expired,
    /// The session has ended before.
    Ended,
}

/// `newest` is the session's token of the highest generation.
pub(crate) fn decide(
    session_ended_at: Option<Timestamp>,
    presented: &RefreshToken,
    newest: &RefreshToken,
    now: Timestamp,
    grace: Duration,
) -> Decision {
    if session_ended_at.is_some() {
        return Decision::Ended;
    }
    match (presented.used_at, presented.revoked_at) {
        (None, None) if presented.expires_at <= now => Decision::Expired,
        (None, None) => Decision::Rotate,
        (Some(used_at), None)
            if newest.parent == presented.generation
                && newest.used_at.is_none()
                && now.since(used_at) <= grace =>
        {
            Decision::ReplaceLost
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
        let decide = |ended: Option<i64>, presented: &RefreshToken, newest: &RefreshToken, now: i64| {
            super::decide(ended.map(at), presented, newest, at(now), GRACE)
        };
        let fresh = token(1, 0, None, None);
        assert_eq!(decide(None, &fresh, &fresh, 10), Decision::Rotate);
        assert_eq!(decide(None, &fresh, &fresh, 999), Decision::Rotate);
        assert_eq!(decide(None, &fresh, &fresh, 1_000), Decision::Expired);
        assert_eq!(decide(Some(5), &fresh, &fresh, 10), Decision::Ended);

        let used = token(1, 0, Some(10), None);
        let unused_child = token(2, 1, None, None);
        assert_eq!(decide(None, &used, &unused_child, 11), Decision::ReplaceLost);
        assert_eq!(decide(None, &used, &unused_child, 40), Decision::ReplaceLost);
        assert_eq!(decide(None, &used, &unused_child, 41), Decision::EndSession);
        assert_eq!(decide(Some(11), &used, &unused_child, 11), Decision::Ended);

        let used_child = token(2, 1, Some(12), None);
        assert_eq!(decide(None, &used, &used_child, 13), Decision::EndSession);
        let grandchild = token(3, 2, None, None);
        assert_eq!(decide(None, &used, &grandchild, 13), Decision::EndSession);

        // The answer was lost twice; the pair that was given up must not come back.
        let replaced = token(2, 1, None, Some(12));
        let second_child = token(3, 1, None, None);
        assert_eq!(decide(None, &used, &second_child, 15), Decision::ReplaceLost);
        assert_eq!(decide(None, &replaced, &second_child, 15), Decision::EndSession);
        assert_eq!(decide(None, &second_child, &second_child, 15), Decision::Rotate);
    }
}
