//! Cursors: what nobody signed is refused, what was signed comes back, and only for its own list.

#![no_main]

use libfuzzer_sys::fuzz_target;
use web::Pages;

fuzz_target!(|input: (&str, &str, &str, i64)| {
    let (text, scope, name, number) = input;
    let pages = Pages::new(b"a key that nobody outside knows");
    assert!(!matches!(pages.decode::<(String, i64)>(scope, Some(text)), Ok(Some(_))), "a forged cursor");
    let last = (name.to_owned(), number);
    let cursor = pages.encode(scope, &last).expect("a cursor");
    let back: Option<(String, i64)> = pages.decode(scope, Some(&cursor)).expect("our own cursor");
    assert_eq!(back, Some(last));
    let elsewhere = format!("{scope}?");
    assert!(pages.decode::<(String, i64)>(&elsewhere, Some(&cursor)).is_err(), "a cursor of another list");
    let other_key = Pages::new(b"another key");
    assert!(other_key.decode::<(String, i64)>(scope, Some(&cursor)).is_err(), "a cursor of another platform");
});
