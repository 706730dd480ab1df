//! How much of a text is looked at, so that long ones take no longer than they are.

use std::cell::Cell;

use crate::*;

thread_local! {
    static DONE: Cell<usize> = const { Cell::new(0) };
}

/// So many bytes were looked at for the end of something.
pub(crate) fn done(bytes: usize) {
    DONE.set(DONE.get() + bytes);
}

fn work(text: &str) -> usize {
    DONE.set(0);
    masked(text);
    DONE.get()
}

#[test]
fn a_line_that_is_twice_as_long_is_twice_the_work() {
    for part in [
        "'Cookie: a=1; b=2', ",
        "\\\"Authorization: Token x\\\",",
        "{\"cookie\":7},",
        "{\"cookie\":[\"a\"]},",
        "{\"tokens\":[7]},",
        "token=x\"",
        "sent Cookie: a=1; b=2 and Authorization: Digest a=\"b\", c=\"d\" ",
    ] {
        let (once, twice) = (work(&part.repeat(1_000)), work(&part.repeat(2_000)));
        assert!(once >= 1_000, "{part}: {once} were looked at");
        assert!(twice <= once * 2 + 100, "{part}: {twice} after {once}");
    }
}
