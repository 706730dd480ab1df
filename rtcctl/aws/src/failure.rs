//! What went wrong between us and AWS, by what an operator can do about it.
//!
//! The codes are those of the services' API references, "Common Errors" and each operation's "Errors".

use std::error::Error as StdError;

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// There are no credentials, or they have expired: sign in.
    Unauthenticated,
    /// The credentials are good and lack a permission.
    Denied,
    NotFound,
    /// It exists already, or is in use.
    Conflict,
    /// Too many requests, also after the client's own repetitions.
    Throttled,
    /// No answer, or none that can be understood.
    Unreachable,
    /// The request or the configuration is wrong.
    Invalid,
    /// AWS failed on its own side.
    Fault,
}

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {message}")]
pub struct Error {
    pub kind: Kind,
    /// As AWS calls it, for example `ecr:CreateRepository`.
    pub operation: &'static str,
    /// The code of the answer, where there was one.
    pub code: Option<String>,
    pub message: String,
}

impl Error {
    pub fn new(kind: Kind, operation: &'static str, message: impl Into<String>) -> Self {
        Self { kind, operation, code: None, message: message.into() }
    }

    /// From what a client of AWS answers. `operation` is as in an IAM policy: `ecr:CreateRepository`.
    pub fn of<E, R>(operation: &'static str, error: SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
        R: std::fmt::Debug + 'static,
    {
        if let SdkError::ServiceError(answer) = &error {
            let answer = answer.err();
            let Some(code) = answer.code().map(str::to_owned) else {
                // AWS names each of its errors: a proxy or another server answered.
                let message = "the answer is none of AWS: it has no code".to_owned();
                return Self { kind: Kind::Unreachable, operation, message, code: None };
            };
            let message = answer.message().unwrap_or("no message").to_owned();
            return Self {
                kind: kind_of(&code),
                operation,
                message: format!("{code}: {message}"),
                code: Some(code),
            };
        }
        let chain = chain(&error);
        let kind = match &error {
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => Kind::Unreachable,
            // What could not be sent is no matter of credentials, whatever the words.
            SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout() => {
                Kind::Unreachable
            }
            // Credentials are looked for while the request is made, and the failure comes as one of sending.
            _ if chain.contains("credential") || chain.contains("token") && chain.contains("expired") => {
                Kind::Unauthenticated
            }
            SdkError::DispatchFailure(_) => Kind::Unreachable,
            _ => Kind::Invalid,
        };
        Self { kind, operation, code: None, message: chain }
    }

    /// Whether another time, or another way to AWS, may do what was asked for.
    pub fn is_passing(&self) -> bool {
        matches!(self.kind, Kind::Throttled | Kind::Unreachable | Kind::Fault)
    }

    pub fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }
}

/// The whole chain in one line; the library's own words at its head say nothing.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !matches!(text.as_str(), "dispatch failure" | "service error" | "other")
            && texts.last().is_none_or(|last| !last.contains(&text))
        {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

fn kind_of(code: &str) -> Kind {
    match code {
        "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "AuthFailure"
        | "RequestExpired" => Kind::Unauthenticated,
        "AccessDenied"
        | "AccessDeniedException"
        | "UnauthorizedOperation"
        | "UnauthorizedException"
        | "NotAuthorized"
        | "OptInRequired" => Kind::Denied,
        "Throttling"
        | "ThrottlingException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "SlowDown" => Kind::Throttled,
        "InternalFailure"
        | "InternalError"
        | "InternalServerError"
        | "ServerException"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "Unavailable" => Kind::Fault,
        "ResourceInUseException" => Kind::Conflict,
        _ if code.contains("NotFound") => Kind::NotFound,
        _ if code.contains("AlreadyExists") || code.contains("NotEmpty") => Kind::Conflict,
        _ => Kind::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::result::ConnectorError;

    use super::*;

    #[test]
    fn codes_say_what_to_do() {
        for (code, kind) in [
            ("RepositoryNotFoundException", Kind::NotFound),
            ("RepositoryAlreadyExistsException", Kind::Conflict),
            ("RepositoryNotEmptyException", Kind::Conflict),
            ("ExpiredTokenException", Kind::Unauthenticated),
            ("UnrecognizedClientException", Kind::Unauthenticated),
            ("AccessDeniedException", Kind::Denied),
            ("UnauthorizedOperation", Kind::Denied),
            ("ThrottlingException", Kind::Throttled),
            ("RequestLimitExceeded", Kind::Throttled),
            ("ServerException", Kind::Fault),
            ("InvalidParameterException", Kind::Invalid),
            ("InvalidInstanceID.NotFound", Kind::NotFound),
        ] {
            assert_eq!(kind_of(code), kind, "{code}");
        }
    }

    /// A service's own answer, of which none comes here.
    #[derive(Debug, thiserror::Error)]
    #[error("never")]
    struct Never;

    impl ProvideErrorMetadata for Never {
        fn meta(&self) -> &aws_smithy_types::error::ErrorMetadata {
            unreachable!("there was no answer")
        }
    }

    #[test]
    fn what_could_not_be_sent_is_unreachable_whatever_its_words() {
        let said = |words: &str| std::io::Error::other(words.to_owned());
        let words = "error trying to connect to the credential and token service, expired";
        for (error, kind) in [
            (ConnectorError::io(said(words).into()), Kind::Unreachable),
            (ConnectorError::timeout(said(words).into()), Kind::Unreachable),
            (ConnectorError::other(said("no credentials were found").into(), None), Kind::Unauthenticated),
        ] {
            let error: SdkError<Never, ()> = SdkError::dispatch_failure(error);
            assert_eq!(Error::of("ecr:GetAuthorizationToken", error).kind, kind);
        }
    }
}
