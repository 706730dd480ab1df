//! What is written is read again as it was, by somebody else's reader.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::given::{bodies, every};
use crate::yaml;

#[test]
fn every_render_is_read_as_it_was_written() {
    for (what, description) in every() {
        let objects = bodies(&description);
        let read = yaml::read(&yaml::write_all(&objects)).unwrap();
        assert_eq!(read, objects, "{what}");
    }
}

#[test]
fn what_looks_like_something_else_is_quoted() {
    let texts = [
        "yes",
        "No",
        "on",
        "null",
        "~",
        "1",
        "1.5",
        "0x1f",
        "1e3",
        "12:30",
        "2026-11-21",
        "-",
        "- a",
        "a: b",
        "a #b",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "",
        " a",
        "a ",
        "{a",
        "[a",
        "a:",
        "?",
        ".5",
        "+1",
        "=",
        "<<",
        "|",
        ">",
        "\ta",
        "a\r\n",
        "#",
    ];
    for text in texts {
        let value = json!({ "key": text, "list": [text] });
        let written = yaml::write(&value);
        assert_eq!(yaml::read(&written).unwrap(), [value], "{written}");
    }
}

#[test]
fn lines_stand_as_lines() {
    let value = json!({ "data": { "rtcd.toml": "a = 1\n\n[b]\n  c = \"x\"\n" } });
    assert_eq!(yaml::write(&value), "data:\n  rtcd.toml: |\n    a = 1\n\n    [b]\n      c = \"x\"\n");
}

fn values() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[ -~]{0,12}",
        "[a-z:#&*!|>'\"%@`\\-\\[\\]{},?~ \n\t]{0,16}",
        "\\PC{0,8}",
        "[ a-z\n]{0,20}"
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z0-9_./\\-]{1,8}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn any_value_is_read_as_it_was_written(value in values()) {
        let value = json!({ "value": value });
        let written = yaml::write(&value);
        let read = yaml::read(&written);
        prop_assert!(read.is_ok(), "{:?}\n{}", read, written);
        prop_assert_eq!(read.unwrap(), vec![value], "{}", written);
    }
}
