//! Contexts that come from outside, and what nobody has switched on.

use opentelemetry::trace::TraceContextExt;

use super::*;

const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_context_is_read_as_w3c_writes_it() {
    let read = |text: &str| read(text, Caller::House).map(|context| context.span().span_context().clone());
    let good = read(GOOD).unwrap();
    assert_eq!(good.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(good.is_sampled() && good.is_remote());
    assert!(!read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00").unwrap().is_sampled());
    assert!(read("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later").is_some());
    for bad in [
        "",
        "00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
    ] {
        assert!(read(bad).is_none(), "{bad:?}");
    }
}

#[test]
fn an_outsider_does_not_decide_what_is_sampled() {
    // Nobody has switched it on: the share is none.
    let context = read(GOOD, Caller::Outside).unwrap();
    assert!(!context.span().span_context().is_sampled());
}

#[test]
fn what_is_not_switched_on_makes_nothing_and_passes_contexts_on() {
    let request =
        Request { service: "a", method: "GET", route: "/", traceparent: Some(GOOD), caller: Caller::House };
    let spot = serve(&request);
    assert_eq!((spot.traceparent(), spot.trace_id()), (None, None));
    let message = Message { topic: "t", event_type: "e", id: "1", traceparent: Some(GOOD) };
    assert_eq!(send(&message).as_deref(), Some(GOOD));
    assert!(process("g", &message).enter().is_none());
}
