//! The server's side of SCRAM-SHA-512 (RFC 5802), as a broker has it.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// As few rounds as Kafka lets anybody have.
const ROUNDS: NonZeroU32 = NonZeroU32::new(4096).unwrap();
const SALT: &[u8] = b"the salt of the only user";
/// One for all: nobody listens here who would say again what he has heard.
const NONCE: &str = "and-the-other-half-is-the-server-s";

/// One client that signs in.
pub struct Exchange {
    user: &'static str,
    password: String,
    /// What was said so far, as both sides sign it.
    said: Option<String>,
}

/// What becomes of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    GoesOn(Vec<u8>),
    /// Who he says he is; with the proof that the server knows the password too.
    Admitted(Vec<u8>),
    Refused,
}

fn signed(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, key), text).as_ref().to_vec()
}

/// The value of `name=` in a message.
fn part<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

impl Exchange {
    pub fn new(user: &'static str, password: &str) -> Self {
        Self { user, password: password.to_owned(), said: None }
    }

    pub fn answer(&mut self, message: &[u8]) -> Answer {
        let message = std::str::from_utf8(message).unwrap_or_default();
        let answer = match self.said.take() {
            None => self.first(message),
            Some(said) => self.last(&said, message),
        };
        answer.unwrap_or(Answer::Refused)
    }

    fn first(&mut self, message: &str) -> Option<Answer> {
        // No channel binding is offered, none is wanted.
        let bare = message.strip_prefix("n,,")?;
        if part(bare, "n")? != self.user {
            return None;
        }
        let nonce = part(bare, "r")?;
        let answer = format!("r={nonce}{NONCE},s={},i={ROUNDS}", BASE64.encode(SALT));
        self.said = Some(format!("{bare},{answer}"));
        Some(Answer::GoesOn(answer.into_bytes()))
    }

    fn last(&self, said: &str, message: &str) -> Option<Answer> {
        let (unproven, proof) = message.rsplit_once(",p=")?;
        // The base64 of "n,,".
        if part(unproven, "c")? != "biws" || !part(unproven, "r")?.ends_with(NONCE) {
            return None;
        }
        let proof = BASE64.decode(proof).ok()?;
        let mut salted = [0; digest::SHA512_OUTPUT_LEN];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, ROUNDS, SALT, self.password.as_bytes(), &mut salted);
        let said = format!("{said},{unproven}");
        let stored = digest::digest(&digest::SHA512, &signed(&salted, b"Client Key"));
        let signature = signed(stored.as_ref(), said.as_bytes());
        let key: Vec<u8> = signature.iter().zip(&proof).map(|(one, other)| one ^ other).collect();
        let shown = digest::digest(&digest::SHA512, &key);
        constant_time::verify_slices_are_equal(shown.as_ref(), stored.as_ref()).ok()?;
        let own = signed(&signed(&salted, b"Server Key"), said.as_bytes());
        Some(Answer::Admitted(format!("v={}", BASE64.encode(own)).into_bytes()))
    }
}
