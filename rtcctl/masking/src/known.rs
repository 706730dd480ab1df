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

/// Those behind which only letters and digits stand: there are words that begin so.
const PLAIN: [&str; 3] = ["AKIA", "ASIA", "npm_"];

/// Hosts whose addresses are a secret from the path on.
const HOOKS: [&str; 5] =
    ["hooks.slack.com", "discord.com", "discordapp.com", "webhook.office.com", "hooks.chime.aws"];

/// Whether what has this name is better not read by others.
pub fn is_secret_name(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    SECRET_NAMES.iter().any(|part| plain.contains(part))
}

/// Tokens within a word.
#[derive(Default)]
pub(crate) struct Tokens {
    /// Up to here no JWT begins, so that no letter is counted twice.
    no_jwt_until: usize,
}

impl Tokens {
    /// How long the token is that begins here, if one does.
    pub fn at(&mut self, word: &str, at: usize) -> Option<usize> {
        let text = &word[at..];
        let run = |max: usize| text.bytes().take(max).take_while(|byte| is_of_token(*byte)).count();
        let is_known = |&(prefix, min): &(&str, usize)| {
            text.starts_with(prefix)
                && run(min) == min
                && (!PLAIN.contains(&prefix)
                    || text.as_bytes()[prefix.len()..min].iter().all(u8::is_ascii_alphanumeric))
        };
        if TOKENS.iter().any(is_known) {
            return Some(run(usize::MAX));
        }
        // Header, claims and signature of a JWT, whose first two are objects.
        if at >= self.no_jwt_until && text.starts_with("eyJ") {
            let whole = run(usize::MAX);
            let token = text[..whole].trim_end_matches('.');
            if token.len() > 30 && token.matches('.').count() >= 2 {
                return Some(token.len());
            }
            self.no_jwt_until = at + whole;
        }
        // Jenkins: the version 11 and 32 hexadecimal digits.
        let len = text.bytes().take(35).take_while(u8::is_ascii_alphanumeric).count();
        let is_jenkins = len == 34
            && text.starts_with("11")
            && text[..len].bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_jenkins.then_some(len)
    }
}

fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

pub(crate) fn is_token(word: &str) -> bool {
    Tokens::default().at(word, 0).is_some()
}

pub(crate) fn is_hook(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    HOOKS
        .iter()
        .any(|hook| host.strip_suffix(hook).is_some_and(|before| before.is_empty() || before.ends_with('.')))
}
