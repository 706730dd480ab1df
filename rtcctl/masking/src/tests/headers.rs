//! Headers where they begin a line, in the midst of one, and as names of a document.

use super::hidden::told;

#[test]
fn a_header_has_its_line_to_itself() {
    told(&[
        ("Authorization: Token hunter2\nnext", "Authorization: Token ***\nnext"),
        ("Authorization: ApiKey hunter2", "Authorization: ApiKey ***"),
        (
            "< Proxy-Authorization: Digest username=\"a\", response=\"hunter2\"\r\nx",
            "< Proxy-Authorization: Digest ***\r\nx",
        ),
        ("Authorization: hunter1 hunter2", "Authorization: ***"),
        ("Cookie: a=1; JSESSIONID=hunter2\nHost: b", "Cookie: ***\nHost: b"),
        (
            "curl -H 'Cookie: a=1; b=hunter2' -H \"Authorization: Token hunter2\" https://x.example",
            "curl -H 'Cookie: ***' -H \"Authorization: Token ***\" https://x.example",
        ),
        ("GET /\nAuthorization: hunter1 hunter2", "GET /\nAuthorization: ***"),
        ("'< Cookie: a hunter2' x", "'< Cookie: ***' x"),
        (
            "{\"msg\":\"Authorization: Bearer hunter2\",\"level\":\"info\"}",
            "{\"msg\":\"Authorization: Bearer ***\",\"level\":\"info\"}",
        ),
        ("rtcctl --cookie hunter2 --verbose", "rtcctl --cookie *** --verbose"),
    ]);
}

#[test]
fn a_line_may_be_written_within_a_text() {
    told(&[
        (
            r#"{"sent":"GET /\r\nCookie: a=1; b=hunter2\r\nHost: b","at":1}"#,
            r#"{"sent":"GET /\r\nCookie: ***\r\nHost: b","at":1}"#,
        ),
        (
            r#"{"sent":"GET /\n> Authorization: Digest a=\"b\", c=\"hunter2\"","at":1}"#,
            r#"{"sent":"GET /\n> Authorization: Digest ***","at":1}"#,
        ),
    ]);
}

#[test]
fn a_header_in_the_midst_of_a_line_leaves_the_rest_of_it() {
    told(&[
        ("at 9: Cookie: a=1; b=hunter2 was refused", "at 9: Cookie: *** was refused"),
        ("it set-cookie: a=hunter2; Path=/; HttpOnly", "it set-cookie: ***; HttpOnly"),
        ("sent Authorization: Token hunter2, refused", "sent Authorization: Token ***, refused"),
        ("sent Authorization: Splunk Hunter2hunter2 to it", "sent Authorization: *** to it"),
        (
            "sent Authorization: Digest username=\"a b\", response=\"hunter2\" to it",
            "sent Authorization: Digest *** to it",
        ),
        ("the user \"kim\" authorization: Denied by rule 7", "the user \"kim\" authorization: *** by rule 7"),
        ("sent authorization=letmein to it", "sent authorization=*** to it"),
    ]);
}

#[test]
fn a_header_that_is_a_name_of_a_document_leaves_the_rest_of_it() {
    told(&[
        ("{\"cookie\":7,\"status\":\"failed\"}", "{\"cookie\":***,\"status\":\"failed\"}"),
        ("{\"Cookie\":[\"a=1; b=hunter2\"]}", "{\"Cookie\":[\"***\"]}"),
        (
            "{\"Cookie\":[\"a=1]\",\"hun\\\"ter2\"],\"Host\":[\"b\"]}",
            "{\"Cookie\":[\"***\"],\"Host\":[\"b\"]}",
        ),
        (r#""{\"Cookie\":[\"hunter2\"],\"a\":1}""#, r#""{\"Cookie\":[\"***\"],\"a\":1}""#),
        ("\"Cookie\": [\n  \"hunter2\"\n],\n\"a\": 1", "\"Cookie\": [\n  \"***\"\n],\n\"a\": 1"),
        ("{\"cookie\":{\"a\":\"hunter2\"},\"b\":1}", "{\"cookie\":{***},\"b\":1}"),
        ("{\"cookie\":[],\"b\":1}", "{\"cookie\":[],\"b\":1}"),
        ("{\"cookie\":[\"hunter2 and was cut\nnext", "{\"cookie\":***\nnext"),
        ("{\"tokens\":[\"hunter2\",\"hunter3\"],\"b\":1}", "{\"tokens\":[\"***\"],\"b\":1}"),
    ]);
}
