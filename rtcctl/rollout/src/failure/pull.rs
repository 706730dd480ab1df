//! Images that cannot be pulled: containerd, CRI-O and registries each say it in their own words.

use super::{Case, Cause, told, told_container};
use crate::code::Code;
use crate::objects::ContainerStatus;

/// Reasons for waiting that are about the image.
pub fn is_about(reason: &str) -> bool {
    matches!(
        reason,
        "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed"
    )
}

/// Words in lower case, in the order in which they decide: a registry that limits or refuses may add that it did not
/// find anything.
const WORDS: [(&str, Code); 30] = [
    ("no match for platform in manifest", Code::PlatformMissing),
    ("no matching manifest for", Code::PlatformMissing),
    ("no image found in manifest list for architecture", Code::PlatformMissing),
    ("does not match the specified platform", Code::PlatformMissing),
    ("too many requests", Code::RegistryAway),
    ("toomanyrequests", Code::RegistryAway),
    ("rate exceeded", Code::RegistryAway),
    ("pull qps exceeded", Code::RegistryAway),
    ("401 unauthorized", Code::PullDenied),
    ("403 forbidden", Code::PullDenied),
    ("pull access denied", Code::PullDenied),
    ("access denied", Code::PullDenied),
    ("authorization failed", Code::PullDenied),
    ("authorization token has expired", Code::PullDenied),
    ("no basic auth credentials", Code::PullDenied),
    ("authentication required", Code::PullDenied),
    ("is not authorized to perform", Code::PullDenied),
    ("500 internal server error", Code::RegistryAway),
    ("502 bad gateway", Code::RegistryAway),
    ("503 service unavailable", Code::RegistryAway),
    ("504 gateway", Code::RegistryAway),
    ("i/o timeout", Code::RegistryAway),
    ("connection refused", Code::RegistryAway),
    ("connection reset", Code::RegistryAway),
    ("tls handshake timeout", Code::RegistryAway),
    ("no such host", Code::RegistryAway),
    ("context deadline exceeded", Code::RegistryAway),
    ("manifest unknown", Code::ImageMissing),
    ("name unknown", Code::ImageMissing),
    ("not found", Code::ImageMissing),
];

pub fn judge(case: &Case<'_>, status: &ContainerStatus, reason: &str, message: &str) -> Cause {
    // Older kubelets say in ImagePullBackOff only that they wait; the event of the attempt says why.
    let attempt = case.events.iter().copied().find(|event| {
        event.reason == "Failed"
            && event.message.contains("ailed to pull image")
            && event.container().is_none_or(|container| container == status.name)
    });
    let texts = [Some(message), attempt.map(|event| event.message.as_str())];
    let known = match reason {
        "InvalidImageName" | "ErrImageNeverPull" | "SignatureValidationFailed" => Some(Code::ImageUnusable),
        "RegistryUnavailable" => Some(Code::RegistryAway),
        _ => None,
    };
    let recognised = texts.into_iter().flatten().find_map(|text| Some((by_words(text)?, text)));
    let (code, text) = match (known, recognised) {
        (Some(code), _) => (code, message),
        (None, Some(recognised)) => recognised,
        (None, None) => (Code::PullFailed, attempt.map_or(message, |event| event.message.as_str())),
    };
    let image =
        case.pod.container(&status.name).map_or(status.image.as_str(), |container| container.image.as_str());
    let why = format!("{} needs {image}: {}", told_container(case.pod, &status.name), told(text));
    case.cause(code, why, Some(&status.name))
}

fn by_words(text: &str) -> Option<Code> {
    let text = text.to_lowercase();
    WORDS.into_iter().find(|(words, _)| text.contains(words)).map(|(_, code)| code)
}
