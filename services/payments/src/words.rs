//! Enums whose values have one spelling in the database, in answers and in logs.

/// Defines an enum with `ALL`, `as_str`, `Display` and `FromStr` from one list of spellings.
macro_rules! words {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$note:meta])* $variant:ident => $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $name { $($(#[$note])* $variant),+ }

        impl $name {
            #[allow(dead_code, reason = "not every list of words is walked over")]
            $vis const ALL: &'static [Self] = &[$(Self::$variant),+];

            $vis const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    other => Err(format!("not one of {}: {other:?}", stringify!($name))),
                }
            }
        }
    };
}
pub(crate) use words;
