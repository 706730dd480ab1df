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
    let share = |ratio: f64, traceparent: &str| {
        RATIO.store(ratio.to_bits(), Ordering::Relaxed);
        let is_sampled = || read(traceparent, Caller::Outside).unwrap().span().span_context().is_sampled();
        (0..1_000).filter(|_| is_sampled()).count()
    };
    // An id that a share of the ids themselves would always choose, and one that it never would.
    let low = "00-4bf92f3577b34da60000000000000001-00f067aa0ba902b7-01";
    let high = "00-4bf92f3577b34da6ffffffffffffffff-00f067aa0ba902b7-01";
    for id in [low, high, GOOD] {
        assert_eq!((share(0.0, id), share(1.0, id)), (0, 1_000));
        let half = share(0.5, id);
        assert!((400..600).contains(&half), "{half} of 1,000");
    }
    RATIO.store(0, Ordering::Relaxed);
}

#[test]
fn what_an_outsider_says_is_passed_on_without_his_wish() {
    let passed = pass_on(GOOD).unwrap();
    assert_eq!(passed, GOOD.strip_suffix("01").unwrap().to_owned() + "00");
    assert_eq!(pass_on("00-x-y-z"), None);
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
