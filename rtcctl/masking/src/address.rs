//! Addresses without what signs in there.

use crate::MASK;
use crate::encoded::{LAYERS_MAX, piece};
use crate::known::{is_hook, is_secret_name, is_token};
use crate::text::masked_within;

fn is_of_scheme(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "+-.".contains(letter)
}

/// An address whose scheme ends a word, what of the word is before it, and what follows.
pub(crate) fn at_the_end_of<'a>(
    text: &'a str,
    word: &'a str,
    after: &'a str,
) -> Option<(&'a str, &'a str, &'a str)> {
    after.strip_prefix("://")?;
    let begin = word.trim_end_matches(is_of_scheme).len();
    (begin < word.len()).then_some(())?;
    let is_end = |letter: char| letter.is_whitespace() || "\"'`<>|".contains(letter);
    let end = word.len() + after.find(is_end).unwrap_or(after.len());
    // What is before a quote belongs to the quote.
    let end = text[..end].trim_end_matches('\\').len();
    Some((&word[..begin], &text[begin..end], &text[end..]))
}

fn is_web(scheme: &str) -> bool {
    // Whatever stands before it, as the letter of `\n`.
    let scheme = scheme.to_ascii_lowercase();
    ["http", "https", "ws", "wss"].iter().any(|web| scheme.ends_with(web))
}

/// Whether an authority is a host, with or without a port.
fn is_host(authority: &str) -> bool {
    let bare = authority.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    let host = bare.map_or(authority, |(host, _)| host);
    !host.contains(':') || (authority.starts_with('[') && (host.ends_with(']') || authority.ends_with(']')))
}

/// Who signs in, as far as it is no secret: on the web a token may stand where a name does, elsewhere it tells whose
/// password was refused.
fn user(scheme: &str, login: &str) -> String {
    let is_name = |name: &str| {
        !name.is_empty()
            && !is_token(name)
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
    };
    match login.split_once(':') {
        Some((name, _)) if !is_web(scheme) && is_name(name) => format!("{name}:{MASK}"),
        _ => MASK.to_owned(),
    }
}

/// An address without what signs in there.
pub fn masked_address(address: &str) -> String {
    address_within(address, 0)
}

pub(crate) fn address_within(address: &str, layers: usize) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return masked_within(address, layers) };
    if let Some((outer, inner)) = inner(address, rest).filter(|_| layers < LAYERS_MAX) {
        return address_within(outer, layers) + &address_within(inner, layers + 1);
    }
    // A password may hold what ends an authority: the last @ of the whole counts where there is none in it.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    // On the web a path may have one, behind a port.
    let is_password = |at: &usize| {
        let login = &rest[..*at];
        login.contains(':') && !login.contains("://") && !(is_web(scheme) && is_host(authority))
    };
    let at = authority.rfind('@').or_else(|| rest.rfind('@').filter(is_password));
    let (user, rest) = at.map_or((String::new(), rest), |at| (user(scheme, &rest[..at]), &rest[at..]));
    let host = rest.trim_start_matches('@').split(['/', '?', '#', ':']).next().unwrap_or_default();
    if is_hook(host) {
        let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let path = if at + 1 < rest.len() { format!("/{MASK}") } else { rest[at..].to_owned() };
        return format!("{scheme}://{user}{}{path}", &rest[..at]);
    }
    let (path, query) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let path: Vec<_> = path.split('/').map(|part| piece(part, false, layers)).collect();
    let mut out = format!("{scheme}://{user}{}", path.join("/"));
    for pair in query.split_inclusive(['?', '&', '#', ';']) {
        let end = pair.trim_end_matches(['?', '&', '#', ';']).len();
        let (pair, mark) = pair.split_at(end);
        match pair.split_once('=') {
            Some((name, value)) if is_secret(name) && !value.is_empty() => {
                out.push_str(&format!("{name}={MASK}"));
            }
            Some((name, value)) => {
                out.push_str(&format!("{}={}", piece(name, false, layers), piece(value, false, layers)));
            }
            None => out.push_str(&piece(pair, false, layers)),
        }
        out.push_str(mark);
    }
    out
}

/// Whether the value of this part of a query is a secret.
fn is_secret(name: &str) -> bool {
    is_secret_name(name) || matches!(name, "sig" | "key")
}

/// An address that lies in another one as it is: `https://x/?to=https://y`.
fn inner<'a>(address: &'a str, rest: &'a str) -> Option<(&'a str, &'a str)> {
    let behind = rest.find(['/', '?', '#'])?;
    let mark = behind + rest[behind..].find("://")?;
    let begin = rest[..mark].trim_end_matches(is_of_scheme).len();
    let name = rest[..begin].strip_suffix('=').map(|before| before.rsplit(['?', '&', '#', ';']).next());
    let is_secret = name.flatten().is_some_and(is_secret);
    (begin < mark && begin > behind && !is_secret)
        .then(|| address.split_at(address.len() - rest.len() + begin))
}
