//! Secrets wherever they stand, and what is none.

mod headers;
mod hidden;
pub(crate) mod work;

use proptest::prelude::*;

use crate::*;

#[test]
fn no_secret_is_left_wherever_it_stands() {
    let table = [
        "https://ann:hunter2@git.example/rtc.git",
        "https://hunter2@git.example/rtc.git",
        "https://ann:hun/hunter2@git.example",
        "postgres://rtc:hunter2@db/rtc?sslmode=require",
        "https://s3.example/x?X-Amz-Signature=hunter2&X-Amz-Date=1",
        "https://hooks.slack.com/services/T0/B0/hunter2",
        "curl https://prod.webhook.office.com/webhookb2/hunter2/IncomingWebhook",
        "password=hunter2",
        "DATABASE_PASSWORD = \"hunter2 and more hunter2\"",
        "{\"password\":\"hunter2\"}",
        "{\\\"api_key\\\": \\\"hunter2\\\"}",
        "db_password: hunter2,",
        "Authorization: Bearer hunter2",
        "Authorization: Basic hunter2",
        "authorization=Bearer hunter2",
        "sent Bearer hunter2hunter2, refused",
        "--api-token hunter2 --verbose",
        "--password=hunter2",
        "set-cookie: hunter2; Path=/",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nhunter2, and cut off",
        "xoxb-hunter2-hunter2",
        "ghp_hunter2hunter2hunter2",
        "AKIAHUNTER2HUNTER222 hunter2".trim_end_matches(" hunter2"),
        "k8s-aws-v1.hunter2hunter2",
        "eyJhunter2hunter2hunter2.eyJhunter2hunter2.hunter2",
        "mysql://orders:hunter2@db:3306/orders",
        "redis://hunter2@cache",
        "password=a&hunter2(b);",
    ];
    for secret in table {
        let said = masked(&format!("it said {secret} at last"));
        assert!(!said.to_lowercase().contains("hunter2"), "{said}");
        assert!(said.starts_with("it said ") && said.contains(MASK), "{said}");
        assert_eq!(masked(&said), said);
    }
}

#[test]
fn the_value_of_a_secret_is_found_however_it_is_written() {
    let names = [
        "password",
        "DB_PASSWORD",
        "apiKey",
        "x-api-key",
        "client_secret",
        "aws_secret_access_key",
        "Slack-Token",
        "signingKey",
    ];
    let writings = [
        "{}=hunter2",
        "{} = hunter2",
        "{}: hunter2",
        "{}:hunter2",
        "{}='hunter2'",
        "{}=\"hunter2 hunter2\"",
        "\"{}\": \"hunter2\"",
        "\"{}\":\"hunter2\"",
        "'{}': 'hunter2'",
        "{}: `hunter2`",
        "--{} hunter2",
        "--{}=hunter2",
        "--{} 'hunter2'",
        "a;{}=hunter2;b",
        "?x=1&{}=hunter2&y=2",
        "https://x.example/?{}=hunter2#f",
        "{\\\"{}\\\":\\\"hunter2\\\"}",
        "export {}=hunter2",
        "set {}\t=\thunter2",
        "[{}=hunter2]",
        "({}: hunter2)",
    ];
    for name in names {
        for writing in writings {
            let text = format!("it said {} at last", writing.replace("{}", name));
            let said = masked(&text);
            assert!(!said.contains("hunter2"), "{text}: {said}");
            assert!(said.contains(name) && said.ends_with(" at last"), "{text}: {said}");
        }
    }
}

#[test]
fn what_is_no_secret_stays() {
    let table = [
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "4f1c168a0d0e4f1c168a0d0e4f1c168a0d0e4f1c",
        "20261121-095812-417-ship-prod-3f2a",
        "the token was refused; basic authentication is off",
        "secret rtc/rtc-dev/smtp is not there",
        "https://ci.example/job/main/7/console?start=0#end",
        "registry.example:5000/rtc-dev/rtcd@sha256:aaaa",
        "ann@desk, bob@example.com",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "ROL004: 2 of 3 replicas; see https://ci.example/a|b",
        "가격 알림: 5,000원",
        "MountVolume.SetUp failed for volume \"secrets\" : secret \"rtc-users\" not found",
        "secret \"rtc-users\" not found",
        "pull access denied, repository does not exist or may require authorization: \
         server message: insufficient_scope: authorization failed",
        "the gateway says authorization: token expired, and closes",
        "{\"cookie\":null,\"status\":\"failed\",\"reason\":\"no room\"}",
        "{\"secret\":{\"name\":\"rtc-users\"},\"imagePullSecrets\":[{\"name\":\"registry\"}]}",
    ];
    for text in table {
        assert_eq!(masked(text), text);
    }
}

#[test]
fn whose_password_it_is_stays_where_it_cannot_be_a_token() {
    for (text, said) in [
        ("mysql://orders:hunter2@db:3306/orders", "mysql://orders:***@db:3306/orders"),
        ("db postgres://rtc:hun/ter@2@db/x  ok", "db postgres://rtc:***@db/x  ok"),
        ("https://ann:hunter2@git.example/rtc.git", "https://***@git.example/rtc.git"),
        ("amqp://ghp_hunter2hunter2hunter2:x@bus", "amqp://***@bus"),
        ("redis://:hunter2@cache/0", "redis://***@cache/0"),
    ] {
        assert_eq!(masked(text), said);
    }
}

#[test]
fn marks_at_the_end_of_a_value_are_not_its_own() {
    for (text, said) in [
        ("(token: abc) and", "(token: ***) and"),
        ("[password=abc], [x=1]", "[password=***], [x=1]"),
        ("POST /login password=hunter2 user=kim\n", "POST /login password=*** user=kim\n"),
        ("Authorization: Bearer abc.def.ghi\nnext", "Authorization: Bearer ***\nnext"),
        ("token: abc\nother: kept", "token: ***\nother: kept"),
        ("secret=", "secret="),
        ("{\"password\" : \"abc\", \"user\": \"kim\"}", "{\"password\" : \"***\", \"user\": \"kim\"}"),
    ] {
        assert_eq!(masked(text), said);
    }
}

#[test]
fn names_are_known_however_they_are_written() {
    for name in
        ["DB_PASSWORD", "x-api-key", "signingKey", "Set-Cookie", "AWS_SECRET_ACCESS_KEY", "webhook_url"]
    {
        assert!(is_secret_name(name), "{name}");
    }
    for name in ["LOG", "port", "key", "user", "digest", "revision"] {
        assert!(!is_secret_name(name), "{name}");
    }
}

/// What texts are made of that go wrong: names of secrets, quotes, schemes, letters of several bytes.
fn wild() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "password",
            "token",
            "=",
            ": ",
            "\"",
            "'",
            "\\\"",
            "--",
            " ",
            "\n",
            "https://",
            "@",
            ":",
            "/",
            "?",
            "&",
            ";",
            "Bearer ",
            "Basic ",
            "Authorization",
            "-----BEGIN RSA PRIVATE KEY-----",
            "-----END RSA PRIVATE KEY-----",
            "hooks.slack.com",
            "eyJ",
            ".",
            "<",
            ">",
            "sig",
            "key",
            "가",
            "\u{202e}",
            "é",
            "😀",
            "`",
            "***",
            "\\",
            "\\n",
            "%3D",
            "%40",
            "%25",
            "https%3A%2F%2F",
            "|\n  ",
            "\n  ",
            "Cookie",
            "name",
            "value",
            "[",
            "]",
            "{",
            "}",
            "> ",
            "Digest a=",
            "; b=",
            "Abcdefgh1",
            "ghp_hunter2hunter2hunter2",
            "-----END PRIVATE KEY-----",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_masked_is_the_same_when_it_is_masked_again(text in wild()) {
        let once = masked(&text);
        prop_assert_eq!(masked(&once), once, "{}", text);
    }
}
