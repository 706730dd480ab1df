//! Typed ids: UUIDv7 inside, printed with a prefix that says what they name (`ord_…`).
//!
//! Invariant: an id of one kind cannot be passed where another is wanted, and its text form is refused under
//! another prefix. New ids come from an [`IdSource`], so that a seed replays them.

use std::sync::{Arc, Mutex, PoisonError};

use crate::time::{Clock, Timestamp};
use uuid::Uuid;

/// Hands out UUIDv7 (RFC 9562 §5.7), increasing within a process even when the clock steps back.
#[derive(Debug, Clone)]
pub struct IdSource {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    clock: Arc<dyn Clock>,
    random: SplitMix,
    last_millis: u64,
    counter: u16,
}

impl IdSource {
    /// `seed` is random in production and fixed in a test.
    pub fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        let random = SplitMix(seed);
        Self { state: Arc::new(Mutex::new(State { clock, random, last_millis: 0, counter: 0 })) }
    }

    pub fn uuid(&self) -> Uuid {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = u64::try_from(state.clock.now().as_millis()).unwrap_or(0);
        if now > state.last_millis {
            state.last_millis = now;
            // Half of the 12 bits are left free, so that a burst within one millisecond keeps counting.
            state.counter = (state.random.next() & 0x7ff) as u16;
        } else {
            state.counter += 1;
            if state.counter > 0xfff {
                state.last_millis += 1;
                state.counter = 0;
            }
        }
        let random = state.random.next();
        let high = (state.last_millis << 16) | 0x7000 | u64::from(state.counter);
        let low = (random & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
        Uuid::from_u64_pair(high, low)
    }

    pub fn next<T: From<Uuid>>(&self) -> T {
        T::from(self.uuid())
    }

    /// A random number for jitter and the like. Never for a secret.
    pub fn random_u64(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).random.next()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seedable, good enough for ids and jitter, not for secrets.
#[derive(Debug, Clone)]
pub struct SplitMix(pub u64);

impl SplitMix {
    #[expect(clippy::should_implement_trait, reason = "an endless generator needs no Option")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// True in `percent` of 100 draws.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}_<32 hexadecimal digits>")]
pub struct ParseIdError {
    pub prefix: &'static str,
}

#[doc(hidden)]
pub fn parse(prefix: &'static str, text: &str) -> Result<Uuid, ParseIdError> {
    let refused = ParseIdError { prefix };
    let hex = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).ok_or(refused.clone())?;
    // One spelling an id, so that a key compared as text is compared as an id.
    if hex.len() != 32 || hex.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(refused);
    }
    Uuid::try_parse(hex).map_err(|_| refused)
}

/// The time at which a UUIDv7 was made.
pub fn made_at(uuid: Uuid) -> Timestamp {
    Timestamp::from_millis(i64::try_from(uuid.as_u64_pair().0 >> 16).unwrap_or(0))
}

/// Defines a typed id: `define_id!(OrderId, "ord", "An order.")`.
#[macro_export]
macro_rules! define_id {
    ($name:ident, $prefix:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($crate::id::reexport::Uuid);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            pub const fn uuid(self) -> $crate::id::reexport::Uuid {
                self.0
            }
        }

        impl From<$crate::id::reexport::Uuid> for $name {
            fn from(uuid: $crate::id::reexport::Uuid) -> Self {
                Self(uuid)
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.as_simple())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::id::ParseIdError;

            fn from_str(text: &str) -> ::std::result::Result<Self, Self::Err> {
                $crate::id::parse(Self::PREFIX, text).map(Self)
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, s: S) -> ::std::result::Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(d: D) -> ::std::result::Result<Self, D::Error> {
                let text = <::std::borrow::Cow<'_, str> as ::serde::Deserialize>::deserialize(d)?;
                text.parse().map_err(::serde::de::Error::custom)
            }
        }

        impl ::schemars::JsonSchema for $name {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                ::schemars::json_schema!({
                    "type": "string", "description": $doc, "pattern": concat!("^", $prefix, "_[0-9a-f]{32}$"),
                })
            }
        }
    };
}

#[doc(hidden)]
pub mod reexport {
    pub use uuid::Uuid;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ManualClock;

    define_id!(ThingId, "thg", "A thing.");

    fn source(at: i64) -> (Arc<ManualClock>, IdSource) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(at)));
        (clock.clone(), IdSource::new(clock, 7))
    }

    #[test]
    fn ids_increase_within_a_millisecond_and_when_the_clock_steps_back() {
        let (clock, ids) = source(1_000_000);
        let mut last = ids.uuid();
        for round in 0..20_000 {
            if round == 9_000 {
                clock.set(Timestamp::from_millis(5));
            }
            let next = ids.uuid();
            assert!(next > last);
            last = next;
        }
    }

    #[test]
    fn an_id_keeps_its_prefix_and_refuses_anothers() {
        let (_, ids) = source(1_760_000_000_000);
        let id: ThingId = ids.next();
        assert_eq!(id.to_string().parse::<ThingId>().unwrap(), id);
        let other = id.to_string().replace("thg", "ord");
        assert!(other.parse::<ThingId>().is_err());
        assert!(id.to_string().to_uppercase().parse::<ThingId>().is_err());
        assert_eq!(made_at(id.uuid()), Timestamp::from_millis(1_760_000_000_000));
    }

    #[test]
    fn a_seed_replays_its_ids() {
        let (one, two) = (source(77).1, source(77).1);
        assert_eq!((one.uuid(), one.uuid()), (two.uuid(), two.uuid()));
    }
}
