//! Names of images.

use crate::{Digest, Error, Reference};

fn parsed(text: &str) -> String {
    text.parse::<Reference>().unwrap().to_string()
}

fn refused(text: &str) -> String {
    match text.parse::<Reference>() {
        Err(Error::Reference { reason, .. }) => reason,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn names_are_written_in_full() {
    for (short, full) in [
        ("nginx", "docker.io/library/nginx"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("library/nginx", "docker.io/library/nginx"),
        ("grafana/grafana", "docker.io/grafana/grafana"),
        ("index.docker.io/nginx", "docker.io/library/nginx"),
        ("localhost/rtcd", "localhost/rtcd"),
        ("localhost:5000/rtcd:v1", "localhost:5000/rtcd:v1"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c"),
        ("[::1]:5000/rtcd:v1", "[::1]:5000/rtcd:v1"),
        ("GHCR.io/rtc/rtcd", "ghcr.io/rtc/rtcd"),
        (
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com/rtc/rtcd:2026.11",
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com/rtc/rtcd:2026.11",
        ),
        ("gcr.io/a/b__c/d-e.f---g", "gcr.io/a/b__c/d-e.f---g"),
    ] {
        assert_eq!(parsed(short), full);
    }
}

#[test]
fn a_digest_is_wanted_before_a_tag_and_latest_when_there_is_neither() {
    let digest = Digest::of(b"x");
    let both: Reference = format!("localhost:1/a:v1@{digest}").parse().unwrap();
    assert_eq!((both.tag(), both.digest()), (Some("v1"), Some(digest)));
    assert_eq!(both.wanted(), digest.to_string());
    assert_eq!(both.with_tag("v2").unwrap().to_string(), "localhost:1/a:v2");
    assert_eq!(both.with_digest(digest).to_string(), format!("localhost:1/a@{digest}"));
    assert_eq!("a".parse::<Reference>().unwrap().wanted(), "latest");
}

#[test]
fn a_wrong_name_says_what_is_wrong_with_it() {
    for (text, part) in [
        ("", "empty"),
        ("https://ghcr.io/a", "scheme"),
        ("a b", "white space"),
        ("RtcD", "capitals"),
        ("ghcr.io/", "no repository"),
        ("ghcr.io//a", "empty part"),
        ("ghcr.io/a/", "empty part"),
        ("a:", "tag is empty"),
        ("a:-x", "begins"),
        ("a:b+c", "'+'"),
        ("a$b", "'$'"),
        ("-a", "must begin"),
        ("a..b", "joined"),
        ("a___b", "joined"),
        ("localhost:port/a", "no port"),
        ("localhost:99999/a", "no port"),
        ("host_name.com/a", "no host name"),
        ("[::zz]:1/a", "IPv6"),
        ("a@sha256:12", "2 digits"),
        ("a@md5:12", "not sha256"),
    ] {
        let reason = refused(text);
        assert!(reason.contains(part), "{text}: {reason}");
    }
    assert!(refused(&format!("a:{}", "x".repeat(129))).contains("longer"));
    assert!(refused(&"x".repeat(256)).contains("longer"));
    assert!(Reference::new("ghcr.io", "a:v1").is_err());
    assert_eq!(Reference::new("ghcr.io", "a/b").unwrap().name(), "ghcr.io/a/b");
}

#[test]
fn a_digest_has_one_spelling() {
    let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Digest::of(b"").to_string(), empty);
    assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of(b""));
    assert!(empty.replace('e', "E").parse::<Digest>().is_err());
    assert!(empty.replace(':', "").parse::<Digest>().is_err());
    assert!(format!("{empty}0").parse::<Digest>().is_err());
    assert!(empty.replace("e3", "+3").parse::<Digest>().is_err());
    assert_eq!(Digest::read(&b"abc"[..]).unwrap(), (Digest::of(b"abc"), 3));
}
