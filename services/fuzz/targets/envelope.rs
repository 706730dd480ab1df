//! Messages: what can be read is written as it was and reads the same again, and a message whose data is of a known type
//! gives that type or an error.

#![no_main]

use contracts::{catalog, inventory, orders, payments, users};
use kernel::envelope::{Envelope, Event};
use libfuzzer_sys::fuzz_target;

/// Reading, writing and reading again changes nothing.
fn settles<T: Event>(envelope: &Envelope) {
    let Ok(message) = envelope.decode::<T>() else { return };
    let text = serde_json::to_string(&message).expect("what was read can be written");
    let again: T = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(serde_json::to_string(&again).expect("json"), text);
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(envelope) = serde_json::from_slice::<Envelope>(bytes) else { return };
    let text = serde_json::to_string(&envelope).expect("what was read can be written");
    let again: Envelope = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(serde_json::to_string(&again).expect("json"), text);
    assert_eq!(again.data.get(), envelope.data.get(), "data passes through unchanged");
    settles::<catalog::ProductCreated>(&envelope);
    settles::<catalog::PriceChanged>(&envelope);
    settles::<inventory::ReserveStock>(&envelope);
    settles::<inventory::StockRefused>(&envelope);
    settles::<orders::OrderPlaced>(&envelope);
    settles::<orders::OrderCancelled>(&envelope);
    settles::<payments::HoldPayment>(&envelope);
    settles::<payments::PaymentCaptured>(&envelope);
    settles::<users::UserRegistered>(&envelope);
});
