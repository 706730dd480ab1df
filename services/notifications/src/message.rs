//! A letter as an Internet message (RFC 5322), and back again for whoever reads the mailbox.
//!
//! Invariants: a message is ASCII throughout: what is not is an encoded word (RFC 2047) or base64; a header is one line
//! of ours, whatever is in a name or a subject.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kernel::Timestamp;
use lettre::Address;
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Body, Mailbox, Message};

use crate::letter::{Letter, one_line};

/// Who a letter is from.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub mailbox: Mailbox,
}

impl Sender {
    pub(crate) fn new(name: &str, address: &str) -> Result<Self, String> {
        Ok(Self { mailbox: Mailbox::new(named(name), address_of(address)?) })
    }
}

fn named(name: &str) -> Option<String> {
    let name = one_line(name);
    (!name.is_empty()).then_some(name)
}

/// An address that every server takes. Those beyond ASCII need SMTPUTF8, which hardly any server has.
pub(crate) fn address_of(text: &str) -> Result<Address, String> {
    let address: Address = text.trim().parse().map_err(|_| "the address is not valid".to_owned())?;
    let plain = |c: char| c.is_ascii_graphic() && !"<>,;:\\\"()[]".contains(c);
    if address.as_ref() as &str != text.trim() || !text.trim().chars().all(plain) {
        return Err("the address is not one that mail servers take".to_owned());
    }
    Ok(address)
}

/// Writes the message. `message_id` without its angle brackets.
pub(crate) fn compose(
    from: &Sender,
    to: Address,
    name: Option<&str>,
    letter: &Letter,
    message_id: &str,
    at: Timestamp,
) -> Result<Vec<u8>, String> {
    let millis = u64::try_from(at.as_millis()).unwrap_or(0);
    // Always base64: one way to write, one way to read, and no line that a relay could take for something else.
    let text = letter.text.replace("\r\n", "\n").replace('\n', "\r\n");
    let body = Body::new_with_encoding(text, ContentTransferEncoding::Base64)
        .map_err(|_| "the text cannot be encoded".to_owned())?;
    let message = Message::builder()
        .message_id(Some(format!("<{message_id}>")))
        .date(UNIX_EPOCH + Duration::from_millis(millis))
        .from(from.mailbox.clone())
        .to(Mailbox::new(name.and_then(named), to))
        .subject(one_line(&letter.subject))
        .header(ContentType::TEXT_PLAIN)
        .body(body)
        .map_err(|error| error.to_string())?;
    Ok(message.formatted())
}

/// A message that was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub message_id: String,
    pub from: String,
    pub to: String,
    pub subject: String,
    pub text: String,
}

/// Reads a message that [`compose`] wrote; `None` where these bytes are no such message.
pub(crate) fn parse(bytes: &[u8]) -> Option<Parsed> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let header = |wanted: &str| {
        head.split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| decode_words(value.trim()))
    };
    let packed: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let text = String::from_utf8(STANDARD.decode(packed).ok()?).ok()?.replace("\r\n", "\n");
    Some(Parsed {
        message_id: header("Message-ID")?.trim_matches(['<', '>']).to_owned(),
        from: header("From")?,
        to: header("To")?,
        subject: header("Subject")?,
        text,
    })
}

/// Decodes `=?utf-8?b?…?=` words; space between two of them is not part of the text (RFC 2047 §6.2).
fn decode_words(value: &str) -> String {
    let mut decoded: Vec<u8> = Vec::new();
    let (mut rest, mut after_word) = (value, false);
    while let Some(start) = rest.find("=?") {
        let (before, from) = rest.split_at(start);
        let word = from.get(2..).and_then(|inner| inner.split_once("?="));
        let bytes = word.and_then(|(word, tail)| {
            let (charset, rest) = word.split_once('?')?;
            let (encoding, packed) = rest.split_once('?')?;
            let known = charset.eq_ignore_ascii_case("utf-8") && encoding.eq_ignore_ascii_case("b");
            Some((STANDARD.decode(packed).ok().filter(|_| known)?, tail))
        });
        let Some((bytes, tail)) = bytes else {
            decoded.extend_from_slice(before.as_bytes());
            decoded.extend_from_slice(b"=?");
            (rest, after_word) = (&from[2..], false);
            continue;
        };
        if !(after_word && before.trim().is_empty()) {
            decoded.extend_from_slice(before.as_bytes());
        }
        decoded.extend_from_slice(&bytes);
        (rest, after_word) = (tail, true);
    }
    decoded.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&decoded).into_owned()
}
