//! How answers look in each form.

use serde_json::json;

use super::*;

fn report() -> Report {
    let mut table = Table::new([
        Column::left("name"),
        Column::right("orders"),
        Column::left("remark"),
        Column::left("secret").wide(),
    ]);
    table.push(["주문", "12", "all is well and there is a lot to say about it here", "w1"]);
    table.push(["orders", "7", "", "w2"]);
    Report::new("example", json!({"orders": [{"name": "주문", "count": 12}], "empty": []}))
        .with_pairs([("api", "http://127.0.0.1:8080"), ("version", "0.1.0")])
        .with_table(table)
        .with_names(["주문", "orders"])
        .with_finding(Finding::new(&codes::STA002, Severity::Warning, "orders is starting").with_hint("wait"))
}

#[test]
fn a_table_shows_its_narrow_columns() {
    insta::assert_snapshot!(report().render(Format::Table, None));
}

#[test]
fn a_narrow_terminal_wraps_the_longest_column_and_nothing_is_wider() {
    let text = report().render(Format::Table, Some(40));
    assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn wide_shows_every_column() {
    assert!(report().render(Format::Wide, None).contains("SECRET"));
    assert!(!report().render(Format::Table, None).contains("SECRET"));
}

#[test]
fn json_is_one_document_with_four_fields() {
    insta::assert_snapshot!(report().render(Format::Json, Some(20)));
}

#[test]
fn yaml_is_the_same_document() {
    insta::assert_snapshot!(report().render(Format::Yaml, None));
}

#[test]
fn yaml_quotes_what_a_reader_could_take_for_something_else() {
    let value = json!({"a": "true", "b": "1.5", "c": "x: y", "d": "", "e": null, "f": [[1, 2], {}], "g": "two\nlines", "no": "-"});
    insta::assert_snapshot!(manifests::yaml::write(&value));
}

#[test]
fn names_stand_alone_one_a_line() {
    assert_eq!(report().render(Format::Name, None), "주문\norders\n");
}

#[test]
fn findings_go_with_their_code_and_hint() {
    let text = anstream::adapter::strip_str(&report().render_findings(Severity::Info)).to_string();
    assert_eq!(text, "warning[STA002]: orders is starting\nhint: wait\n");
}

#[test]
fn control_characters_from_outside_are_not_obeyed() {
    let mut table = Table::new([Column::left("error")]);
    table.push(["\x1b[2Jgone"]);
    assert!(!Report::new("x", ()).with_table(table).render(Format::Table, None).contains('\x1b'));
}

#[test]
fn values_wrap_between_words_and_a_path_stays_whole() {
    let path = "/a/very/long/path/that/is/longer/than/the/whole/line/of/this/terminal";
    let report = Report::new("x", ()).with_pairs([("a", "one two three four five six"), ("path", path)]);
    assert_eq!(
        report.render(Format::Table, Some(26)),
        format!("a     one two three four\n      five six\npath  {path}\n")
    );
}
