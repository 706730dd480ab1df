//! Values on their way into statements and out of rows, the same for every engine.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use kernel::{Currency, Money, Timestamp};

use crate::Error;

/// A parameter of a statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Param<'a> {
    Null,
    Int(i64),
    Text(Cow<'a, str>),
    Blob(Cow<'a, [u8]>),
}

/// What can be a parameter. Ids go in as their text: `id.to_string()`.
pub trait ToParam {
    fn to_param(&self) -> Param<'_>;
}

macro_rules! int_params {
    ($($int:ty),+) => {
        $(impl ToParam for $int {
            fn to_param(&self) -> Param<'_> { Param::Int(i64::from(*self)) }
        })+
    };
}
int_params!(i64, i32, u32, u16, bool);

impl ToParam for str {
    fn to_param(&self) -> Param<'_> {
        Param::Text(Cow::Borrowed(self))
    }
}

impl ToParam for String {
    fn to_param(&self) -> Param<'_> {
        Param::Text(Cow::Borrowed(self))
    }
}

impl ToParam for [u8] {
    fn to_param(&self) -> Param<'_> {
        Param::Blob(Cow::Borrowed(self))
    }
}

impl ToParam for Vec<u8> {
    fn to_param(&self) -> Param<'_> {
        Param::Blob(Cow::Borrowed(self))
    }
}

impl<const N: usize> ToParam for [u8; N] {
    fn to_param(&self) -> Param<'_> {
        Param::Blob(Cow::Borrowed(self))
    }
}

impl ToParam for Timestamp {
    fn to_param(&self) -> Param<'_> {
        Param::Int(self.as_millis())
    }
}

impl ToParam for Currency {
    fn to_param(&self) -> Param<'_> {
        Param::Text(Cow::Borrowed(self.as_str()))
    }
}

impl<T: ToParam + ?Sized> ToParam for &T {
    fn to_param(&self) -> Param<'_> {
        (**self).to_param()
    }
}

impl<T: ToParam> ToParam for Option<T> {
    fn to_param(&self) -> Param<'_> {
        self.as_ref().map_or(Param::Null, ToParam::to_param)
    }
}

/// A value in a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    Null,
    Int(i64),
    Real(f64),
    Text(&'a str),
    Blob(&'a [u8]),
}

/// How an engine shows one row.
pub trait RowSource {
    fn value(&self, column: usize) -> Result<ValueRef<'_>, Error>;
}

/// One row of an answer; columns are counted from 0.
pub struct Row<'a>(&'a dyn RowSource);

impl<'a> Row<'a> {
    pub fn new(source: &'a dyn RowSource) -> Self {
        Self(source)
    }

    pub fn get<T: FromValue>(&self, column: usize) -> Result<T, Error> {
        T::from_value(self.0.value(column)?).map_err(|problem| Error::Decode { column, problem })
    }

    /// A column that holds the text form of something: an id, a state.
    pub fn parse<T: FromStr<Err: Display>>(&self, column: usize) -> Result<T, Error> {
        match self.0.value(column)? {
            ValueRef::Text(text) => {
                text.parse().map_err(|error: T::Err| Error::Decode { column, problem: error.to_string() })
            }
            other => Err(Error::Decode { column, problem: format!("expected text, found {other:?}") }),
        }
    }

    pub fn parse_opt<T: FromStr<Err: Display>>(&self, column: usize) -> Result<Option<T>, Error> {
        match self.0.value(column)? {
            ValueRef::Null => Ok(None),
            _ => self.parse(column).map(Some),
        }
    }

    /// A column that holds JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&self, column: usize) -> Result<T, Error> {
        match self.0.value(column)? {
            ValueRef::Text(text) => serde_json::from_str(text)
                .map_err(|error| Error::Decode { column, problem: error.to_string() }),
            other => Err(Error::Decode { column, problem: format!("expected JSON text, found {other:?}") }),
        }
    }

    /// Two columns: minor units, then currency.
    pub fn money(&self, column: usize) -> Result<Money, Error> {
        Ok(Money::new(self.get(column)?, self.parse(column + 1)?))
    }
}

/// What can be read from a column.
pub trait FromValue: Sized {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String>;
}

fn unexpected<T>(wanted: &str, found: ValueRef<'_>) -> Result<T, String> {
    Err(format!("expected {wanted}, found {found:?}"))
}

impl FromValue for i64 {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        match value {
            ValueRef::Int(int) => Ok(int),
            other => unexpected("an integer", other),
        }
    }
}

impl FromValue for u32 {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        u32::try_from(i64::from_value(value)?).map_err(|error| error.to_string())
    }
}

impl FromValue for bool {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        Ok(i64::from_value(value)? != 0)
    }
}

impl FromValue for Timestamp {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        i64::from_value(value).map(Timestamp::from_millis)
    }
}

impl FromValue for String {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        match value {
            ValueRef::Text(text) => Ok(text.to_owned()),
            other => unexpected("text", other),
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        match value {
            ValueRef::Blob(bytes) => Ok(bytes.to_vec()),
            other => unexpected("bytes", other),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        match value {
            ValueRef::Null => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }
}
