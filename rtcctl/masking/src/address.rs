//! Addresses without what signs in there.

use crate::known::{is_hook, is_secret_name, is_token};
use crate::{MASK, masked};

/// An address at the beginning of a text, and what follows it.
pub(crate) fn at_the_beginning(text: &str) -> Option<(&str, &str)> {
    let head = &text.as_bytes()[..text.len().min(24)];
    let scheme = head.windows(3).position(|three| three == b"://").filter(|end| *end > 0)?;
    let is_scheme =
        text[..scheme].bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let is_end = |letter: char| letter.is_whitespace() || "\"'`<>|".contains(letter);
    is_scheme.then(|| text.split_at(text.find(is_end).unwrap_or(text.len())))
}

/// Who signs in, as far as it is no secret: on the web a token may stand where a name does, elsewhere it tells whose
/// password was refused.
fn user(scheme: &str, login: &str) -> String {
    let is_web = ["http", "https", "ws", "wss"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
    let is_name = |name: &str| {
        !name.is_empty()
            && !is_token(name)
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
    };
    match login.split_once(':') {
        Some((name, _)) if !is_web && is_name(name) => format!("{name}:{MASK}"),
        _ => MASK.to_owned(),
    }
}

/// An address without what signs in there.
pub fn masked_address(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return masked(address) };
    // A password may hold what ends an authority: the last @ of the whole counts where there is none in it.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let is_password = |at: &usize| rest[..*at].contains(':') && !rest[..*at].contains("://");
    let at = authority.rfind('@').or_else(|| rest.rfind('@').filter(is_password));
    let (user, rest) = at.map_or((String::new(), rest), |at| (user(scheme, &rest[..at]), &rest[at..]));
    let host = rest.trim_start_matches('@').split(['/', '?', '#', ':']).next().unwrap_or_default();
    if is_hook(host) {
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
