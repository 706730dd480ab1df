//! Secrets that are not where one looks first: behind escapes, beside their names, below them, encoded.

use crate::*;

pub(super) fn told(table: &[(&str, &str)]) {
    for (text, said) in table {
        assert_eq!(masked(text), *said, "of {text}");
        assert_eq!(masked(said), *said, "again");
    }
}

#[test]
fn an_escaped_quote_ends_no_value() {
    told(&[
        (r#"{"password":"hun\"ter2","user":"kim"}"#, r#"{"password":"***","user":"kim"}"#),
        (r#"{"password":"hunter2\\","user":"kim"}"#, r#"{"password":"***","user":"kim"}"#),
        (r#""{\"token\":\"hun\\\"ter2\",\"a\":1}""#, r#""{\"token\":\"***\",\"a\":1}""#),
        ("password: 'hun''ter2' x", "password: '***' x"),
        ("password='' user='kim'", "password='' user='kim'"),
        (r#"{"cmd":"--password=hunter2\" ok"}"#, r#"{"cmd":"--password=***\" ok"}"#),
        ("secret => \"hunter2\", x", "secret => \"***\", x"),
    ]);
}

#[test]
fn a_value_that_stands_beside_its_name_is_found() {
    told(&[
        ("{\"name\":\"DB_PASSWORD\",\"value\":\"x\"}", "{\"name\":\"DB_PASSWORD\",\"value\":\"***\"}"),
        (
            "{\"name\":\"DB_PASSWORD\",\"type\":\"text\",\"value\":\"x\"}",
            "{\"name\":\"DB_PASSWORD\",\"type\":\"text\",\"value\":\"***\"}",
        ),
        (
            "- name: DB_PASSWORD\n  value: x\n- name: LOG\n  value: y",
            "- name: DB_PASSWORD\n  value: ***\n- name: LOG\n  value: y",
        ),
        (r#""{\"name\":\"API_KEY\",\"value\":\"x\"}""#, r#""{\"name\":\"API_KEY\",\"value\":\"***\"}""#),
        (r#""- name: API_KEY\n  value: x""#, r#""- name: API_KEY\n  value: ***""#),
        ("{Name:DB_PASSWORD Value:x ValueFrom:nil}", "{Name:DB_PASSWORD Value:*** ValueFrom:nil}"),
        ("--set env[0].name=TOKEN,env[0].value=x", "--set env[0].name=TOKEN,env[0].value=***"),
        (
            "- name: DB_PASSWORD\n  valueFrom: {fieldRef: {fieldPath: a}}\n- name: LOG\n  value: y",
            "- name: DB_PASSWORD\n  valueFrom: {fieldRef: {fieldPath: a}}\n- name: LOG\n  value: y",
        ),
        ("{\"name\":\"LOG\",\"value\":\"debug\"}", "{\"name\":\"LOG\",\"value\":\"debug\"}"),
        ("{\"name\":\"TOKEN\"},{\"value\":\"kept\"}", "{\"name\":\"TOKEN\"},{\"value\":\"kept\"}"),
    ]);
}

#[test]
fn a_value_that_stands_below_its_name_is_found() {
    told(&[
        ("password: |\n  hunter2\n\n  hunter2\nuser: kim", "password: |\n  ***\nuser: kim"),
        ("  - password: >-\n      hunter2\n    user: kim", "  - password: >-\n      ***\n    user: kim"),
        ("password:\n  hunter2\nuser: kim", "password:\n  ***\nuser: kim"),
        ("password:\r\n  'hunter2 x'\r\nuser: kim", "password:\r\n  '***'\r\nuser: kim"),
        ("password: \"hunter2\n  hunter2\"\nuser: kim", "password: \"***\"\nuser: kim"),
        ("password: \"hunter2\nuser: kim", "password: \"***\nuser: kim"),
        ("secret:\n  name: rtc-users\n", "secret:\n  name: rtc-users\n"),
        ("imagePullSecrets:\n  - name: registry\n", "imagePullSecrets:\n  - name: registry\n"),
        ("unknown token:\n  at the beginning of line 1", "unknown token:\n  at the beginning of line 1"),
        ("secret:\nother", "secret:\nother"),
    ]);
}

#[test]
fn a_token_is_found_behind_any_mark() {
    told(&[
        (r#""line\nghp_hunter2hunter2hunter2""#, r#""line\n***""#),
        (r#""line\nAKIAHUNTER2HUNTER222""#, r#""line\n***""#),
        (r#""line\u000aghp_hunter2hunter2hunter2""#, r#""line\u000a***""#),
        (r"line\\ghp_hunter2hunter2hunter2", r"line\\***"),
        ("dir/ghp_hunter2hunter2hunter2/x", "dir/***/x"),
        ("https://x.example/a-ghp_hunter2hunter2hunter2", "https://x.example/a-***"),
        ("it was eyJhunter2hunter2hunter2.eyJhunter2hunter2.hunter2.", "it was ***."),
        ("ASIA-PACIFIC-NORTHEAST-1", "ASIA-PACIFIC-NORTHEAST-1"),
        ("npm_config_registry-of-the-whole-house-x", "npm_config_registry-of-the-whole-house-x"),
        ("dir/11aabbccddeeff00112233445566778899aa/x", "dir/11aabbccddeeff00112233445566778899aa/x"),
    ]);
}

#[test]
fn a_secret_is_found_where_it_is_percent_encoded() {
    told(&[
        ("password%3Dx", "password%3D***"),
        ("next=%2F%3Ftoken%3Dx&y=2", "next=%2F%3Ftoken%3D***&y=2"),
        ("https%3A%2F%2Fann%3Apw%40git", "https%3A%2F%2F***%40git"),
        ("https://x.example/?next=%2F%3Ftoken%3Dx", "https://x.example/?next=%2F%3Ftoken%3D***"),
        ("https://x.example/to/https%3a%2f%2fann%3apw%40git", "https://x.example/to/https%3A%2F%2F***%40git"),
        ("password%253Dx", "password%253D***"),
        ("line%0Aghp_hunter2hunter2hunter2", "line%0A***"),
        ("password\u{fbe}ghp_hunter2hunter2hunter2https%3A%2F%2Fpassword", "password%E0%BE%BE***%3A***"),
        ("100% of %EA%B0%80%EA%B2%A9 a%20b %zz", "100% of %EA%B0%80%EA%B2%A9 a%20b %zz"),
    ]);
}

#[test]
fn a_key_is_found_where_a_log_begins_within_it() {
    let line = "M1234567890+/hunter2".repeat(3);
    for (text, said) in [
        (format!("hunter2\n{line}\nhunter2==\n-----END RSA PRIVATE KEY-----\nok"), "***\nok".to_owned()),
        (format!("began well\n{line}\n-----END PRIVATE KEY-----"), "began well\n***".to_owned()),
        (
            format!("2026 F began\n2026 F {line}\n2026 F {line}\n2026 F -----END PRIVATE KEY-----\nok"),
            "2026 F began\n2026 F ***\nok".to_owned(),
        ),
        (format!("\"key {line}\\nhunter2\\n-----END EC PRIVATE KEY-----\\n\""), "\"key ***\\n\"".to_owned()),
        (
            "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\nkept\n".to_owned(),
            "***\nkept\n".to_owned(),
        ),
        ("MIIB\n-----END CERTIFICATE-----".to_owned(), "MIIB\n-----END CERTIFICATE-----".to_owned()),
    ] {
        assert_eq!(masked(&text), said, "of {text}");
        assert_eq!(masked(&said), said, "again");
    }
}

#[test]
fn an_address_hides_what_signs_in_and_nothing_else() {
    told(&[
        ("https://HOOKS.SLACK.COM/services/T0/B0/hunter2", "https://HOOKS.SLACK.COM/***"),
        ("https://host:8080/job/a@b", "https://host:8080/job/a@b"),
        ("https://[::1]:8080/job/a@b", "https://[::1]:8080/job/a@b"),
        ("https://ann:hun/ter2@git.example", "https://***@git.example"),
        ("mysql://ann:123/ter2@db/x", "mysql://ann:***@db/x"),
        ("dir/https://ann:hunter2@git.example", "dir/https://***@git.example"),
        (r#""line\nhttps://token:hunter2@git""#, r#""line\nhttps://***@git""#),
        (r#"{\"url\":\"https://hooks.slack.com/x\"}"#, r#"{\"url\":\"https://hooks.slack.com/***\"}"#),
        ("https://x.example/?to=https://ann:hunter2@git/", "https://x.example/?to=https://***@git/"),
        ("https://x.example/?token=https://a.b/c&d=1", "https://x.example/?token=***&d=1"),
    ]);
}
