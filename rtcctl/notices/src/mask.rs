//! What must not be told: passwords in addresses, values of names that are those of secrets, and what looks like a token
//! or a key wherever it stands.
//!
//! Invariants: the name of a secret stays, its value goes; a text that was masked is the same when it is masked again;
//! digests, revisions and run ids stay.

/// What stands in place of a secret.
const MASK: &str = "***";

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
fn is_secret_name(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    SECRET_NAMES.iter().any(|part| plain.contains(part))
}

fn is_token(word: &str) -> bool {
    let is_known = TOKENS.iter().any(|(prefix, len)| word.len() >= *len && word.starts_with(prefix));
    // Header, claims and signature of a JWT, whose first two are objects.
    let is_jwt = word.starts_with("eyJ") && word.len() > 30 && word.matches('.').count() == 2;
    // Jenkins: the version 11 and 32 hexadecimal digits.
    let is_jenkins = word.len() == 34
        && word.starts_with("11")
        && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_known || is_jwt || is_jenkins
}

/// A word ends where one of these stands; `=` and `:` end it too, and may make it a name.
fn ends_word(letter: char) -> bool {
    letter.is_whitespace() || "\"'`<>()[]{},;|=:&?#@".contains(letter)
}

/// The value of a name ends where one of these stands.
fn ends_value(letter: char) -> bool {
    letter.is_whitespace() || "\"'`<>(),;&{}[]".contains(letter)
}

fn is_scheme(word: &str) -> bool {
    word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic")
}

/// Masks a text.
pub fn masked(text: &str) -> String {
    let text = without_keys(text);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(letter) = rest.chars().next() {
        if let Some((address, after)) = address(rest) {
            out.push_str(&masked_address(address));
            rest = after;
            continue;
        }
        if ends_word(letter) {
            out.push(letter);
            rest = &rest[letter.len_utf8()..];
            continue;
        }
        let end = rest.find(ends_word).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        if is_token(word) {
            out.push_str(MASK);
            continue;
        }
        out.push_str(word);
        if is_scheme(word) {
            rest = credentials(rest, &mut out);
        } else if is_secret_name(word) {
            rest = value(rest, word.starts_with('-'), &mut out);
        }
    }
    out
}

/// What follows a name: `="x y"`, `: x`, and ` x` after a flag. Answers what is left.
fn value<'a>(rest: &'a str, is_flag: bool, out: &mut String) -> &'a str {
    let quoted = rest.strip_prefix(['"', '\'']).unwrap_or(rest);
    let is_blank = |letter: char| letter == ' ' || letter == '\t';
    let spaced = quoted.trim_start_matches(is_blank);
    let begins = match spaced.strip_prefix(['=', ':']) {
        Some(after) => after.trim_start_matches(is_blank),
        None if is_flag && rest.starts_with(' ') && !spaced.starts_with('-') => spaced,
        None => return rest,
    };
    // Also `\"`, as where one document lies in another.
    let opening = begins.trim_start_matches('\\');
    let (quote, begins) = match opening.chars().next() {
        Some(quote @ ('"' | '\'' | '`')) => (Some(quote), &opening[1..]),
        _ => (None, begins),
    };
    out.push_str(&rest[..rest.len() - begins.len()]);
    let end = match quote {
        Some(quote) => begins.find([quote, '\n']),
        None => {
            let first = begins.find([' ', '\t']).unwrap_or(begins.len());
            let after = begins[first..].trim_start_matches(is_blank);
            // `Authorization: Bearer abc` has its value one word later.
            if is_scheme(&begins[..first]) && !after.is_empty() {
                out.push_str(&begins[..begins.len() - after.len()]);
                out.push_str(MASK);
                return &after[after.find(ends_value).unwrap_or(after.len())..];
            }
            begins.find(ends_value)
        }
    };
    let end = end.unwrap_or(begins.len());
    if end > 0 {
        out.push_str(MASK);
    }
    &begins[end..]
}

/// What follows `Bearer`, where it is no word of a sentence.
fn credentials<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let begins = rest.trim_start_matches(' ');
    let end = begins.find(ends_value).unwrap_or(begins.len());
    let word = &begins[..end];
    let is_sentence = word.len() < 8 || word.bytes().all(|byte| byte.is_ascii_lowercase());
    if begins.len() == rest.len() || is_sentence {
        return rest;
    }
    out.push(' ');
    out.push_str(MASK);
    &begins[end..]
}

/// An address at the beginning of a text, and what follows it.
fn address(text: &str) -> Option<(&str, &str)> {
    let head = &text.as_bytes()[..text.len().min(24)];
    let scheme = head.windows(3).position(|three| three == b"://").filter(|end| *end > 0)?;
    let is_scheme =
        text[..scheme].bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let is_end = |letter: char| letter.is_whitespace() || "\"'`<>|".contains(letter);
    is_scheme.then(|| text.split_at(text.find(is_end).unwrap_or(text.len())))
}

/// An address without what signs in there.
pub(crate) fn masked_address(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return masked(address) };
    // A password may hold what ends an authority: the last @ of the whole counts where there is none in it.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let is_password = |at: &usize| rest[..*at].contains(':') && !rest[..*at].contains("://");
    let at = authority.rfind('@').or_else(|| rest.rfind('@').filter(is_password));
    let (user, rest) = at.map_or(("", rest), |at| (MASK, &rest[at..]));
    let host = rest.trim_start_matches('@').split(['/', '?', '#', ':']).next().unwrap_or_default();
    let is_hook = HOOKS.iter().any(|hook| host == *hook || host.ends_with(&format!(".{hook}")));
    if is_hook {
        let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let path = if at + 1 < rest.len() { format!("/{MASK}") } else { rest[at..].to_owned() };
        return format!("{scheme}://{user}{}{path}", &rest[..at]);
    }
    let (path, query) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let path: Vec<&str> = path.split('/').map(|part| if is_token(part) { MASK } else { part }).collect();
    let mut out = format!("{scheme}://{user}{}", path.join("/"));
    for pair in query.split_inclusive(['?', '&', '#', ';']) {
        let end = pair.trim_end_matches(['?', '&', '#', ';']).len();
        let (pair, mark) = pair.split_at(end);
        match pair.split_once('=') {
            Some((name, value))
                if is_secret_name(name) || matches!(name, "sig" | "key") || is_token(value) =>
            {
                out.push_str(&format!("{name}={MASK}"));
            }
            _ => out.push_str(pair),
        }
        out.push_str(mark);
    }
    out
}

/// Without private keys as PEM has them, also such that were cut off.
fn without_keys(text: &str) -> String {
    const BEGIN: &str = "-----BEGIN ";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let (before, block) = rest.split_at(at);
        out.push_str(before);
        let label_end = block[BEGIN.len()..].find("-----").map(|end| BEGIN.len() + end);
        let is_private = label_end.is_none_or(|end| block[..end].contains("PRIVATE KEY"));
        if !is_private {
            out.push_str(BEGIN);
            rest = &block[BEGIN.len()..];
            continue;
        }
        out.push_str(MASK);
        let end = label_end.and_then(|label_end| {
            let end = block.find("-----END ")?;
            (end > label_end).then_some(())?;
            Some(end + 9 + block[end + 9..].find("-----")? + 5)
        });
        rest = end.map_or("", |end| &block[end..]);
    }
    out.push_str(rest);
    out
}
