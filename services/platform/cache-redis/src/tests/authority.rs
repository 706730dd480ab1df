//! An authority that a test makes for itself, and certificates by it: X.509 in as much of DER as that takes.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A day on which no test will run.
pub const LATER: &str = "491231235959Z";
const FROM: &str = "200101000000Z";

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const BYTES: u8 = 0x04;
const OID: u8 = 0x06;
const TEXT: u8 = 0x0c;
const TIME: u8 = 0x17;
const TRUE: [u8; 3] = [0x01, 0x01, 0xff];

const EC_PUBLIC_KEY: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ECDSA_WITH_SHA256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1d, 0x13];
const ALTERNATIVE_NAMES: [u8; 3] = [0x55, 0x1d, 0x11];

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut bytes = vec![tag];
    match u16::try_from(content.len()).expect("a short text").to_be_bytes() {
        [0, short @ ..0x80] => bytes.push(short),
        [0, middle] => bytes.extend([0x81, middle]),
        [high, low] => bytes.extend([0x82, high, low]),
    }
    bytes.extend(content);
    bytes
}

fn named(name: &str) -> Vec<u8> {
    let pair = der(SEQUENCE, &[&der(OID, &[&COMMON_NAME]), &der(TEXT, &[name.as_bytes()])]);
    der(SEQUENCE, &[&der(SET, &[&pair])])
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    der(BITS, &[&[0], bytes])
}

/// A section of a PEM file.
pub fn pem(label: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A certificate and its key (PKCS #8), as DER.
pub struct Issued {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

pub struct Authority {
    name: String,
    key: EcdsaKeyPair,
}

fn new_key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key")
}

impl Authority {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), key: new_key() }
    }

    /// Its own certificate, as PEM.
    pub fn pem(&self) -> String {
        let constraints = der(SEQUENCE, &[&TRUE]);
        let is_authority =
            der(SEQUENCE, &[&der(OID, &[&BASIC_CONSTRAINTS]), &TRUE, &der(BYTES, &[&constraints])]);
        pem("CERTIFICATE", &self.sign(&self.name, &self.key, LATER, &is_authority))
    }

    /// A server's certificate for names and addresses, good until a day.
    pub fn issue(&self, names: &[&str], until: &str) -> Issued {
        let names: Vec<u8> = names
            .iter()
            .flat_map(|name| match name.parse::<std::net::Ipv4Addr>() {
                Ok(address) => der(0x87, &[&address.octets()]),
                Err(_) => der(0x82, &[name.as_bytes()]),
            })
            .collect();
        let names = der(BYTES, &[&der(SEQUENCE, &[&names])]);
        let names = der(SEQUENCE, &[&der(OID, &[&ALTERNATIVE_NAMES]), &names]);
        let key = new_key();
        let certificate = self.sign("a server", &key, until, &names);
        Issued { certificate, key: key.to_pkcs8v1().expect("a key").as_ref().to_vec() }
    }

    fn sign(&self, subject: &str, key: &EcdsaKeyPair, until: &str, extension: &[u8]) -> Vec<u8> {
        let algorithm = der(SEQUENCE, &[&der(OID, &[&ECDSA_WITH_SHA256])]);
        let days = der(SEQUENCE, &[&der(TIME, &[FROM.as_bytes()]), &der(TIME, &[until.as_bytes()])]);
        let kind = der(SEQUENCE, &[&der(OID, &[&EC_PUBLIC_KEY]), &der(OID, &[&P256])]);
        let public = der(SEQUENCE, &[&kind, &bits(key.public_key().as_ref())]);
        let said = der(
            SEQUENCE,
            &[
                // Version 3.
                &der(0xa0, &[&der(INTEGER, &[&[2]])]),
                &der(INTEGER, &[&[1]]),
                &algorithm,
                &named(&self.name),
                &days,
                &named(subject),
                &public,
                &der(0xa3, &[&der(SEQUENCE, &[extension])]),
            ],
        );
        let signature = self.key.sign(&SystemRandom::new(), &said).expect("a signature");
        der(SEQUENCE, &[&said, &algorithm, &bits(signature.as_ref())])
    }
}
