//! Tokens are taken by a cluster that keeps the rules, and by no other; and there is always a good one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::{Clock, ManualClock, Timestamp};

use super::verifier::{Caller, Verifier, url_of};
use crate::sign_in::{Endpoints, presign};
use crate::{Kind, Sts, Tokens};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const HOST: &str = "sts.ap-northeast-2.amazonaws.com";

fn start() -> Timestamp {
    "2026-03-01T09:00:00Z".parse().unwrap()
}

fn keys(session: Option<&str>) -> Credentials {
    Credentials::new("AKIDEXAMPLE", SECRET, session.map(str::to_owned), None, "test")
}

fn seoul() -> Sts {
    Sts::of("ap-northeast-2", Endpoints::Ordinary).unwrap()
}

fn cluster(name: &str) -> Verifier<'_> {
    Verifier { cluster: name, hosts: &[HOST], secret: SECRET, now: start() }
}

#[test]
fn a_token_is_taken_by_its_cluster_and_says_who_signed_it() {
    for session in [None, Some("IQoJb3JpZ2luX2VjEHMaDmFwLW5vcnRoZWFzdC0yIkcwRQIg+/==")] {
        let token = presign(&keys(session), "rtc-dev", &seoul(), start()).unwrap();
        let caller = cluster("rtc-dev").verify(token.value()).unwrap();
        assert_eq!(
            caller,
            Caller {
                access_key: "AKIDEXAMPLE".to_owned(),
                session: session.map(str::to_owned),
                host: HOST.to_owned(),
                signed_at: start(),
            }
        );
        assert_eq!(token.expires_at, start().plus(Duration::from_secs(14 * 60)));
    }
}

#[test]
fn a_token_has_exactly_the_parameters_that_are_allowed() {
    let expected = |session: bool| {
        let mut names = BTreeSet::from([
            "Action",
            "Version",
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-SignedHeaders",
            "X-Amz-Signature",
        ]);
        if session {
            names.insert("X-Amz-Security-Token");
        }
        names
    };
    for session in [None, Some("session")] {
        let token = presign(&keys(session), "rtc-dev", &seoul(), start()).unwrap();
        let url = url_of(token.value()).unwrap();
        let query = url.split_once('?').unwrap().1;
        let names: BTreeSet<&str> = query.split('&').map(|pair| pair.split_once('=').unwrap().0).collect();
        assert_eq!(names, expected(session.is_some()));
        for pair in ["X-Amz-Expires=60", "X-Amz-SignedHeaders=host%3Bx-k8s-aws-id", "Version=2011-06-15"] {
            assert!(query.split('&').any(|one| one == pair), "{pair}: {query}");
        }
        assert!(!token.value().contains('='), "padded");
    }
}

/// A token after something was done to its address.
fn changed(change: impl Fn(&str) -> String) -> String {
    let token = presign(&keys(Some("session")), "rtc-dev", &seoul(), start()).unwrap();
    format!("k8s-aws-v1.{}", URL_SAFE_NO_PAD.encode(change(&url_of(token.value()).unwrap())))
}

#[test]
fn what_was_changed_is_refused_by_the_rule_that_it_breaks() {
    let good = changed(str::to_owned);
    assert!(cluster("rtc-dev").verify(&good).is_ok(), "what refuses the others must take this");
    type Change = fn(&str) -> String;
    let table: [(Change, &str); 13] = [
        (|url| url.replace("https://", "http://"), "the scheme is not https"),
        (|url| url.replace(HOST, "sts.example.org"), "sts.example.org is no host of STS"),
        (|url| url.replace(HOST, &format!("{HOST}:443")), "no host of STS"),
        (|url| url.replace("/?", "/other?"), "the path is not /"),
        (|url| format!("{url}&X-Amz-Meta=1"), "X-Amz-Meta is no allowed parameter"),
        (|url| format!("{url}&action=GetCallerIdentity"), "action is there twice"),
        (|url| url.replace("GetCallerIdentity", "AssumeRole"), "the action is another one"),
        (|url| url.replace("host%3Bx-k8s-aws-id", "host"), "the header of the cluster is not signed"),
        (|url| url.replace("X-Amz-Expires=60", "X-Amz-Expires=901"), "the expiry is out of bounds"),
        (|url| url.replace("X-Amz-Expires=60", "X-Amz-Expires=-1"), "the expiry is out of bounds"),
        (|url| url.replace("X-Amz-Expires=60", "X-Amz-Expires=61"), "the signature does not match"),
        (|url| url.replace("AKIDEXAMPLE", "AKIDOTHER"), "the signature does not match"),
        (|url| url.replace("Security-Token=session", "Security-Token=other"), "the signature does not match"),
    ];
    for (change, reason) in table {
        let refused = cluster("rtc-dev").verify(&changed(change)).unwrap_err();
        assert!(refused.contains(reason), "{refused}, and not: {reason}");
    }
    assert!(cluster("rtc-dev").verify(good.trim_start_matches("k8s-aws-v1.")).is_err());
    assert!(cluster("rtc-dev").verify(&format!("{good}==")).is_err());
}

#[test]
fn a_token_opens_one_cluster_for_a_quarter_of_an_hour() {
    let token = presign(&keys(None), "rtc-dev", &seoul(), start()).unwrap();
    assert_eq!(cluster("rtc-prod").verify(token.value()).unwrap_err(), "the signature does not match");
    let later = |minutes: u64, more: u64| Verifier {
        now: start().plus(Duration::from_secs(minutes * 60 + more)),
        ..cluster("rtc-dev")
    };
    assert!(later(15, 0).verify(token.value()).is_ok());
    assert_eq!(later(15, 1).verify(token.value()).unwrap_err(), "the date is too old");
}

#[test]
fn sts_is_asked_where_the_region_has_it() {
    use Endpoints::{Fips, Ordinary};
    for (region, endpoints, host) in [
        ("us-east-1", Ordinary, "sts.us-east-1.amazonaws.com"),
        ("ap-northeast-2", Ordinary, "sts.ap-northeast-2.amazonaws.com"),
        ("il-central-1", Ordinary, "sts.il-central-1.amazonaws.com"),
        ("cn-north-1", Ordinary, "sts.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", Ordinary, "sts.us-gov-west-1.amazonaws.com"),
        ("us-iso-east-1", Ordinary, "sts.us-iso-east-1.c2s.ic.gov"),
        ("us-isob-east-1", Ordinary, "sts.us-isob-east-1.sc2s.sgov.gov"),
        ("us-isof-south-1", Ordinary, "sts.us-isof-south-1.csp.hci.ic.gov"),
        ("eu-isoe-west-1", Ordinary, "sts.eu-isoe-west-1.cloud.adc-e.uk"),
        ("eusc-de-east-1", Ordinary, "sts.eusc-de-east-1.amazonaws.eu"),
        ("us-east-2", Fips, "sts-fips.us-east-2.amazonaws.com"),
        ("us-gov-east-1", Fips, "sts.us-gov-east-1.amazonaws.com"),
    ] {
        assert_eq!(Sts::of(region, endpoints).unwrap().host(), host, "{region}");
        let token = presign(&keys(None), "rtc", &Sts::of(region, endpoints).unwrap(), start()).unwrap();
        let verifier = Verifier { hosts: &[host], ..cluster("rtc") };
        assert_eq!(verifier.verify(token.value()).unwrap().host, host);
        assert!(url_of(token.value()).unwrap().contains(&format!("%2F{region}%2Fsts%2Faws4_request")));
    }
    assert_eq!(Sts::of("eu-west-1", Fips).unwrap_err().kind, Kind::Invalid);
    for wrong in ["", "eu", "EU-west-1", "eu-west-1.evil.example/", "eu west-1", "-", "eu-west-1-"] {
        assert_eq!(Sts::of(wrong, Ordinary).unwrap_err().kind, Kind::Invalid, "{wrong:?}");
    }
}

#[test]
fn a_name_that_no_cluster_has_is_not_signed() {
    let long = "a".repeat(101);
    for name in ["", "-a", "a b", "a\nx-other: 1", "a/b", "가", long.as_str()] {
        assert_eq!(
            presign(&keys(None), name, &seoul(), start()).unwrap_err().kind,
            Kind::Invalid,
            "{name:?}"
        );
    }
}

#[test]
fn a_token_is_not_shown() {
    let token = presign(&keys(None), "rtc-dev", &seoul(), start()).unwrap();
    let shown = format!("{token:?}");
    assert!(!shown.contains("k8s-aws") && shown.contains("expires_at"), "{shown}");
}

/// Credentials that are counted, and that end or fail as a test says.
#[derive(Debug)]
struct Counted {
    asked: AtomicUsize,
    expiry: Option<Timestamp>,
    fails: bool,
}

impl ProvideCredentials for Counted {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.fails {
            return future::ProvideCredentials::ready(Err(CredentialsError::provider_error(
                "the SSO session has expired",
            )));
        }
        let expiry = self.expiry.map(|at| UNIX_EPOCH + Duration::from_millis(at.as_millis().unsigned_abs()));
        let keys = Credentials::new("AKIDEXAMPLE", SECRET, None, expiry, "test");
        future::ProvideCredentials::new(async move {
            // Whoever asks at the same time gets his turn in between.
            tokio::task::yield_now().await;
            Ok(keys)
        })
    }
}

struct Source {
    tokens: Arc<Tokens>,
    counted: Arc<Counted>,
    clock: Arc<ManualClock>,
}

fn source(expiry: Option<Timestamp>, fails: bool) -> Source {
    let counted = Arc::new(Counted { asked: AtomicUsize::new(0), expiry, fails });
    let provider: Arc<dyn ProvideCredentials> = counted.clone();
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("ap-northeast-2"))
        .credentials_provider(SharedCredentialsProvider::new(provider))
        .build();
    let clock = Arc::new(ManualClock::at(start()));
    let tokens = Tokens::new(&config, "rtc-dev", clock.clone()).unwrap();
    Source { tokens: Arc::new(tokens), counted, clock }
}

impl Source {
    fn asked(&self) -> usize {
        self.counted.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_token_is_renewed_after_fourteen_minutes_and_not_before() {
    let source = source(None, false);
    let first = source.tokens.token().await.unwrap();
    source.clock.advance(Duration::from_millis(14 * 60 * 1_000 - 1));
    assert_eq!(source.tokens.token().await.unwrap(), first);
    source.clock.advance(Duration::from_millis(1));
    let second = source.tokens.token().await.unwrap();
    assert_ne!(second.value(), first.value());
    assert_eq!(source.asked(), 2);
    let verifier = Verifier { now: source.clock.now(), ..cluster("rtc-dev") };
    assert_eq!(verifier.verify(second.value()).unwrap().signed_at, source.clock.now());
}

#[tokio::test]
async fn a_rollout_of_an_hour_always_has_a_token_that_its_cluster_takes() {
    let source = source(None, false);
    for _ in 0..3_600 {
        source.clock.advance(Duration::from_secs(1));
        let verifier = Verifier { now: source.clock.now(), ..cluster("rtc-dev") };
        verifier.verify(source.tokens.token().await.unwrap().value()).unwrap();
    }
    assert_eq!(source.asked(), 5);
}

#[tokio::test]
async fn many_who_ask_at_once_get_the_same_token_from_one_signature() {
    let source = source(None, false);
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let tokens = source.tokens.clone();
            tokio::spawn(async move { tokens.token().await.unwrap() })
        })
        .collect();
    let mut values = BTreeSet::new();
    for one in asking {
        values.insert(one.await.unwrap().value().to_owned());
    }
    assert_eq!((values.len(), source.asked()), (1, 1));
}

#[tokio::test]
async fn a_token_ends_with_the_credentials_that_signed_it() {
    let source = source(Some(start().plus(Duration::from_secs(300))), false);
    assert_eq!(source.tokens.token().await.unwrap().expires_at, start().plus(Duration::from_secs(300)));
    source.clock.advance(Duration::from_secs(300));
    let error = source.tokens.token().await.unwrap_err();
    assert_eq!((error.kind, source.asked()), (Kind::Unauthenticated, 2), "{error}");
}

#[tokio::test]
async fn a_clock_that_is_set_back_and_a_refusal_make_a_new_token() {
    let source = source(None, false);
    let first = source.tokens.token().await.unwrap();
    source.clock.set(start().minus(Duration::from_secs(3_600)));
    let second = source.tokens.token().await.unwrap();
    assert!(second.signed_at < first.signed_at);
    source.tokens.forget().await;
    source.tokens.token().await.unwrap();
    assert_eq!(source.asked(), 3);
}

#[tokio::test]
async fn credentials_that_cannot_be_had_say_why() {
    let source = source(None, true);
    let error = source.tokens.token().await.unwrap_err();
    assert_eq!(error.kind, Kind::Unauthenticated);
    assert!(error.message.contains("the SSO session has expired"), "{error}");
    // The next one asks again.
    assert!(source.tokens.token().await.is_err());
    assert_eq!(source.asked(), 2);
}
