//! Objects as YAML, and YAML as objects.
//!
//! Invariants: a text stands bare only if no reader, of YAML 1.1 or 1.2, can take it for anything else; texts of several
//! lines stand as blocks, so that a diff shows lines; the same value gives the same bytes.

use serde_json::Value;

/// Why a text could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

/// The documents of a text: YAML, or JSON, which is YAML. Empty ones are left out.
pub fn read(text: &str) -> Result<Vec<Value>, Unreadable> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| Unreadable(error.to_string()))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Several documents, each after its dashes.
pub fn write_all<'a>(documents: impl IntoIterator<Item = &'a Value>) -> String {
    documents.into_iter().map(|document| format!("---\n{}", write(document))).collect()
}

/// One document.
pub fn write(value: &Value) -> String {
    let mut text = String::new();
    match is_block(value) {
        true => write_block(value, 0, &mut text),
        false => {
            write_scalar(value, 0, &mut text);
            text.push('\n');
        }
    }
    text
}

fn write_block(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(map) => {
            for (index, (key, value)) in map.iter().enumerate() {
                begin_line(index, indent, text);
                write_text(key, text);
                text.push(':');
                if is_block(value) {
                    text.push('\n');
                    write_block(value, indent + 2, text);
                } else {
                    text.push(' ');
                    write_scalar(value, indent + 2, text);
                    text.push('\n');
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                begin_line(index, indent, text);
                text.push_str("- ");
                if is_block(item) {
                    write_block(item, indent + 2, text);
                } else {
                    write_scalar(item, indent + 2, text);
                    text.push('\n');
                }
            }
        }
        _ => {}
    }
}

/// The first line of a list's item stands behind its dash.
fn begin_line(index: usize, indent: usize, text: &mut String) {
    if index > 0 || !text.ends_with("- ") {
        text.extend(std::iter::repeat_n(' ', indent));
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn write_scalar(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::String(string) if is_blocky(string) => {
            let body = string.strip_suffix('\n');
            text.push_str(if body.is_some() { "|" } else { "|-" });
            for line in body.unwrap_or(string).split('\n') {
                text.push('\n');
                if !line.is_empty() {
                    text.extend(std::iter::repeat_n(' ', indent));
                    text.push_str(line);
                }
            }
        }
        Value::String(string) => write_text(string, text),
        other => text.push_str(&other.to_string()),
    }
}

/// Whether a text of several lines is the same when it is read from a block.
fn is_blocky(string: &str) -> bool {
    let body = string.strip_suffix('\n').unwrap_or(string);
    let first = body.chars().next();
    body.contains('\n')
        && !body.ends_with('\n')
        && first.is_some_and(|first| !first.is_whitespace())
        && string.chars().all(|c| c == '\n' || is_printable(c))
        && body.split('\n').all(|line| !line.ends_with(' ') && line.trim().is_empty() == line.is_empty())
}

fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}')
}

fn write_text(string: &str, text: &mut String) {
    if is_plain(string) {
        text.push_str(string);
        return;
    }
    for c in Value::from(string).to_string().chars() {
        match is_printable(c) {
            true => text.push(c),
            false => text.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
}

fn is_plain(string: &str) -> bool {
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_word = reserved.iter().any(|word| string.eq_ignore_ascii_case(word));
    let bytes = string.as_bytes();
    let starts_well = bytes.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'/');
    let plain = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-/.@: ".contains(byte));
    let colons = !string.contains(": ") && !string.ends_with(':');
    starts_well && plain && colons && !is_word && !string.ends_with(' ')
}
