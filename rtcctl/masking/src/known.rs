//! What secrets are called, how tokens look, and which addresses are secrets themselves.

/// Parts of names, in lower case without separators.
const SECRET_NAMES: [&str; 19] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "credential",
    "authorization",
    "cookie",
    "dsn",
    "connectionstring",
    "sessionkey",
    "signature",
    "webhookurl",
];

/// How tokens that are known begin, and how long they are at least.
const TOKENS: [(&str, usize); 20] = [
    ("AKIA", 20),
    ("ASIA", 20),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 20),
    ("npm_", 36),
    ("pypi-", 40),
    ("xoxa-", 15),
    ("xoxb-", 15),
    ("xoxp-", 15),
    ("xoxr-", 15),
    ("xoxs-", 15),
    ("xapp-", 15),
    ("sk_live_", 16),
    ("k8s-aws-v1.", 20),
    ("AIza", 35),
];

/// Hosts whose addresses are a secret from the path on.
const HOOKS: [&str; 5] =
    ["hooks.slack.com", "discord.com", "discordapp.com", "webhook.office.com", "hooks.chime.aws"];

/// Whether what has this name is better not read by others.
pub fn is_secret_name(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    SECRET_NAMES.iter().any(|part| plain.contains(part))
}

pub(crate) fn is_token(word: &str) -> bool {
    let is_known = TOKENS.iter().any(|(prefix, len)| word.len() >= *len && word.starts_with(prefix));
    // Header, claims and signature of a JWT, whose first two are objects.
    let is_jwt = word.starts_with("eyJ") && word.len() > 30 && word.matches('.').count() == 2;
    // Jenkins: the version 11 and 32 hexadecimal digits.
    let is_jenkins = word.len() == 34
        && word.starts_with("11")
        && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_known || is_jwt || is_jenkins
}

pub(crate) fn is_hook(host: &str) -> bool {
    HOOKS.iter().any(|hook| host == *hook || host.ends_with(&format!(".{hook}")))
}
