//! What is said when AWS refuses or does not answer.

use aws::Kind;
use codes::{Code, Error};

use crate::context::Context;

/// From AWS itself, under the code of what an operator can do about it.
pub fn of_aws(error: aws::Error, context: &Context) -> Error {
    let (code, message): (&'static Code, String) = match error.kind {
        Kind::Unauthenticated if is_expired(&error) => {
            (&codes::CLU004, "the credentials for AWS have expired".to_owned())
        }
        Kind::Unauthenticated => (&codes::CLU003, "AWS does not know who we are".to_owned()),
        Kind::Denied => (&codes::CLU005, format!("we may not {}", error.operation)),
        Kind::NotFound => (&codes::CLU002, "AWS has no such thing".to_owned()),
        Kind::Throttled => (&codes::CLU006, "AWS throttles this account".to_owned()),
        Kind::Unreachable | Kind::Fault => (&codes::CLU007, "AWS does not answer".to_owned()),
        Kind::Conflict => (&codes::CLU009, error.message.clone()),
        Kind::Invalid => (&codes::CLU008, error.message.clone()),
    };
    let told = Error::new(code, message).with_source(&error);
    match error.kind {
        Kind::Unauthenticated => told.with_hint(sign_in(context)),
        _ => told.with_hint(code.action),
    }
}

/// SSO, STS and the files say so each in their own words.
fn is_expired(error: &aws::Error) -> bool {
    error.message.to_lowercase().contains("expired")
}

fn sign_in(context: &Context) -> String {
    let profile = context.config.text("aws_profile").or_else(|| context.config.variable("AWS_PROFILE"));
    match profile {
        Some(profile) => format!("aws sso login --profile {profile}"),
        None => "aws sso login, or aws configure; --aws-profile names a profile".to_owned(),
    }
}
