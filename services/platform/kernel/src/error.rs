//! One error for everything that a caller is told, and the nine kinds that decide what happens to it.
//!
//! A kind maps once to an HTTP status, to a retry class and to an exit code of `rtcctl`; nothing else in the
//! platform makes that decision again.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure this is: who has to act, and whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is understood and wrong.
    Invalid,
    /// Nobody is signed in, or the token is not good.
    Unauthenticated,
    /// The caller is known and may not do this.
    Forbidden,
    /// There is no such thing, or it belongs to somebody else.
    NotFound,
    /// The thing is in a state that does not allow this.
    Conflict,
    /// A limit was reached; wait.
    TooMany,
    /// Something that we need is not there right now.
    Unavailable,
    /// The deadline passed; the outcome is unknown.
    Timeout,
    /// A defect of ours.
    Internal,
}

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::Invalid,
        Kind::Unauthenticated,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::Conflict,
        Kind::TooMany,
        Kind::Unavailable,
        Kind::Timeout,
        Kind::Internal,
    ];

    /// The HTTP status that this kind is answered with, unless the error names a more exact one.
    pub const fn http_status(self) -> u16 {
        match self {
            Kind::Invalid => 422,
            Kind::Unauthenticated => 401,
            Kind::Forbidden => 403,
            Kind::NotFound => 404,
            Kind::Conflict => 409,
            Kind::TooMany => 429,
            Kind::Unavailable => 503,
            Kind::Timeout => 504,
            Kind::Internal => 500,
        }
    }

    /// Whether the same call may succeed later without anybody changing it.
    pub const fn is_transient(self) -> bool {
        matches!(self, Kind::TooMany | Kind::Unavailable | Kind::Timeout)
    }

    /// The exit code of `rtcctl` for a failure of this kind.
    pub const fn exit_code(self) -> u8 {
        match self {
            Kind::Internal => 1,
            Kind::Invalid => 2,
            Kind::Unauthenticated | Kind::Forbidden => 4,
            Kind::NotFound => 5,
            Kind::Timeout => 6,
            Kind::Conflict => 8,
            Kind::TooMany | Kind::Unavailable => 9,
        }
    }

    /// The stable lower-case name, also the last segment of a problem's `type`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Invalid => "invalid",
            Kind::Unauthenticated => "unauthenticated",
            Kind::Forbidden => "forbidden",
            Kind::NotFound => "not_found",
            Kind::Conflict => "conflict",
            Kind::TooMany => "too_many",
            Kind::Unavailable => "unavailable",
            Kind::Timeout => "timeout",
            Kind::Internal => "internal",
        }
    }
}

/// What is wrong with one field of a request. `pointer` is a JSON pointer (RFC 6901), `""` for the whole body.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct FieldError {
    pub pointer: String,
    pub code: String,
    pub detail: String,
}

/// A failure with a stable code. `message` is for the caller: it holds no SQL, no token and no path.
///
/// The chain of causes is for the log.
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: Kind,
    status: Option<u16>,
    code: Cow<'static, str>,
    message: String,
    fields: Vec<FieldError>,
    retry_after_s: Option<u32>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                status: None,
                code: code.into(),
                message: message.into(),
                fields: Vec::new(),
                retry_after_s: None,
                source: None,
            }),
        }
    }

    pub fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, code, message)
    }

    /// 422 that points at one field.
    pub fn field(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self::invalid("validation_failed", "the request has invalid fields").with_field(pointer, code, detail)
    }

    /// 422 that points at several fields, or nothing where the list is empty.
    pub fn check_fields(fields: Vec<FieldError>) -> Result<()> {
        if fields.is_empty() {
            return Ok(());
        }
        let mut error = Self::invalid("validation_failed", "the request has invalid fields");
        error.inner.fields = fields;
        Err(error)
    }

    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, code, message)
    }

    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, code, message)
    }

    pub fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, code, message)
    }

    pub fn unauthenticated(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Unauthenticated, code, message)
    }

    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, code, message).with_retry_after(1)
    }

    /// A defect. The caller reads a general sentence; `source` goes to the log.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Kind::Internal, "internal", "something went wrong on our side").with_source(source)
    }

    /// Names the exact HTTP status where a standard knows a better one than the kind's (402, 412, 428 …).
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.inner.status = Some(status);
        self
    }

    #[must_use]
    pub fn with_field(
        mut self,
        pointer: impl Into<String>,
        code: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        let field = FieldError { pointer: pointer.into(), code: code.into(), detail: detail.into() };
        self.inner.fields.push(field);
        self
    }

    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.inner.retry_after_s = Some(seconds);
        self
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    pub fn code(&self) -> &str {
        &self.inner.code
    }

    pub fn message(&self) -> &str {
        &self.inner.message
    }

    pub fn fields(&self) -> &[FieldError] {
        &self.inner.fields
    }

    pub fn http_status(&self) -> u16 {
        self.inner.status.unwrap_or_else(|| self.inner.kind.http_status())
    }

    pub fn retry_after_s(&self) -> Option<u32> {
        self.inner.retry_after_s
    }

    /// The message and every cause below it, for a log line.
    pub fn chain(&self) -> String {
        let mut text = format!("{}: {}", self.inner.code, self.inner.message);
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({})", self.inner.kind, self.chain())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source.as_ref().map(|source| source.as_ref() as _)
    }
}
