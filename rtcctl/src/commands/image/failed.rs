//! What is said when an image cannot be built, moved or judged: the words of the part that failed, under a code.

use aws::Kind;
use codes::{Code, Error};

/// From reading or writing images, and from registries.
pub fn of_oci(error: oci::Error) -> Error {
    use oci::Error as E;
    let code = match &error {
        E::Digest { .. } | E::Reference { .. } => &codes::IMG008,
        E::Invalid { .. } => &codes::IMG025,
        E::Io { .. } => &codes::IMG006,
        E::NotALayout { .. } => &codes::IMG017,
        E::NotFound { .. } => &codes::IMG009,
        E::DigestMismatch { .. } | E::SizeMismatch { .. } => &codes::IMG016,
        E::NameUnknown { .. } => &codes::IMG010,
        E::Denied { .. } | E::Credentials { .. } => &codes::IMG011,
        E::TagImmutable { .. } => &codes::IMG012,
        E::NotARegistry { .. } => &codes::IMG015,
        E::Refused { .. } => &codes::IMG013,
        E::Unavailable { .. } => &codes::IMG014,
    };
    told(code, &error)
}

/// From looking for an image in a layout: several and none named is the caller's to say.
pub fn of_finding(error: oci::Error) -> Error {
    match &error {
        oci::Error::Invalid { .. } => told(&codes::IMG026, &error),
        _ => of_oci(error),
    }
}

/// From building.
pub fn of_build(error: image::Error) -> Error {
    use image::Error as E;
    let code = match &error {
        E::NotElf { .. } | E::NotExecutable { .. } | E::Malformed { .. } => &codes::IMG003,
        E::UnknownMachine { .. } | E::WrongMachine { .. } | E::SamePlatform { .. } => &codes::IMG004,
        E::MissingLibrary { .. } | E::ForeignSysroot { .. } => &codes::IMG005,
        E::Unreadable { .. }
        | E::ChangedMeanwhile { .. }
        | E::MissingCertificates { .. }
        | E::MissingZones { .. }
        | E::Full { .. }
        | E::Write { .. }
        | E::Layer { .. } => &codes::IMG006,
        E::WrongPlatform { .. } | E::NoBase { .. } | E::Base { .. } => &codes::IMG007,
        E::Conflict { .. }
        | E::Covers { .. }
        | E::Path { .. }
        | E::UnknownZone { .. }
        | E::Account { .. }
        | E::Port { .. }
        | E::Time { .. }
        | E::NoBinary
        | E::Lock { .. }
        | E::UnknownPackage { .. } => &codes::IMG002,
        E::NoImage { .. } => &codes::IMG008,
        E::Layout(_) => match error {
            E::Layout(error) => return of_oci(error),
            _ => &codes::IMG006,
        },
    };
    told(code, &error)
}

/// From AWS itself.
pub fn of_aws(error: aws::Error) -> Error {
    let code = match error.kind {
        Kind::Unauthenticated | Kind::Denied => &codes::IMG011,
        Kind::NotFound if error.code.as_deref() == Some("RepositoryNotFoundException") => &codes::IMG010,
        Kind::NotFound => &codes::IMG009,
        Kind::Conflict | Kind::Invalid => &codes::IMG013,
        Kind::Throttled | Kind::Unreachable | Kind::Fault => &codes::IMG014,
    };
    told(code, &error)
}

/// The error's own sentence as the message, what is below it as causes, and what the code says to do.
fn told(code: &'static Code, error: &(dyn std::error::Error + 'static)) -> Error {
    let told = Error::new(code, error.to_string()).with_hint(code.action);
    match error.source() {
        // Its words are in the sentence already where the sentence ends with them.
        Some(source) if !error.to_string().contains(&source.to_string()) => told.with_source(source),
        _ => told,
    }
}
