//! An object with holes as a template.
//!
//! Invariant: what looks like an action of Helm and is none of ours comes out as it was.

use serde_json::Value;

use super::holes::{MARK, decode};
use crate::yaml;

/// The expression that a hole stands for.
pub(super) fn expression(hole: &str) -> Option<String> {
    decode(hole.strip_prefix(MARK)?.strip_suffix("zz")?)
}

pub(super) fn template(object: &Value) -> String {
    let written = yaml::write(object);
    let mut text = String::from("---\n");
    for line in written.lines() {
        let line = line.replace("{{", "\u{0}").replace("}}", "\u{1}");
        let line = line.replace('\u{0}', "{{ \"{{\" }}").replace('\u{1}', "{{ \"}}\" }}");
        text.push_str(&filled(&line));
        text.push('\n');
    }
    text
}

fn filled(line: &str) -> String {
    let Some(start) = line.find(MARK) else { return line.to_owned() };
    let rest = &line[start..];
    let body = &rest[MARK.len()..];
    let steers = body.strip_prefix("line");
    let code = steers.unwrap_or(body);
    // Hexadecimal digits end where the mark's end begins.
    let length = code.bytes().take_while(u8::is_ascii_hexdigit).count();
    let Some(expression) = decode(&code[..length]) else { return line.to_owned() };
    if steers.is_some() {
        return expression;
    }
    let after = &code[length..];
    format!("{}{expression}{}", &line[..start], after.strip_prefix("zz").unwrap_or(after))
}
