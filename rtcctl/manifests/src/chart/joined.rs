//! One object with a mesh and the same without one, as one that asks.

use serde_json::{Map, Value, json};

use super::holes::{scalar, steering};

const IF: &str = "{{- if .Values.mesh.enabled }}";
const UNLESS: &str = "{{- if not .Values.mesh.enabled }}";
const ELSE: &str = "{{- else }}";
const END: &str = "{{- end }}";

pub(super) fn join(with: Value, without: Value) -> Value {
    match (with, without) {
        (with, without) if with == without => with,
        (Value::Object(with), Value::Object(without)) => Value::Object(maps(with, without)),
        (Value::Array(with), Value::Array(without)) => lists(with, without),
        (with, without) => scalar(&format!(
            "{{{{ ternary {} {} .Values.mesh.enabled }}}}",
            operand(&with),
            operand(&without)
        )),
    }
}

/// What stands in an expression: of scalars that differ, one may be a hole itself.
fn operand(value: &Value) -> String {
    let hole = value.as_str().and_then(super::text::expression);
    match hole {
        Some(expression) => format!("({})", expression.trim_start_matches("{{ ").trim_end_matches(" }}")),
        None => value.to_string(),
    }
}

/// What both have comes first, so that no item of a list begins with a question.
fn maps(with: Map<String, Value>, mut without: Map<String, Value>) -> Map<String, Value> {
    let (mut joined, mut only_with) = (Map::new(), Map::new());
    for (key, value) in with {
        match without.shift_remove(&key) {
            Some(other) => {
                joined.insert(key, join(value, other));
            }
            None => {
                only_with.insert(key, value);
            }
        }
    }
    for (index, (question, rest)) in [(IF, only_with), (UNLESS, without)].into_iter().enumerate() {
        if rest.is_empty() {
            continue;
        }
        // The same line twice in one map needs two keys; blanks within an action mean nothing to Helm.
        joined.insert(steering(question), Value::Null);
        joined.extend(rest);
        joined.insert(steering(&format!("{{{{- {}end }}}}", " ".repeat(index))), Value::Null);
    }
    joined
}

fn lists(with: Vec<Value>, without: Vec<Value>) -> Value {
    if with.len() == without.len() && with.iter().zip(&without).all(|(a, b)| is_alike(a, b)) {
        return with.into_iter().zip(without).map(|(with, without)| join(with, without)).collect();
    }
    let line = |statement: &str| json!(steering(statement));
    let mut joined = vec![line(IF)];
    joined.extend(with);
    joined.push(line(ELSE));
    joined.extend(without);
    joined.push(line(END));
    Value::Array(joined)
}

/// Whether two items are the same thing in two versions.
fn is_alike(a: &Value, b: &Value) -> bool {
    a == b || (a.is_object() && b.is_object() && a.get("name").is_some() && a.get("name") == b.get("name"))
}
