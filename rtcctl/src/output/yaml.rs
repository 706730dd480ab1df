//! JSON values written as YAML (block style), for `-o yaml`.
//!
//! Invariant: a text stands bare only if no YAML reader can take it for anything else; otherwise it is a JSON string,
//! which YAML reads as such.

use serde_json::Value;

pub(super) fn write(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => write_block(value, 0, &mut text),
        Value::Array(items) if !items.is_empty() => write_block(value, 0, &mut text),
        _ => {
            write_scalar(value, &mut text);
            text.push('\n');
        }
    }
    text
}

fn write_block(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(map) => {
            for (index, (key, value)) in map.iter().enumerate() {
                // The first key of a list item stands behind its dash.
                if index > 0 || !text.ends_with("- ") {
                    push_indent(indent, text);
                }
                write_text(key, text);
                text.push(':');
                write_child(value, indent, text);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 || !text.ends_with("- ") {
                    push_indent(indent, text);
                }
                text.push_str("- ");
                if is_block(item) {
                    write_block(item, indent + 2, text);
                } else {
                    write_scalar(item, text);
                    text.push('\n');
                }
            }
        }
        _ => {
            write_scalar(value, text);
            text.push('\n');
        }
    }
}

fn write_child(value: &Value, indent: usize, text: &mut String) {
    if is_block(value) {
        text.push('\n');
        write_block(value, indent + 2, text);
    } else {
        text.push(' ');
        write_scalar(value, text);
        text.push('\n');
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn push_indent(indent: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', indent));
}

fn write_scalar(value: &Value, text: &mut String) {
    match value {
        Value::String(string) => write_text(string, text),
        other => text.push_str(&other.to_string()),
    }
}

fn write_text(string: &str, text: &mut String) {
    let starts_well = string.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let plain = string.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-/. ".contains(&byte));
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", ".inf", ".nan"];
    let is_word = reserved.iter().any(|word| string.eq_ignore_ascii_case(word));
    if starts_well && plain && !is_word && !string.ends_with(' ') {
        text.push_str(string);
    } else {
        text.push_str(&Value::from(string).to_string());
    }
}
